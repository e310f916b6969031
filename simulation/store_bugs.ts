/**
 * Faults around the store: the order of the steps, its errors and its answers.
 *
 * @module
 */
import { idsOf, marksOf } from "../fakes/mark_texts.ts";
import { readingRows, readingsOf } from "../fakes/reading_rows.ts";
import { TooMuchError, TransientError } from "../lib/errors.ts";
import { UNKNOWN_EPOCH } from "../lib/kafka/message.ts";
import { type DeadLetter, linesOf } from "../lib/postgres/store.ts";
import {
  emptied,
  idTextsOf,
  NONE,
  noneOf,
  storedAsIf,
  storeRowsApart,
  withStore,
} from "./bug_tools.ts";
import type { PlantedBug } from "./world.ts";

/** The dead letter that a careless program would make of any message. */
function carelessLetter(offset: number): DeadLetter {
  return {
    offset,
    reason: "json",
    detail: "the batch was bad",
    payload: new Uint8Array(),
    payloadBytes: 0,
    payloadSha256: "0".repeat(64),
    key: null,
    headersJson: "{}",
  };
}

/** The steps of a batch in another order. */
export const ORDER_BUGS: readonly PlantedBug[] = [
  {
    name: "the Kafka commit goes before the store",
    consumer: withStore((store, { member }) => ({
      storeBatch: async (batch, way) => {
        await member.commit(new Map([[batch.partition, batch.nextOffset]])).catch(() => {});
        return await store.storeBatch(batch, way);
      },
    })),
  },
  {
    name: "the ledger moves before the rows, in a transaction of its own",
    consumer: withStore((store) => ({
      storeBatch: async (batch, way) => {
        const outcome = await store.storeBatch(emptied(batch), way);
        return outcome.kind === "stored" ? await storeRowsApart(store, batch, "compare") : outcome;
      },
    })),
  },
  {
    name: "a reading is claimed in Redis before it is stored",
    consumer: withStore((store, { cache }) => ({
      storeBatch: async (batch, way) => {
        const ids = idTextsOf(batch);
        const claims = await cache.marks(idsOf(ids));
        const claimed = marksOf(ids.map((id) => ({ id, value: "claimed" })));
        await cache.remember(claimed, noneOf(batch));
        const free = readingsOf(batch.readings).filter((_, index) => claims[index] === null);
        const duplicates = batch.duplicates + ids.length - free.length;
        return await store.storeBatch({ ...batch, readings: readingRows(free), duplicates }, way);
      },
    })),
  },
  {
    name: "marks are written before the store",
    consumer: withStore((store, { cache }) => ({
      storeBatch: async (batch, way) => {
        const ids = idTextsOf(batch);
        const early = marksOf(ids.map((id) => ({ id, value: "early" })));
        await cache.remember(early, noneOf(batch)).catch(() => {});
        return await store.storeBatch(batch, way);
      },
    })),
  },
];

/** What the store says is not heeded. */
export const STORE_BUGS: readonly PlantedBug[] = [
  {
    name: "an error of the store is logged and passed over",
    consumer: withStore((store) => ({
      storeBatch: (batch, way) => store.storeBatch(batch, way).catch(() => storedAsIf(batch)),
    })),
  },
  {
    name: "a batch that is too much for the database is tried again as it is",
    consumer: withStore((store) => ({
      storeBatch: (batch, way) =>
        store.storeBatch(batch, way).catch((error) => {
          throw error instanceof TooMuchError
            ? new TransientError("again", { cause: error })
            : error;
        }),
    })),
  },
  {
    name: "an error of the store is passed over for the last batch of a partition",
    consumer: withStore((store, _, { servers }) => ({
      storeBatch: (batch, way) =>
        store.storeBatch(batch, way).catch((error) => {
          if (batch.nextOffset < servers.kafka.partition(batch.partition).next) throw error;
          return storedAsIf(batch);
        }),
    })),
  },
  {
    name: "the ledger is set whatever it says",
    consumer: withStore((store) => ({
      storeBatch: async (batch, way) => {
        const outcome = await store.storeBatch(batch, way);
        if (outcome.kind !== "fenced" || outcome.ledgerNext === undefined) return outcome;
        const { fromOffset: toOffset, fromEpoch: toEpoch } = batch;
        const move = { fromOffset: outcome.ledgerNext, toOffset, toEpoch };
        await store.moveLedgerLine(batch.topic, batch.partition, move);
        return await store.storeBatch(batch, way);
      },
    })),
  },
  {
    name: "a refused batch is taken for a stored one",
    consumer: withStore((store) => ({
      storeBatch: async (batch, way) => {
        const outcome = await store.storeBatch(batch, way);
        return outcome.kind === "fenced" ? storedAsIf(batch) : outcome;
      },
    })),
  },
  {
    name: "one bad message makes dead letters of its whole batch",
    consumer: withStore((store) => ({
      storeBatch: (batch, way) => {
        if (batch.deadLetters.length === 0) return store.storeBatch(batch, way);
        const others = readingsOf(batch.readings).map(({ offset }) => carelessLetter(offset));
        const deadLetters = [...batch.deadLetters, ...others];
        return store.storeBatch({ ...batch, readings: NONE, suspects: [], deadLetters }, way);
      },
    })),
  },
  {
    name: "a dead letter is dropped when writing it fails",
    consumer: withStore((store) => ({
      storeBatch: (batch, way) =>
        store.storeBatch(batch, way).catch((error) => {
          if (batch.deadLetters.length === 0 || !(error instanceof TransientError)) throw error;
          const skipped = batch.skipped + batch.deadLetters.length;
          return store.storeBatch({ ...batch, deadLetters: [], skipped }, way);
        }),
    })),
  },
  {
    name: "a conflict is called a duplicate",
    consumer: withStore((store) => ({
      storeBatch: async (batch, way) => {
        const outcome = await store.storeBatch({ ...batch, suspects: [] }, way);
        if (outcome.kind !== "conflicts") return outcome;
        const refused = new Set(outcome.offsets);
        const readings = readingsOf(batch.readings).filter(({ offset }) => !refused.has(offset));
        const duplicates = batch.duplicates + refused.size;
        const others = { readings: readingRows(readings), duplicates, suspects: [] };
        return await store.storeBatch({ ...batch, ...others }, way);
      },
    })),
  },
  {
    name: "a gap is passed over without being counted",
    consumer: withStore((store) => ({
      moveLedgerLine: async (topic, partition, move) => {
        if (move.toOffset < move.fromOffset) {
          return await store.moveLedgerLine(topic, partition, move);
        }
        const { fromOffset, toOffset: nextOffset, toEpoch: nextEpoch } = move;
        const lines = await store.readLedger();
        const fromEpoch = linesOf(lines, topic).get(partition)?.leaderEpoch ?? UNKNOWN_EPOCH;
        const outcome = await store.storeBatch({
          dataSetId: await store.dataSetId(),
          topic,
          partition,
          fromOffset,
          nextOffset,
          fromEpoch,
          nextEpoch,
          readings: NONE,
          duplicates: 0,
          skipped: nextOffset - fromOffset,
          deadLetters: [],
          suspects: [],
        }, "copy");
        return outcome.kind === "stored";
      },
    })),
  },
];
