-- What an operator does to the tables beside the flow, written so that verify still adds up: mended
-- dead letters become readings, and old rows go. The ledger is not touched, for it says what became
-- of offsets, and that does not change. So its line stays free for the consumer, too.

-- A dead letter is open until it has a resolution. It is kept in any case.
ALTER TABLE dead_letters
  ADD COLUMN attempts integer NOT NULL DEFAULT 0,
  ADD COLUMN attempted_at timestamptz,
  -- Why the last attempt to replay it failed.
  ADD COLUMN attempt_fault text,
  ADD COLUMN resolution text,
  ADD COLUMN resolved_at timestamptz,
  -- Why it was discarded, or that it was edited before it was replayed.
  ADD COLUMN resolution_note text,
  -- The reading that it became, or turned out to repeat.
  ADD COLUMN reading_id uuid,
  ADD CONSTRAINT dead_letters_resolution CHECK (
    resolution IN ('inserted', 'duplicate', 'discarded')
  ),
  ADD CONSTRAINT dead_letters_resolved_whole CHECK (
    (resolution IS NULL) = (resolved_at IS NULL)
    AND (coalesce(resolution, 'discarded') = 'discarded') = (reading_id IS NULL)
  );

CREATE INDEX dead_letters_open ON dead_letters (id) WHERE resolution IS NULL;

-- Rows of sensor_events that came or went otherwise than through the ledger:
-- rows = inserted of the ledger + added - deleted, for each partition.
CREATE TABLE row_corrections (
  -- NULL: rows that are from no partition.
  kafka_partition integer,
  added bigint NOT NULL DEFAULT 0 CHECK (added >= 0),
  deleted bigint NOT NULL DEFAULT 0 CHECK (deleted >= 0)
);
CREATE UNIQUE INDEX row_corrections_one_per_partition
ON row_corrections (coalesce(kafka_partition, -1));

-- Dead letters that were deleted because of their age.
CREATE TABLE dead_letter_deletions (
  cluster_id text NOT NULL,
  topic text NOT NULL,
  topic_id uuid NOT NULL,
  kafka_partition integer NOT NULL,
  deleted bigint NOT NULL CHECK (deleted >= 0),
  PRIMARY KEY (cluster_id, topic, topic_id, kafka_partition)
);

-- What the table says to a reading: new, duplicate or conflict. The same comparison as in
-- store_batch.
CREATE FUNCTION compare_with_stored(
  p_id uuid,
  p_sensor_id text,
  p_sensor_type text,
  p_latitude double precision,
  p_longitude double precision,
  p_timestamp timestamptz,
  p_value double precision,
  p_unit text,
  p_status text,
  p_battery_level integer
) RETURNS text
LANGUAGE sql STABLE
AS $$
  SELECT coalesce(max(
    CASE WHEN (stored.sensor_id, stored.sensor_type, stored.latitude, stored.longitude,
        stored."timestamp", stored.value, stored.unit, stored.status, stored.battery_level)
      IS NOT DISTINCT FROM
      (p_sensor_id, p_sensor_type, p_latitude, p_longitude,
        p_timestamp, p_value, p_unit, p_status, p_battery_level)
    THEN 'duplicate' ELSE 'conflict' END
  ), 'new')
  FROM sensor_events AS stored WHERE stored.unique_reading_id = p_id
$$;

-- One dead letter whose message has become valid: inserts the reading and resolves the dead letter,
-- both or neither. Answers absent, resolved (before), inserted, duplicate or conflict; a conflict
-- stays open.
CREATE FUNCTION replay_dead_letter(
  p_letter_id bigint,
  -- Empty: the message was replayed as it came.
  p_note text,
  p_id uuid,
  p_sensor_id text,
  p_sensor_type text,
  p_latitude double precision,
  p_longitude double precision,
  p_timestamp timestamptz,
  p_value double precision,
  p_unit text,
  p_status text,
  p_battery_level integer
) RETURNS text
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  v_letter dead_letters;
  v_outcome text;
