-- How far each partition has been stored, and what became of every offset on the way. A line moves
-- only in the transaction that stores what lies below its new position. So it is the place to start
-- reading from, and it is the proof that nothing was left out.

CREATE TABLE ledger (
  cluster_id text NOT NULL,
  topic text NOT NULL,
  topic_id uuid NOT NULL,
  kafka_partition integer NOT NULL,
  first_offset bigint NOT NULL,
  next_offset bigint NOT NULL,
  inserted bigint NOT NULL DEFAULT 0,
  duplicates bigint NOT NULL DEFAULT 0,
  dead_letters bigint NOT NULL DEFAULT 0,
  -- Offsets that hold no message: control records, aborted or compacted messages.
  skipped bigint NOT NULL DEFAULT 0,
  -- Offsets that the broker deleted before they were read.
  gaps bigint NOT NULL DEFAULT 0,
  -- Offsets gone back over, to be read once more.
  rewound bigint NOT NULL DEFAULT 0,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (cluster_id, topic, topic_id, kafka_partition),
  CONSTRAINT ledger_adds_up CHECK (
    next_offset - first_offset + rewound = inserted + duplicates + dead_letters + skipped + gaps
  ),
  CONSTRAINT ledger_never_negative CHECK (
    least(
      first_offset, next_offset, inserted, duplicates, dead_letters, skipped, gaps, rewound
    ) >= 0
  )
)
-- A line is updated hundreds of times a second. With free room in each page, and no index on a
-- column that changes, PostgreSQL puts the new version next to the old one and touches no index.
WITH (fillfactor = 20);
