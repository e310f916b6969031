-- The official history: one row for each reading, whatever was sent again.
--
-- unique_reading_id is the whole deduplication. A reading arrives once or ten times, through one
-- consumer or three: the primary key lets one row in.
--
-- Column order follows the table that this one replaces. Two types differ on purpose: "timestamp"
-- keeps its zone, and value is not rounded to two digits.

DO $$
BEGIN
  IF to_regclass('sensor_events') IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = 'SL002',
      MESSAGE = 'a table sensor_events of another program is in this database',
      HINT = 'Rename it (ALTER TABLE sensor_events RENAME TO sensor_events_old) '
        'or choose another POSTGRES_DB';
  END IF;
END
$$;

CREATE TABLE sensor_events (
  unique_reading_id uuid PRIMARY KEY,
  -- Byte order. It is what the program compares by, it is the same on every server whatever its
  -- locale, and it makes the index below several times cheaper to keep.
  sensor_id text COLLATE "C" NOT NULL,
  sensor_type text NOT NULL,
  latitude double precision NOT NULL,
  longitude double precision NOT NULL,
  "timestamp" timestamptz NOT NULL,
  value double precision NOT NULL,
  unit text NOT NULL,
  status text NOT NULL,
  battery_level integer NOT NULL,
  -- Where the reading was first read.
  kafka_partition integer NOT NULL,
  kafka_offset bigint NOT NULL,
  ingested_at timestamptz NOT NULL DEFAULT now()
);

-- "This sensor, this time range", and the newest reading of each sensor.
CREATE INDEX sensor_events_sensor_id_timestamp ON sensor_events (sensor_id, "timestamp");
