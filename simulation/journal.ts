/**
 * What the brokers were given and what they lost, noted beside the broker in memory. The oracle
 * judges by it. Like the oracle it shares no code with the product: it reads messages by rules of
 * its own.
 *
 * @module
 */
import type { TransactionEnd } from "../fakes/kafka_transactions.ts";

/** What a message says, read by the oracle's own rules. */
export type Claim =
  | {
    readonly kind: "reading";
    readonly id: string;
    readonly sensorId: string;
    readonly eventTimeUs: number;
    /** Everything that it says but its id, as one text. */
    readonly content: string;
  }
  | { readonly kind: "bad" };

/** Why a message need not be stored any more. */
export type Excuse =
  /** The brokers deleted it before it was stored. */
  | "deleted unread"
  /** The brokers lost the end of their log, and with it this message. */
  | "log truncated"
  /** The topic was deleted before it was stored. */
  | "topic deleted"
  /** It was stored, the database lost it, and the brokers have it no more. */
  | "lost by database and brokers"
  /** It was stored, and somebody emptied the table. */
  | "table emptied";

/** One message in the log. */
export interface Entry {
  /** The topic's id. */
  readonly life: string;
  /** Number of the partition. */
  readonly partition: number;
  /** Its place. */
  readonly offset: number;
  /** Whose transaction it belongs to; undefined: it is committed as it is. */
  readonly producerId: bigint | undefined;
  /** The bytes as text, one character a byte; null for a tombstone. */
  readonly bytes: string | null;
  /** What the bytes say. */
  readonly claim: Claim;
  /** False once the brokers have it no more. */
  isInLog: boolean;
  /** Its offset had been given to another message before, which the end of the log took with it. */
  readonly hasUsedOffset: boolean;
  /** What became of its transaction. */
  outcome: "open" | "commit" | "abort";
  /** True once a row or a dead letter answered for it, even if that was lost since. */
  wasSettled: boolean;
  /** Set once nobody can ask for it any more. */
  excuse: Excuse | undefined;
}

const LATEST_MS = Date.UTC(2100, 0);
const FIELDS_TEXT = ["sensor_id", "sensor_type", "unit", "status"] as const;
const FIELDS_NUMBER = ["value", "battery_level"] as const;
const UNSTORABLE = "unstorable";

/** Everything that was ever in the topic. */
export class Journal {
  /** All messages, by the time of their arrival. */
  readonly entries: Entry[] = [];
  /** Message objects that reached the log. */
  readonly arrived = new Set<object>();
  readonly #byPlace = new Map<string, Entry>();
  /** Offsets without a message: control records and aborted messages, by life and partition. */
  readonly #controls = new Map<string, Set<number>>();
  /** One past the largest offset ever given, by life and partition. */
  readonly #ends = new Map<string, number>();
  /** Messages at one partition and offset, in whatever life and however often given. */
  readonly #atOffset = new Map<string, Entry[]>();

  /** Notes a message. A later one at the same place replaces the earlier one. */
  add(
    place: Pick<Entry, "life" | "partition" | "offset" | "producerId">,
    value: Uint8Array | null,
  ): void {
    const hasUsedOffset = !this.#passEnd(place.life, place.partition, place.offset);
    const entry: Entry = {
      ...place,
      bytes: value === null ? null : bytesText(value),
      claim: readClaim(value),
      isInLog: true,
      outcome: place.producerId === undefined ? "commit" : "open",
      hasUsedOffset,
      wasSettled: false,
      excuse: undefined,
    };
    this.entries.push(entry);
    this.#byPlace.set(placeKey(place.life, place.partition, place.offset), entry);
    const key = `${place.partition}:${place.offset}`;
    const neighbours = this.#atOffset.get(key);
    if (neighbours === undefined) this.#atOffset.set(key, [entry]);
    else neighbours.push(entry);
  }

  /** Notes records that carry no message, or none that counts. */
  addControls(life: string, partition: number, offsets: readonly number[]): void {
    const key = `${life} ${partition}`;
    const controls = this.#controls.get(key) ?? new Set();
    for (const offset of offsets) {
      controls.add(offset);
      this.#passEnd(life, partition, offset);
    }
    this.#controls.set(key, controls);
  }

