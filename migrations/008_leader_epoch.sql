-- The epoch of the leader that wrote the end of what a line has stored. Offsets alone do not say
-- which messages they name: brokers can lose the end of a log and give its offsets to other messages.
-- Of each epoch there is one leader, so offset and epoch together name one message for ever.
--
-- The epoch is that of the message below next_offset, or a later one; -1: not known, because the line
-- is older than this column, or because there was nothing below next_offset when it was moved there.
ALTER TABLE ledger ADD COLUMN leader_epoch integer NOT NULL DEFAULT -1;

-- As in 005, and the line is compared and set together with its epoch. An earlier program that still
-- runs calls it without epochs: offsets alone are compared, and the epoch is not known afterwards.
DROP FUNCTION store_batch;

CREATE FUNCTION store_batch(
  p_data_set uuid,
  p_cluster_id text,
  p_topic text,
  p_topic_id uuid,
  p_partition integer,
  p_from bigint,
  p_next bigint,
  p_duplicates bigint,
  p_skipped bigint,
  -- Readings, one element each, sorted by (id, offset).
  p_ids uuid[],
  p_sensor_ids text[],
  p_sensor_types text[],
  p_latitudes double precision[],
  p_longitudes double precision[],
  p_timestamps timestamptz[],
  p_values double precision[],
  p_units text[],
  p_statuses text[],
  p_battery_levels integer[],
  p_offsets bigint[],
  -- Dead letters, one element each. A suspect is kept only if its reading turns out to conflict.
  p_dead_suspects boolean[],
  p_dead_offsets bigint[],
  p_dead_reasons text[],
  p_dead_details text[],
  p_dead_payloads bytea[],
  p_dead_payload_bytes integer[],
  p_dead_payload_sha256s bytea[],
  p_dead_keys bytea[],
  p_dead_headers jsonb[],
  -- The epoch that the line must have, and the one that it gets.
  p_from_epoch integer DEFAULT NULL,
  p_next_epoch integer DEFAULT NULL,
  OUT outcome text,
  OUT ledger_next bigint,
  OUT inserted bigint,
  OUT duplicates bigint,
  OUT dead_letters bigint,
  OUT conflict_offsets bigint[]
)
LANGUAGE plpgsql VOLATILE
-- The plan of the comparison is kept for the life of the connection. It may have been made when the
-- table was empty, and a scan that was right then would read the whole table for each batch now.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
-- data_set has to be scanned all the same. What is off counts as very expensive, and what is
-- expensive would be compiled first: 10 ms for each batch.
SET jit = off
AS $$
DECLARE
  v_epoch integer;
  v_refused bigint;
  v_compared bigint;
  v_without_dead_letter text;
