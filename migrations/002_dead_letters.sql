-- Messages that are no readings, and readings that contradict a stored one. They are written in the
-- transaction that moves the ledger past them, so that nothing is dropped without a trace.

CREATE TABLE dead_letters (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  cluster_id text NOT NULL,
  topic text NOT NULL,
  -- A topic that is deleted and made again under its name starts at offset 0 once more.
  topic_id uuid NOT NULL,
  kafka_partition integer NOT NULL,
  kafka_offset bigint NOT NULL,
  reason text NOT NULL,
  detail text NOT NULL,
  -- The first 64 KiB of the value as it came. NULL: the message had no value.
  payload bytea,
  -- Length and SHA-256 of the whole value, also where payload holds only its beginning.
  payload_bytes integer NOT NULL,
  payload_sha256 bytea NOT NULL,
  key bytea,
  headers jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT dead_letters_payload_at_most_64_kib CHECK (octet_length(payload) <= 65536),
  -- A message that is read again is the same dead letter. The hash is part of the place, because a
  -- cluster that lost its log can hand out the same offset twice.
  CONSTRAINT dead_letters_one_per_message
    UNIQUE (cluster_id, topic, topic_id, kafka_partition, kafka_offset, payload_sha256)
);

CREATE INDEX dead_letters_reason_created_at ON dead_letters (reason, created_at);
