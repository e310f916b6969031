/**
 * A line of the ledger for tests to vary.
 *
 * @module
 */
import type { LedgerLine } from "../lib/postgres/store.ts";

/** A line that has passed `next` readings and nothing else. */
export function sampleLine(next: number, changes: Partial<LedgerLine> = {}): LedgerLine {
  return {
    topic: { clusterId: "c", topic: "t", topicId: "i" },
    partition: 0,
    first: 0,
    next,
    leaderEpoch: 0,
    inserted: next,
    duplicates: 0,
    deadLetters: 0,
    skipped: 0,
    gaps: 0,
    rewound: 0,
    updatedAtMs: 0,
    ...changes,
  };
}