BEGIN
  PERFORM FROM data_set WHERE id = p_data_set;
  IF NOT FOUND THEN
    outcome := 'data_set_changed';
    RETURN;
  END IF;

  SELECT line.next_offset, line.leader_epoch INTO ledger_next, v_epoch
  FROM ledger AS line
  WHERE line.cluster_id = p_cluster_id AND line.topic = p_topic AND line.topic_id = p_topic_id
    AND line.kafka_partition = p_partition
  FOR UPDATE;
  -- Somebody has stored up to here, and not from the log that this batch is from.
  IF (ledger_next = p_from AND v_epoch <> p_from_epoch)
    OR (ledger_next = p_next AND v_epoch <> p_next_epoch) THEN
    outcome := 'other_log';
    RETURN;
  END IF;
  IF ledger_next IS DISTINCT FROM p_from THEN
    outcome := 'fenced';
    RETURN;
  END IF;

  INSERT INTO sensor_events (
    unique_reading_id, sensor_id, sensor_type, latitude, longitude, "timestamp", value, unit,
    status, battery_level, kafka_partition, kafka_offset
  )
  SELECT sent.id, sent.sensor_id, sent.sensor_type, sent.latitude, sent.longitude, sent.at,
    sent.value, sent.unit, sent.status, sent.battery_level, p_partition, sent.kafka_offset
  FROM unnest(
    p_ids, p_sensor_ids, p_sensor_types, p_latitudes, p_longitudes, p_timestamps, p_values, p_units,
    p_statuses, p_battery_levels, p_offsets
  ) AS sent (
    id, sensor_id, sensor_type, latitude, longitude, at, value, unit, status, battery_level,
    kafka_offset
  )
  ON CONFLICT (unique_reading_id) DO NOTHING;
  GET DIAGNOSTICS inserted = ROW_COUNT;

  conflict_offsets := '{}';
  v_refused := cardinality(p_ids) - inserted;
  IF v_refused > 0 THEN
    -- A row that this call inserted has this transaction's number and the offset that was sent. The
    -- offset alone would not do: in a topic that was made again, other messages have the same ones.
    SELECT count(*),
      coalesce(array_agg(refused.kafka_offset ORDER BY refused.kafka_offset)
        FILTER (WHERE refused.differs), '{}')
    INTO v_compared, conflict_offsets
    FROM (
      SELECT sent.kafka_offset,
        (stored.sensor_id, stored.sensor_type, stored.latitude, stored.longitude,
          stored."timestamp", stored.value, stored.unit, stored.status, stored.battery_level)
        IS DISTINCT FROM
        (sent.sensor_id, sent.sensor_type, sent.latitude, sent.longitude,
          sent.at, sent.value, sent.unit, sent.status, sent.battery_level) AS differs
      FROM unnest(
        p_ids, p_sensor_ids, p_sensor_types, p_latitudes, p_longitudes, p_timestamps, p_values,
        p_units, p_statuses, p_battery_levels, p_offsets
      ) AS sent (
        id, sensor_id, sensor_type, latitude, longitude, at, value, unit, status, battery_level,
        kafka_offset
      )
      JOIN sensor_events AS stored ON stored.unique_reading_id = sent.id
      WHERE stored.xmin <> pg_current_xact_id()::xid OR stored.kafka_offset <> sent.kafka_offset
    ) AS refused;

    -- Somebody deleted a row after it had refused ours. Nothing is decided; the next try inserts
    -- ours.
    IF v_compared <> v_refused THEN
      RAISE EXCEPTION USING
        ERRCODE = 'serialization_failure',
        MESSAGE = format('%s of %s refused readings could not be compared with a stored row',
          v_refused - v_compared, v_refused);
    END IF;

    SELECT string_agg(missing.kafka_offset::text, ',' ORDER BY missing.kafka_offset)
    INTO v_without_dead_letter
    FROM (
      SELECT unnest(conflict_offsets) EXCEPT SELECT unnest(p_dead_offsets)
    ) AS missing (kafka_offset);
    IF v_without_dead_letter IS NOT NULL THEN
      RAISE EXCEPTION USING
        ERRCODE = 'SL001',
        MESSAGE = 'readings conflict with stored ones and came without a dead letter',
        DETAIL = v_without_dead_letter;
    END IF;
  END IF;

  INSERT INTO dead_letters (
    cluster_id, topic, topic_id, kafka_partition, kafka_offset, reason, detail, payload,
    payload_bytes, payload_sha256, key, headers
  )
  SELECT p_cluster_id, p_topic, p_topic_id, p_partition, dead.kafka_offset, dead.reason,
    dead.detail, dead.payload, dead.payload_bytes, dead.payload_sha256, dead.key, dead.headers
  FROM unnest(
    p_dead_suspects, p_dead_offsets, p_dead_reasons, p_dead_details, p_dead_payloads,
    p_dead_payload_bytes, p_dead_payload_sha256s, p_dead_keys, p_dead_headers
  ) AS dead (
    suspect, kafka_offset, reason, detail, payload, payload_bytes, payload_sha256, key, headers
  )
  WHERE NOT dead.suspect OR dead.kafka_offset IN (SELECT unnest(conflict_offsets))
  ON CONFLICT ON CONSTRAINT dead_letters_one_per_message DO NOTHING;

  -- Counted as sent and not as inserted: a dead letter that is read again is there already.
  dead_letters := cardinality(array_positions(p_dead_suspects, false))
    + cardinality(conflict_offsets);
  duplicates := p_duplicates + v_refused - cardinality(conflict_offsets);

  -- That the numbers add up to the offsets passed is checked by ledger_adds_up.
  UPDATE ledger AS line SET
    next_offset = p_next,
    leader_epoch = coalesce(p_next_epoch, -1),
    inserted = line.inserted + store_batch.inserted,
    duplicates = line.duplicates + store_batch.duplicates,
    dead_letters = line.dead_letters + store_batch.dead_letters,
    skipped = line.skipped + p_skipped,
    updated_at = now()
  WHERE line.cluster_id = p_cluster_id AND line.topic = p_topic AND line.topic_id = p_topic_id
    AND line.kafka_partition = p_partition;
  ledger_next := p_next;
  outcome := 'stored';
END
$$;