  /**
   * Notes the end of a transaction.
   *
   * @param end how it ends, where its marker is, and where its first message is in the log now
   * @returns messages that had ended otherwise before: the log lost the marker, and who has read it
   * knows better
   */
  endTransaction(
    life: string,
    partition: number,
    end: TransactionEnd & { readonly fromOffset: number; readonly offset: number },
  ): readonly Entry[] {
    this.addControls(life, partition, [end.offset]);
    const entries = this.entries.filter((entry) =>
      entry.life === life && entry.partition === partition && entry.isInLog &&
      entry.producerId === end.producerId && entry.offset >= end.fromOffset
    );
    const ended = entries.filter(({ outcome }) => outcome !== "open" && outcome !== end.outcome);
    for (const entry of entries) {
      if (ended.includes(entry) && end.outcome === "abort") {
        // Nobody can read it any more.
        entry.isInLog = false;
        continue;
      }
      entry.outcome = end.outcome;
      if (end.outcome === "abort") this.addControls(life, partition, [entry.offset]);
    }
    return ended;
  }

  /** Forgets control records that the end of the log took with it. */
  dropControls(life: string, partition: number, fromOffset: number): void {
    const controls = this.#controls.get(`${life} ${partition}`) ?? new Set();
    for (const offset of controls) if (offset >= fromOffset) controls.delete(offset);
  }

  /** How many offsets of a range carry no message. */
  controlsWithin(life: string, partition: number, from: number, to: number): number {
    let count = 0;
    for (const offset of this.#controls.get(`${life} ${partition}`) ?? []) {
      if (offset >= from && offset < to) count++;
    }
    return count;
  }

  /** The message that has this place now. */
  at(life: string, partition: number, offset: number): Entry | undefined {
    return this.#byPlace.get(placeKey(life, partition, offset));
  }

  /** All messages that ever had this partition and offset. */
  allAt(partition: number, offset: number): readonly Entry[] {
    return this.#atOffset.get(`${partition}:${offset}`) ?? [];
  }

  /** Notes that an offset is in use; false if it was before. */
  #passEnd(life: string, partition: number, offset: number): boolean {
    const key = `${life} ${partition}`;
    if (offset < (this.#ends.get(key) ?? 0)) return false;
    this.#ends.set(key, offset + 1);
    return true;
  }

  /** The brokers have these messages no more. */
  forget(isGone: (entry: Entry) => boolean): void {
    for (const entry of this.entries) if (entry.isInLog && isGone(entry)) entry.isInLog = false;
  }
}

function placeKey(life: string, partition: number, offset: number): string {
  return `${life} ${partition} ${offset}`;
}

/** Bytes as a text that can be compared, one character a byte. */
export function bytesText(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** The content of a row or message as one text. */
export function contentText(fields: Record<string, unknown>, eventTimeUs: number): string {
  const { latitude, longitude } = fields["location"] as Record<string, unknown>;
  const parts = [...FIELDS_TEXT, ...FIELDS_NUMBER].map((name) => fields[name]);
  return JSON.stringify([...parts, latitude, longitude, eventTimeUs]);
}

function readClaim(value: Uint8Array | null): Claim {
  if (value === null) return { kind: "bad" };
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(value));
  } catch {
    return { kind: "bad" };
  }
  const eventTimeMs = Date.parse(String(fields["timestamp"]));
  const isReading = FIELDS_TEXT.every((name) => typeof fields[name] === "string") &&
    FIELDS_NUMBER.every((name) => typeof fields[name] === "number") &&
    Number(fields["battery_level"]) <= 100 && fields["status"] !== UNSTORABLE &&
    eventTimeMs < LATEST_MS;
  if (!isReading) return { kind: "bad" };
  const eventTimeUs = eventTimeMs * 1_000;
  return {
    kind: "reading",
    id: String(fields["unique_reading_id"]),
    sensorId: String(fields["sensor_id"]),
    eventTimeUs,
    content: contentText(fields, eventTimeUs),
  };
}
