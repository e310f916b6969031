-- Takes over the rows of the table that this program replaces, if 001 found one. Its table is left
-- as it was, under the name sensor_events_original: nothing is lost whatever happens here, and who is
-- content with the result drops it.
--
-- Its times have no zone; they are UTC. Its numbers are decimals, which doubles hold to their last
-- digit at this size. What no reading of ours can be (an id that is no UUID, a column without a
-- value) is kept aside with the reason.

-- A row that was taken over comes from no message that we know.
ALTER TABLE sensor_events
  ALTER COLUMN kafka_partition DROP NOT NULL,
  ALTER COLUMN kafka_offset DROP NOT NULL,
  ADD CONSTRAINT sensor_events_place_whole CHECK (
    (kafka_partition IS NULL) = (kafka_offset IS NULL)
  );

-- Rows that could not be taken over.
CREATE TABLE take_over_rejected (
  original_id bigint PRIMARY KEY,
  reason text NOT NULL,
  -- The whole row.
  original jsonb NOT NULL
);

-- The report: one row if there was something to take over.
CREATE TABLE take_over (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  happened_at timestamptz NOT NULL DEFAULT now(),
  original_rows bigint NOT NULL,
  taken_rows bigint NOT NULL,
  rejected_rows bigint NOT NULL,
  CONSTRAINT take_over_adds_up CHECK (original_rows = taken_rows + rejected_rows)
);

DO $$
DECLARE
  v_original bigint;
  v_taken bigint;
  v_rejected bigint;
  v_reader name;
BEGIN
  IF to_regclass('sensor_events_original') IS NULL THEN
    RETURN;
  END IF;
  -- Nothing may come in that is counted and not copied.
  LOCK TABLE sensor_events_original IN SHARE MODE;
  SELECT count(*) INTO v_original FROM sensor_events_original;

  INSERT INTO take_over_rejected (original_id, reason, original)
  SELECT judged.id, judged.reason, to_jsonb(judged.original)
  FROM (
    SELECT original.id, original, CASE
      WHEN unique_reading_id !~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
        THEN 'unique_reading_id is no UUID'
      WHEN row_number() OVER (PARTITION BY lower(unique_reading_id) ORDER BY id) > 1
        THEN 'unique_reading_id is that of an earlier row in other letter case'
      WHEN sensor_id !~ '^[A-Za-z0-9._:-]{1,64}$' THEN 'sensor_id has characters that it must not'
      WHEN sensor_type = '' OR sensor_type ~ '[\u0001-\u001f\u007f-\u009f]'
        THEN 'sensor_type is empty or has control characters'
      WHEN (latitude BETWEEN -90 AND 90) IS NOT TRUE THEN 'latitude is missing or no latitude'
      WHEN (longitude BETWEEN -180 AND 180) IS NOT TRUE THEN 'longitude is missing or no longitude'
      WHEN ("timestamp" >= '1684-01-01' AND "timestamp" < '2256-01-01') IS NOT TRUE
        THEN 'timestamp is before 1684 or after 2255'
      WHEN value IS NULL OR value = 'NaN' THEN 'value is missing or no number'
      WHEN unit IS NULL OR unit = '' OR unit ~ '[\u0001-\u001f\u007f-\u009f]'
        THEN 'unit is missing, empty or has control characters'
      WHEN status IS NULL OR status = '' OR status ~ '[\u0001-\u001f\u007f-\u009f]'
        THEN 'status is missing, empty or has control characters'
      WHEN (battery_level BETWEEN 0 AND 100) IS NOT TRUE
        THEN 'battery_level is missing or not from 0 to 100'
    END AS reason
    FROM sensor_events_original AS original
  ) AS judged
  WHERE judged.reason IS NOT NULL;
  GET DIAGNOSTICS v_rejected = ROW_COUNT;

  INSERT INTO sensor_events (
    unique_reading_id, sensor_id, sensor_type, latitude, longitude, "timestamp", value, unit,
    status, battery_level
  )
  SELECT unique_reading_id::uuid, sensor_id, sensor_type, latitude, longitude,
    "timestamp" AT TIME ZONE 'UTC', value, unit, status, battery_level
  FROM sensor_events_original AS original
  WHERE NOT EXISTS (SELECT FROM take_over_rejected WHERE original_id = original.id)
  ORDER BY id;
  GET DIAGNOSTICS v_taken = ROW_COUNT;

  INSERT INTO take_over (original_rows, taken_rows, rejected_rows)
  VALUES (v_original, v_taken, v_rejected);
  -- So that verify knows of rows that came through no ledger.
  INSERT INTO row_corrections (kafka_partition, added) VALUES (NULL, v_taken);

  -- Who could read the table can read it still.
  FOR v_reader IN
    SELECT CASE WHEN acl.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(role.rolname) END
    FROM pg_class AS class
    CROSS JOIN LATERAL aclexplode(class.relacl) AS acl
    LEFT JOIN pg_roles AS role ON role.oid = acl.grantee
    WHERE class.oid = 'sensor_events_original'::regclass AND acl.privilege_type = 'SELECT'
      AND acl.grantee <> class.relowner
  LOOP
    EXECUTE format('GRANT SELECT ON sensor_events TO %s', v_reader);
  END LOOP;
END
$$;