BEGIN
  SELECT * INTO v_letter FROM dead_letters WHERE id = p_letter_id FOR UPDATE;
  IF NOT FOUND THEN RETURN 'absent'; END IF;
  IF v_letter.resolution IS NOT NULL THEN RETURN 'resolved'; END IF;

  INSERT INTO sensor_events (
    unique_reading_id, sensor_id, sensor_type, latitude, longitude, "timestamp", value, unit,
    status, battery_level, kafka_partition, kafka_offset
  )
  VALUES (
    p_id, p_sensor_id, p_sensor_type, p_latitude, p_longitude, p_timestamp, p_value, p_unit,
    p_status, p_battery_level, v_letter.kafka_partition, v_letter.kafka_offset
  )
  ON CONFLICT (unique_reading_id) DO NOTHING;
  IF FOUND THEN
    v_outcome := 'inserted';
    INSERT INTO row_corrections AS known (kafka_partition, added)
    VALUES (v_letter.kafka_partition, 1)
    ON CONFLICT (coalesce(kafka_partition, -1)) DO UPDATE SET added = known.added + 1;
  ELSE
    v_outcome := compare_with_stored(
      p_id, p_sensor_id, p_sensor_type, p_latitude, p_longitude, p_timestamp, p_value, p_unit,
      p_status, p_battery_level
    );
    IF v_outcome = 'new' THEN
      RAISE EXCEPTION USING
        ERRCODE = 'serialization_failure',
        MESSAGE = 'the stored reading was deleted after it had refused this one';
    END IF;
  END IF;

  UPDATE dead_letters SET
    attempts = attempts + 1,
    attempted_at = now(),
    attempt_fault = CASE WHEN v_outcome = 'conflict'
      THEN 'id_conflict: reading ' || p_id || ' is stored with other content' END,
    resolution = CASE WHEN v_outcome <> 'conflict' THEN v_outcome END,
    resolved_at = CASE WHEN v_outcome <> 'conflict' THEN now() END,
    resolution_note = CASE WHEN v_outcome <> 'conflict' THEN nullif(p_note, '') END,
    reading_id = CASE WHEN v_outcome <> 'conflict' THEN p_id END
  WHERE id = p_letter_id;
  RETURN v_outcome;
END
$$;

-- Deletes readings whose event time and arrival are both before a moment, at most so many, from a
-- range of the table's blocks. Whoever walks over all ranges reads the table once and needs no index
-- for it.
CREATE FUNCTION delete_old_readings(
  p_before timestamptz,
  p_from_block bigint,
  p_to_block bigint,
  p_rows_max integer
) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  v_from tid := format('(%s,0)', p_from_block);
  v_to tid := format('(%s,0)', p_to_block);
  v_deleted bigint;
BEGIN
  WITH gone AS (
    DELETE FROM sensor_events WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM sensor_events
      WHERE ctid >= v_from AND ctid < v_to
        AND ingested_at < p_before AND "timestamp" < p_before
      LIMIT p_rows_max
    ))
    RETURNING kafka_partition
  ), counted AS (
    INSERT INTO row_corrections AS known (kafka_partition, deleted)
    -- In order, so that two that delete at the same time wait and do not deadlock.
    SELECT kafka_partition, count(*) FROM gone GROUP BY kafka_partition ORDER BY kafka_partition
    ON CONFLICT (coalesce(kafka_partition, -1))
    DO UPDATE SET deleted = known.deleted + excluded.deleted
  )
  SELECT count(*) INTO v_deleted FROM gone;
  RETURN v_deleted;
END
$$;

-- Deletes resolved dead letters that came before a moment, at most so many, by rising id from behind
-- p_after_id. last_id is NULL if there was none.
CREATE FUNCTION delete_old_dead_letters(
  p_before timestamptz,
  p_after_id bigint,
  p_rows_max integer,
  OUT deleted bigint,
  OUT last_id bigint
)
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
  WITH gone AS (
    DELETE FROM dead_letters WHERE id IN (
      SELECT id FROM dead_letters
      WHERE id > p_after_id AND created_at < p_before AND resolution IS NOT NULL
      ORDER BY id LIMIT p_rows_max
    )
    RETURNING id, cluster_id, topic, topic_id, kafka_partition
  ), counted AS (
    INSERT INTO dead_letter_deletions AS known
      (cluster_id, topic, topic_id, kafka_partition, deleted)
    SELECT cluster_id, topic, topic_id, kafka_partition, count(*) FROM gone
    GROUP BY cluster_id, topic, topic_id, kafka_partition
    ORDER BY cluster_id, topic, topic_id, kafka_partition
    ON CONFLICT (cluster_id, topic, topic_id, kafka_partition)
    DO UPDATE SET deleted = known.deleted + excluded.deleted
  )
  SELECT count(*), max(gone.id) INTO deleted, last_id FROM gone;
END
$$;
