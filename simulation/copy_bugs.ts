/**
 * Faults of the copy: the fast way of a batch, and the way back from it.
 *
 * @module
 */
import { marksOf } from "../fakes/mark_texts.ts";
import { readingRows, readingsOf } from "../fakes/reading_rows.ts";
import type { BatchToStore } from "../lib/postgres/store.ts";
import { emptied, idTextsOf, noneOf, storedAsIf, storeRowsApart, withStore } from "./bug_tools.ts";
import type { Servers } from "./servers.ts";
import type { PlantedBug } from "./world.ts";

/** The first half of a batch's rows is in the table, and no line of the ledger knows of it. */
function keepHalf({ store }: Servers, { readings, partition }: BatchToStore): void {
  const backup = store.backup();
  const rows = new Map(backup.readings);
  const copied = readingsOf(readings);
  for (const row of copied.slice(0, Math.ceil(copied.length / 2))) {
    const id = row.reading.unique_reading_id;
    if (!rows.has(id)) rows.set(id, { ...row, partition });
  }
  store.restore({ ...backup, readings: rows });
}

/** Copies, and batches that are compared after one. */
export const COPY_BUGS: readonly PlantedBug[] = [
  {
    name: "a copy moves the ledger first, in a transaction of its own",
    consumer: withStore((store) => ({
      storeBatch: async (batch, way) => {
        if (way === "compare") return await store.storeBatch(batch, way);
        const outcome = await store.storeBatch(emptied(batch), way);
        return outcome.kind === "stored" ? await storeRowsApart(store, batch, way) : outcome;
      },
    })),
  },
  {
    name: "a copy that met a repeat is taken for stored",
    consumer: withStore((store) => ({
      storeBatch: async (batch, way) => {
        const outcome = await store.storeBatch(batch, way);
        return outcome.kind === "repeated" ? storedAsIf(batch) : outcome;
      },
    })),
  },
  {
    name: "what is compared after a copy in vain is counted twice",
    consumer: withStore((store) => {
      const inVain = new Map<number, number>();
      return {
        storeBatch: async (batch, way) => {
          const outcome = await store.storeBatch(batch, way);
          const { partition } = batch;
          if (outcome.kind === "repeated") inVain.set(partition, batch.readings.rows.length);
          if (outcome.kind !== "stored") return outcome;
          const duplicates = outcome.duplicates + (inVain.get(partition) ?? 0);
          inVain.delete(partition);
          return { ...outcome, duplicates };
        },
      };
    }),
  },
  {
    name: "half of a copy that failed is kept",
    consumer: withStore((store, _, { servers }) => ({
      storeBatch: async (batch, way) => {
        if (way === "compare") return await store.storeBatch(batch, way);
        try {
          const outcome = await store.storeBatch(batch, way);
          if (outcome.kind === "repeated") keepHalf(servers, batch);
          return outcome;
        } catch (error) {
          keepHalf(servers, batch);
          throw error;
        }
      },
    })),
  },
  {
    name: "the readings of a copy that failed are marked",
    consumer: withStore((store, { cache }) => ({
      storeBatch: async (batch, way) => {
        const outcome = await store.storeBatch(batch, way);
        if (outcome.kind !== "repeated") return outcome;
        const marks = marksOf(idTextsOf(batch).map((id) => ({ id, value: "early" })));
        await cache.remember(marks, noneOf(batch)).catch(() => {});
        return outcome;
      },
    })),
  },
  {
    name: "two batches use the same columns",
    consumer: withStore((store, _, { process }) => {
      let columns: BatchToStore["readings"] | undefined;
      return {
        storeBatch: async (batch, way) => {
          columns = batch.readings;
          await process.clock.sleep(1);
          const own = readingsOf(batch.readings);
          const filled = readingsOf(columns);
          const readings = readingRows(own.map((row, index) => filled[index] ?? row));
          return await store.storeBatch({ ...batch, readings }, way);
        },
      };
    }),
  },
];
