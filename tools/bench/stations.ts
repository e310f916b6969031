/**
 * Where a reading's time goes at a steady rate: when each message passes its stations, from the
 * producer to PostgreSQL's answer, and which leg makes the slowest ones slow.
 *
 * @module
 */
import { join } from "node:path";
import { PARTITIONS } from "./workload.ts";
import type { TopicWriter } from "../../lib/kafka/topic_writer.ts";
import type { Bed } from "./bed.ts";
import { startScript } from "./child_program.ts";
import type { Figure } from "./figures.ts";
import { type LatencyOptions, type LiveMessage, WARM_UP_SECONDS, withLoad } from "./latency.ts";
import { nowMs, type StationNote, type StationNotes } from "./stations_program.ts";

/** When a message passed each station, ms since 1970. */
export interface Stations {
  /** The time in the message. */
  made: number;
  /** The producer sends its batch. */
  sent: number;
  /** The broker has acknowledged it. */
  acknowledged: number;
  /** The consumer has the answer to its fetch. */
  fetched: number;
  /** The batch begins: the one before it in its partition is done. */
  begun: number;
  /** Parsed and looked up: the statement goes to PostgreSQL. */
  stored: number;
  /** PostgreSQL has answered. */
  answered: number;
}

/** One of them. */
export type Station = keyof Stations;

/** The legs of the way. That to the acknowledgement runs beside the others. */
export const LEGS: readonly (readonly [from: Station, to: Station, what: string])[] = [
  ["made", "sent", "waits for the batch before it in the producer"],
  ["sent", "fetched", "is written by the broker and fetched"],
  ["fetched", "begun", "waits for the batch before it in its partition"],
  ["begun", "stored", "waits for a slot, is parsed and looked up"],
  ["stored", "answered", "is committed"],
];

/** The part of all messages that are called slow. */
const SLOW_PART = 0.01;

/** What {@linkcode measureStations} found. */
export interface StationsResult {
  /** Those after the warm-up. */
  readonly messages: readonly Stations[];
  /** Longest that the consumer's event loop did not turn, ms, in each second. */
  readonly blockedMs: readonly number[];
  /** Part of the time in which no fetch is under way, because a handler waits; 0 to 1. */
  readonly notFetchingPart: number;
}

/** Runs the consumer with notes, sends at the asked rate, and joins what both have noted. */
export async function measureStations(
  bed: Bed,
  options: LatencyOptions,
  name: string,
): Promise<StationsResult> {
  const lanes = Array.from({ length: PARTITIONS }, (): Stations[] => []);
  const script = join(import.meta.dirname!, "stations_program.ts");
  return await withLoad(bed, name, {
    options,
    start: (run) => startScript(script, run),
    before: (writer) => noting(writer, lanes),
    read: (_, consumer) => resultOf(lanes, JSON.parse(consumer.output)),
  });
}

function resultOf(lanes: readonly Stations[][], notes: StationNotes): StationsResult {
  const all = joinNotes(lanes, notes);
  const warmMs = Math.min(...lanes.map(([first]) => first?.made ?? Infinity)) +
    WARM_UP_SECONDS * 1_000;
  return {
    messages: all.filter(({ made }) => made >= warmMs),
    blockedMs: notes.blockedMs.slice(WARM_UP_SECONDS),
    notFetchingPart: notFetchingPart(notes),
  };
}

/** The union of all times from a fetch's answer to the end of its last handler. */
function notFetchingPart({ fetched, handedOver }: StationNotes): number {
  let beganMs = 0;
  let open = 0;
  let sumMs = 0;
  const events = [
    ...fetched.map(([, , , atMs]) => ({ atMs, by: 1 })),
    ...handedOver.map(([, , , atMs]) => ({ atMs, by: -1 })),
  ].toSorted((a, b) => a.atMs - b.atMs || b.by - a.by);
  for (const { atMs, by } of events) {
    if (open === 0) beganMs = atMs;
    open += by;
    if (open === 0) sumMs += atMs - beganMs;
  }
  return sumMs / ((events.at(-1)?.atMs ?? NaN) - (events[0]?.atMs ?? NaN));
}

/** A writer that notes when it sends. In a new topic the n-th message of a partition has offset n. */
function noting(writer: TopicWriter, lanes: readonly Stations[][]): TopicWriter {
  return {
    partitions: writer.partitions,
    send: async (partition, messages) => {
      const sent = nowMs();
      const noted = messages.map((message): Stations => ({
        made: (message as LiveMessage).madeMs,
        sent,
        acknowledged: NaN,
        fetched: NaN,
        begun: NaN,
        stored: NaN,
        answered: NaN,
      }));
      lanes[partition]!.push(...noted);
      await writer.send(partition, messages);
      const acknowledged = nowMs();
      for (const each of noted) each.acknowledged = acknowledged;
    },
    close: () => writer.close(),
  };
}

/** Adds what the consumer has noted. Of several statements for one message the last one counts. */
export function joinNotes(
  lanes: readonly (readonly Stations[])[],
  notes: Pick<StationNotes, "fetched" | "begun" | "stored" | "answered">,
): readonly Stations[] {
  const add = (station: Station, list: readonly StationNote[]): void => {
    for (const [partition, from, next, atMs] of list) {
      for (let offset = from; offset < next; offset++) lanes[partition]![offset]![station] = atMs;
    }
  };
  add("fetched", notes.fetched);
  add("begun", notes.begun);
  add("stored", notes.stored);
  add("answered", notes.answered);
  return lanes.flat();
}

/** The leg that has the largest part in the slowest messages. */
export interface SlowestLeg {
  /** Its name, and what happens in it. */
  readonly leg: string;
  /** Its part of their time, 0 to 1. */
  readonly part: number;
  /** They took at least this long, ms. */
  readonly fromMs: number;
}

/** Percentiles of each leg, as figures. */
export function stationFigures(messages: readonly Stations[], perSecond: number): Figure[] {
  const figuresOf = (name: string, values: readonly number[]): Figure[] => {
    const sorted = Float64Array.from(values).sort();
    return [
      { name: `${name}, p50 ms`, rounds: [percentile(sorted, 0.5)], digits: 1 },
      { name: "  p99 ms", rounds: [percentile(sorted, 0.99)], digits: 1 },
    ];
  };
  return [
    ...figuresOf(
      `${perSecond.toLocaleString("en-US")}/s, made to answered`,
      messages.map(({ made, answered }) => answered - made),
    ),
    ...[...LEGS, ["sent", "acknowledged", ""] as const].flatMap(([from, to]) =>
      figuresOf(`  ${from} to ${to}`, messages.map((each) => each[to] - each[from]))
    ),
  ];
}

/** Which leg makes the slowest hundredth slow. */
export function slowestLeg(messages: readonly Stations[]): SlowestLeg {
  const total = ({ made, answered }: Stations): number => answered - made;
  const slow = messages.toSorted((a, b) => total(b) - total(a))
    .slice(0, Math.max(1, Math.ceil(messages.length * SLOW_PART)));
  const all = slow.reduce((sum, each) => sum + total(each), 0);
  const parts = LEGS.map(([from, to, what]) => ({
    leg: `${from} to ${to}: it ${what}`,
    part: slow.reduce((sum, each) => sum + each[to] - each[from], 0) / all,
    fromMs: total(slow.at(-1)!),
  }));
  return parts.reduce((a, b) => b.part > a.part ? b : a);
}

function percentile(sorted: Float64Array, part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
}
