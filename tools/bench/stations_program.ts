/**
 * A consumer that notes when each batch passes its stations, for `bench latency --stations`. It keeps
 * the notes in memory and prints them at its end, one line of JSON.
 *
 * @module
 */
import { join } from "node:path";
import process from "node:process";
import type { GroupMember } from "../../lib/kafka/group_member.ts";
import type { Store } from "../../lib/postgres/store.ts";
import { runConsumer } from "../../lib/run_consumer.ts";
import { flushErrors, print, printed } from "../../lib/standard_streams.ts";

/** Some consecutive messages of a partition, and when they passed. */
export type StationNote = readonly [partition: number, from: number, next: number, atMs: number];

/** What the program prints. */
export interface StationNotes {
  /** The answer to the fetch was decoded. */
  readonly fetched: readonly StationNote[];
  /** The handler is done: once all of an answer are, the next fetch goes out. */
  readonly handedOver: readonly StationNote[];
  /** The intake has taken the fetch over: its batch begins. */
  readonly begun: readonly StationNote[];
  /** The statement goes to PostgreSQL. */
  readonly stored: readonly StationNote[];
  /** PostgreSQL has answered. */
  readonly answered: readonly StationNote[];
  /** Longest that the event loop did not turn, ms, in each second. */
  readonly blockedMs: readonly number[];
}

/** A turn of the event loop is asked for this often, ms. */
const TURN_MS = 2;

/** Milliseconds since 1970, with fractions. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

type MutableNotes = { readonly [Key in keyof StationNotes]: StationNotes[Key][number][] };

function noteMember(member: GroupMember, notes: MutableNotes): GroupMember {
  const start: GroupMember["start"] = (handlers) =>
    member.start({
      assigned: (partitions) => handlers.assigned(partitions),
      refused: (error) => handlers.refused(error),
      crashed: (error) => handlers.crashed(error),
      batch: (fetched) => {
        const { partition, fetchedOffset, nextOffset } = fetched;
        notes.fetched.push([partition, fetchedOffset, nextOffset, nowMs()]);
        const resolve = (next: number): void => {
          notes.begun.push([partition, fetchedOffset, nextOffset, nowMs()]);
          fetched.resolve(next);
        };
        const noted = {
          ...fetched,
          resolve,
          isCurrent: () => fetched.isCurrent(),
          heartbeat: () => fetched.heartbeat(),
        };
        return handlers.batch(noted).finally(() =>
          notes.handedOver.push([partition, fetchedOffset, nextOffset, nowMs()])
        );
      },
    });
  return new Proxy(member, {
    get: (target, name) => {
      if (name === "start") return start;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function noteStore(store: Store, notes: MutableNotes): Store {
  const storeBatch: Store["storeBatch"] = async (batch, way) => {
    const { partition, fromOffset, nextOffset } = batch;
    notes.stored.push([partition, fromOffset, nextOffset, nowMs()]);
    const outcome = await store.storeBatch(batch, way);
    notes.answered.push([partition, fromOffset, nextOffset, nowMs()]);
    return outcome;
  };
  return new Proxy(store, {
    get: (target, name) => {
      if (name === "storeBatch") return storeBatch;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function watchTurns(notes: MutableNotes): () => void {
  let lastMs = nowMs();
  let secondMs = lastMs;
  let longestMs = 0;
  const timer = setInterval(() => {
    const atMs = nowMs();
    longestMs = Math.max(longestMs, atMs - lastMs - TURN_MS);
    lastMs = atMs;
    if (atMs - secondMs < 1_000) return;
    notes.blockedMs.push(longestMs);
    longestMs = 0;
    secondMs = atMs;
  }, TURN_MS);
  return () => clearInterval(timer);
}

if (import.meta.main) {
  const notes: MutableNotes = {
    fetched: [],
    handedOver: [],
    begun: [],
    stored: [],
    answered: [],
    blockedMs: [],
  };
  const stopWatching = watchTurns(notes);
  await runConsumer({}, {
    migrations: join(import.meta.dirname!, "..", "..", "migrations"),
    wrap: ({ member, store, cache }) => ({
      member: noteMember(member, notes),
      store: noteStore(store, notes),
      cache,
    }),
  });
  stopWatching();
  await print(JSON.stringify(notes));
  await printed();
  await flushErrors();
  process.exit();
}
