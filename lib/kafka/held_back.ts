/**
 * Asks the leaders of a topic's partitions what open transactions hold back. kafkajs's own question for
 * offsets is always that of a reader of committed messages.
 *
 * @module
 */
import { systemClock } from "../clock.ts";
import type { HeldBack } from "./message.ts";
import { readEnds } from "./offsets_reader.ts";
import type { RawCluster } from "./raw_cluster.ts";

/** See `GroupMember.heldBack`; partitions without a leader are absent. */
export async function readHeldBack(
  cluster: RawCluster,
  topic: string,
): Promise<ReadonlyMap<number, HeldBack>> {
  const of = { topic, clock: systemClock };
  // In this order: what comes in between must not look as if it were held back.
  const ends = await readEnds(cluster, { ...of, isolation: "uncommitted" });
  const readable = await readEnds(cluster, { ...of, isolation: "committed" });
  const heldBack = new Map<number, HeldBack>();
  for (const [partition, end] of ends) {
    const offset = readable.get(partition) ?? end;
    if (offset < end) heldBack.set(partition, { offset, messages: end - offset });
  }
  return heldBack;
}
