/**
 * Faults around Redis: marks that are believed, and last values.
 *
 * @module
 */
import { markTexts } from "../fakes/mark_texts.ts";
import type { FetchedBatch } from "../lib/kafka/group_member.ts";
import type { Cache } from "../lib/redis/cache.ts";
import { withBatches, withCache, withStore } from "./bug_tools.ts";
import type { PlantedBug } from "./world.ts";

/** Marks that are believed though one of their parts says that they must not be. */
function withMarks(
  change: (parts: string[], batch: FetchedBatch, lineage: string) => void,
): NonNullable<PlantedBug["consumer"]> {
  return (ports) => {
    let lastBatch: FetchedBatch | undefined;
    let lineage = "";
    const member = withBatches((batch) => {
      lastBatch = batch;
      return {};
    })(ports, undefined as never).member;
    const cache: Cache = {
      ...ports.cache,
      remember: (marks, last) => {
        lineage = markTexts(marks).at(-1)?.value.split(":")[0] ?? lineage;
        return ports.cache.remember(marks, last);
      },
      marks: async (ids) => {
        const marks = await ports.cache.marks(ids);
        return marks.map((mark) => {
          const parts = mark?.split(":");
          if (parts === undefined || parts[3] === "" || lastBatch === undefined) return mark;
          change(parts, lastBatch, lineage);
          return parts.join(":");
        });
      },
    };
    return { ...ports, member, cache };
  };
}

/** The place that a mark names, in the same epoch and before all others. */
function atBeginning(parts: readonly string[]): string {
  return `${parts[2]?.split("/")[0]}/-1`;
}

/** Marks and last values. */
export const REDIS_BUGS: readonly PlantedBug[] = [
  {
    name: "marks of another history are believed",
    consumer: withMarks((parts, _, lineage) => parts[0] = lineage),
  },
  {
    name: "marks ahead of the ledger are believed",
    consumer: withMarks((parts) => parts[2] = atBeginning(parts)),
  },
  {
    name: "marks of another partition are believed",
    consumer: withMarks((parts, batch) => {
      if (parts[1] !== String(batch.partition)) parts[2] = `${batch.firstEpoch}/-1`;
      parts[1] = String(batch.partition);
    }),
  },
  {
    name: "a last value is set whatever is there",
    consumer: withCache((cache, _, { servers }) => ({
      remember: (marks, last) => {
        for (const { sensorId } of last.values) servers.redis.lastValues.delete(sensorId);
        return cache.remember(marks, last);
      },
    })),
  },
  {
    name: "the last values of a living neighbour are taken",
    consumer: withCache((cache, _, { servers }) => ({
      claimLastValues: (claimant) =>
        cache.claimLastValues({ ...claimant, formerly: servers.redis.lease?.dataSetId }),
    })),
  },
  {
    name: "last values are not repaired",
    consumer: withStore((store) => ({
      lastReadings: async (after) => await store.lastReadings(after, 0),
    })),
  },
];
