-- The second half of a batch whose readings went into sensor_events by COPY, in the same transaction: the
-- dead letters, and then the ledger. It moves last, so a client that freezes while it sends holds no
-- line of the ledger.
--
-- COPY is half the work of store_batch, and refuses the whole batch where an id is stored already. So
-- store_batch stays, for batches with repeats: it decides.
--
-- What store_batch answers is raised here, or COMMIT would keep the rows: SL003 the ledger does not stand
-- at p_from, DETAIL where it does; SL004 another data set; SL005 another log.
CREATE FUNCTION finish_batch(
  p_data_set uuid,
  p_cluster_id text,
  p_topic text,
  p_topic_id uuid,
  p_partition integer,
  p_from bigint,
  p_next bigint,
  -- The epoch that the line must have, and the one that it gets.
  p_from_epoch integer,
  p_next_epoch integer,
  p_inserted bigint,
  p_duplicates bigint,
  p_skipped bigint,
  -- Dead letters, one element each.
  p_dead_offsets bigint[],
  p_dead_reasons text[],
  p_dead_details text[],
  p_dead_payloads bytea[],
  p_dead_payload_bytes integer[],
  p_dead_payload_sha256s bytea[],
  p_dead_keys bytea[],
  p_dead_headers jsonb[]
) RETURNS void
LANGUAGE plpgsql VOLATILE
-- As in store_batch: a plan that was right for an empty table is kept for the life of the connection.
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
  v_next bigint;
  v_epoch integer;
BEGIN
  PERFORM FROM data_set WHERE id = p_data_set;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING
      ERRCODE = 'SL004',
      MESSAGE = 'the database holds another data set';
  END IF;

  -- COPY asks for no key. Into a table that has lost it, every repeat would go; this fails instead.
  INSERT INTO sensor_events (unique_reading_id) SELECT p_data_set WHERE false
  ON CONFLICT (unique_reading_id) DO NOTHING;

  INSERT INTO dead_letters (
    cluster_id, topic, topic_id, kafka_partition, kafka_offset, reason, detail, payload,
    payload_bytes, payload_sha256, key, headers
  )
  SELECT p_cluster_id, p_topic, p_topic_id, p_partition, dead.*
  FROM unnest(
    p_dead_offsets, p_dead_reasons, p_dead_details, p_dead_payloads, p_dead_payload_bytes,
    p_dead_payload_sha256s, p_dead_keys, p_dead_headers
  ) AS dead
  ON CONFLICT ON CONSTRAINT dead_letters_one_per_message DO NOTHING;

  -- That the numbers add up to the offsets passed is checked by ledger_adds_up.
  UPDATE ledger AS line SET
    next_offset = p_next,
    leader_epoch = p_next_epoch,
    inserted = line.inserted + p_inserted,
    duplicates = line.duplicates + p_duplicates,
    dead_letters = line.dead_letters + cardinality(p_dead_offsets),
    skipped = line.skipped + p_skipped,
    updated_at = now()
  WHERE line.cluster_id = p_cluster_id AND line.topic = p_topic AND line.topic_id = p_topic_id
    AND line.kafka_partition = p_partition
    AND line.next_offset = p_from AND line.leader_epoch = p_from_epoch;
  IF FOUND THEN
    RETURN;
  END IF;

  SELECT line.next_offset, line.leader_epoch INTO v_next, v_epoch
  FROM ledger AS line
  WHERE line.cluster_id = p_cluster_id AND line.topic = p_topic AND line.topic_id = p_topic_id
    AND line.kafka_partition = p_partition;
  IF v_next = p_from OR (v_next = p_next AND v_epoch <> p_next_epoch) THEN
    RAISE EXCEPTION USING
      ERRCODE = 'SL005',
      MESSAGE = 'the ledger stands in another log';
  END IF;
  RAISE EXCEPTION USING
    ERRCODE = 'SL003',
    MESSAGE = 'the ledger does not stand where the batch begins',
    DETAIL = coalesce(v_next::text, '');
END
$$;
