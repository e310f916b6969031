-- The official history: one row for each reading, whatever was sent again.
--
-- unique_reading_id is the whole deduplication. A reading arrives once or ten times, through one
-- consumer or three: the primary key lets one row in.
--
-- Column order follows the table that this one replaces. Two types differ on purpose: "timestamp"
-- keeps its zone, and value is not rounded to two digits.

-- That table may be here, with its rows. It keeps them under another name until 007 takes them over.
DO $$
BEGIN
  IF to_regclass('sensor_events') IS NULL THEN
    RETURN;
  END IF;
  IF (
    SELECT count(*) FROM pg_attribute
    WHERE attrelid = 'sensor_events'::regclass AND (attname, format_type(atttypid, NULL)) IN (
      ('id', 'integer'), ('id', 'bigint'),
      ('unique_reading_id', 'character varying'), ('sensor_id', 'character varying'),
      ('sensor_type', 'character varying'), ('latitude', 'numeric'), ('longitude', 'numeric'),
      ('timestamp', 'timestamp without time zone'), ('value', 'numeric'),
      ('unit', 'character varying'), ('status', 'character varying'), ('battery_level', 'integer')
    )
  ) <> 11 THEN
    RAISE EXCEPTION USING
      ERRCODE = 'SL002',
      MESSAGE = 'a table sensor_events of another program is in this database',
      HINT = 'It does not have the columns that can be taken over. Rename it '
        '(ALTER TABLE sensor_events RENAME TO sensor_events_other) or choose another POSTGRES_DB';
  END IF;
  ALTER TABLE sensor_events RENAME TO sensor_events_original;
  ALTER INDEX IF EXISTS sensor_events_pkey RENAME TO sensor_events_original_pkey;
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
