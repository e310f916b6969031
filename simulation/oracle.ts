/**
 * The judge of a world. It sees the log, the tables and the keys as they are, and none of the code
 * that filled them: what it knows of messages it reads on its own (`journal.ts`).
 *
 * The invariants:
 *
 * - I1 every message that the brokers took, and did not lose again, is a row or a dead letter; of
 *   transactions, those that were committed.
 * - I2 no reading is stored twice, and the ledger counts as many insertions as there are rows.
 * - I3 every row says what some message said that is committed.
 * - I4 every bad message is a dead letter once, and nothing else is; nothing that was aborted.
 * - I5 each line of the ledger adds up, and its parts agree with the tables and the log.
 * - I6 a last value never goes back and names a stored row; in the end it is the newest one.
 * - I7 everything below an offset committed to Kafka is durable, at any instant; so is each batch
 *   that the program says it has stored.
 * - I8 a mark stands for a row.
 * - I9 after the faults everything is stored and committed within a bound of time; while a partition
 *   has no leader, everything of the others.
 * - I10 messages that were deleted unread are counted as gaps, and nothing else is.
 * - I11 a line goes back only if its log lost its end.
 * - I11 last values of another data set on the same Redis are left alone while it is alive, and none
 *   of them stays once it is gone and ours have taken their place.
 *
 * What the brokers lose, nobody can store. Losses are noted when they happen, message by message
 * and with their cause; only a message that was lost before it was stored is excused.
 *
 * @module
 */
import { NEIGHBOUR_PREFIX } from "./neighbour.ts";
import { bytesText, type Claim, contentText, type Entry, type Excuse, Journal } from "./journal.ts";

/** A row as the oracle looks at it. */
export interface SeenRow {
  /** Where it was first read: the partition, */
  readonly partition: number;
  /** and the offset in it. */
  readonly offset: number;
  /** Event time in microseconds since 1970. */
  readonly eventTimeUs: number;
  /** The reading, with all its fields. */
  readonly reading: { readonly unique_reading_id: string; readonly sensor_id: string };
}

/** A dead letter as the oracle looks at it. */
export interface SeenLetter {
  /** The topic's life. */
  readonly topic: { readonly topicId: string };
  /** Number of the partition. */
  readonly partition: number;
  /** Its message's place. */
  readonly offset: number;
  /** Its message's bytes; null for a tombstone. */
  readonly payload: Uint8Array | null;
}

/** A line of the ledger as the oracle looks at it. */
export interface SeenLine {
  /** The topic's life. */
  readonly topic: { readonly topicId: string };
  /** Number of the partition. */
  readonly partition: number;
  /** Where it was opened. */
  readonly first: number;
  /** Everything below is stored. */
  readonly next: number;
  /** Readings that became rows. */
  readonly inserted: number;
  /** Readings that were stored already. */
  readonly duplicates: number;
  /** Messages that became dead letters. */
  readonly deadLetters: number;
  /** Offsets without a message. */
  readonly skipped: number;
  /** Offsets that were deleted unread. */
  readonly gaps: number;
  /** Offsets gone back over. */
  readonly rewound: number;
}

/** A last value as the oracle looks at it. */
export interface SeenLastValue {
  /** Event time in microseconds since 1970. */
  readonly eventTimeUs: number;
  /** Id of the reading. */
  readonly id: string;
}

/** A batch as the oracle looks at it. */
export interface SeenBatch {
  /** The topic's life. */
  readonly topic: { readonly topicId: string };
  /** Number of the partition. */
  readonly partition: number;
  /** Its first offset, */
  readonly fromOffset: number;
  /** and one past its last. */
  readonly nextOffset: number;
}

/** What became of a batch, counted. */
export interface SeenCounts {
  /** Readings that became rows. */
  readonly inserted: number;
  /** Readings that were stored already. */
  readonly duplicates: number;
  /** Messages that became dead letters. */
  readonly deadLetters: number;
}

/** The servers' state, seen from behind. */
export interface Scene {
  /** The rows, by id. */
  readonly rows: ReadonlyMap<string, SeenRow>;
  /** All dead letters. */
  letters(): readonly SeenLetter[];
  /** All lines of the ledger. */
  lines(): readonly SeenLine[];
  /** By sensor. */
  readonly lastValues: ReadonlyMap<string, SeenLastValue>;
  /** Ids that have a mark. */
  markedIds(): Iterable<string>;
  /** The topic's present life. */
  life(): string;
  /** One past the last offset of each partition. */
  ends(): readonly number[];
  /** The group's offsets in Kafka. */
  committed(): ReadonlyMap<number, number>;
}

/** Sees everything that happens to the servers, and says in the end what was wrong. */
export class Oracle {
  /** What the brokers were given and lost. */
  readonly journal = new Journal();
  readonly #scene: Scene;
  readonly #violations = new Set<string>();
  readonly #contents = new WeakMap<SeenRow, string>();
  readonly #letterBytes = new WeakMap<SeenLetter, string | null>();
  readonly #lastSeen = new Map<string, SeenLastValue>();
  /** Per life and partition: below this every message has been looked at for I7. */
  readonly #durableUpTo = new Map<string, number>();
  /** Per life and partition: offsets deleted at a time when the ledger had not passed them. */
  readonly #deletedUnread = new Map<string, Set<number>>();
  /** Batches that took effect and were not told of yet, by partition, end and counts. */
  readonly #untold = new Map<string, number>();
  readonly #acknowledged: object[] = [];
  #databaseLost: "nothing" | "commits" | "table" = "nothing";
  #topicsDeleted = 0;
  /** Logs that lost their end, by life and partition. */
  readonly #truncated = new Set<string>();

  /** Starts with an empty journal. */
  constructor(scene: Scene) {
    this.#scene = scene;
  }

  /** What was found so far. */
  get violations(): readonly string[] {
    return [...this.#violations];
  }

  /** Messages that nobody can ask for, by cause. */
  excuses(): ReadonlyMap<Excuse, number> {
    const counts = new Map<Excuse, number>();
    for (const { excuse } of this.journal.entries) {
      if (excuse !== undefined) counts.set(excuse, (counts.get(excuse) ?? 0) + 1);
    }
    return counts;
  }

  /** A message reached the log. */
  arrived(
    place: Pick<Entry, "partition" | "offset" | "producerId">,
    message: { readonly value: Uint8Array | null },
  ): void {
    this.journal.arrived.add(message);
    this.journal.add({ ...place, life: this.#scene.life() }, message.value);
  }

  /** A transaction ended in a partition, see {@linkcode Journal.endTransaction}. */
  transactionEnded(partition: number, end: Parameters<Journal["endTransaction"]>[2]): void {
    for (const entry of this.journal.endTransaction(this.#scene.life(), partition, end)) {
      if (!this.#isSettled(entry)) entry.excuse ??= "log truncated";
    }
  }

  /** The producer was told that the message is safe. */
  acknowledged(message: object): void {
    this.#acknowledged.push(message);
  }

  /** Retention is about to delete everything below `low`. */
  deleting(partition: number, low: number): void {
    const life = this.#scene.life();
    const unread = this.#deletedUnread.get(`${life} ${partition}`) ?? new Set();
    for (let offset = this.#line(life, partition)?.next ?? 0; offset < low; offset++) {
      unread.add(offset);
    }
    this.#deletedUnread.set(`${life} ${partition}`, unread);
    this.journal.forget((entry) =>
      entry.life === life && entry.partition === partition && entry.offset < low
    );
    this.#excuseLost("deleted unread");
  }

  /** The log lost everything from `end` on. */
  truncated(partition: number, end: number): void {
    const life = this.#scene.life();
    this.#truncated.add(`${life} ${partition}`);
    this.journal.forget((entry) =>
      entry.life === life && entry.partition === partition && entry.offset >= end
    );
    this.journal.dropControls(life, partition, end);
    this.#excuseLost("log truncated");
  }

  /** The topic is about to be deleted. */
  deletingTopic(): void {
    this.#topicsDeleted++;
    this.journal.forget(() => true);
    this.#excuseLost("topic deleted");
  }

  /** The database went back to an older state. */
  commitsLost(): void {
    if (this.#databaseLost === "nothing") this.#databaseLost = "commits";
    this.#excuseLost("lost by database and brokers");
  }

  /** Somebody emptied the table of readings; the ledger stands where it stood. */
  tableEmptied(): void {
    this.#databaseLost = "table";
    this.#excuseLost("lost by database and brokers");
    const next = new Map(
      this.#scene.lines().map((line) => [`${line.topic.topicId} ${line.partition}`, line.next]),
    );
    for (const entry of this.journal.entries) {
      const isPassed = entry.offset < (next.get(`${entry.life} ${entry.partition}`) ?? 0);
      if (isPassed && entry.claim.kind === "reading") entry.excuse ??= "table emptied";
    }
  }

  /** Redis forgot its last values. */
  lastValuesCleared(): void {
    this.#lastSeen.clear();
  }

  /** A batch took effect: what lies in its range and is settled now is durable. */
  stored(batch: SeenBatch, counts: SeenCounts): void {
    const { partition, topic: { topicId }, fromOffset, nextOffset } = batch;
    const key = toldText(partition, nextOffset, counts);
    this.#untold.set(key, (this.#untold.get(key) ?? 0) + 1);
    for (let offset = fromOffset; offset < nextOffset; offset++) {
      const entry = this.journal.at(topicId, partition, offset) ??
        // Read under the name of an older life, see I4.
        this.journal.at(this.#scene.life(), partition, offset);
      if (entry !== undefined && this.#isSettled(entry)) entry.wasSettled = true;
    }
  }

  /**
   * The program says that it has stored a batch (I7). Nothing later shows a lie about the last batch
   * of a partition: the program finds its ledger too low, and reads the batch again. Nor does anything
   * show wrong counts, but the counts that the database gave.
   */
  toldStored(partition: number, nextOffset: number, counts: SeenCounts): void {
    const key = toldText(partition, nextOffset, counts);
    const untold = this.#untold.get(key) ?? 0;
    if (untold > 0) this.#untold.set(key, untold - 1);
    else this.complain(`I7 a batch up to ${key} is said to be stored, and was not`);
  }

  /** Redis took marks and last values (I6, I8). */
  remembered(markedIds: readonly string[], sensorIds: readonly string[]): void {
    for (const id of markedIds) this.#checkMark(id);
    for (const sensorId of sensorIds) {
      const value = this.#scene.lastValues.get(sensorId);
      const before = this.#lastSeen.get(sensorId);
      if (value === undefined) continue;
      if (before !== undefined && precedes(value, before)) {
        this.complain(`I6 last:${sensorId} went back from ${before.id} to ${value.id}`);
      }
      this.#lastSeen.set(sensorId, { eventTimeUs: value.eventTimeUs, id: value.id });
      if (this.#databaseLost === "nothing" && !this.#scene.rows.has(value.id)) {
        this.complain(`I6 last:${sensorId} names ${value.id}, which is no row`);
      }
    }
  }

  /** Kafka took offsets of the group (I7). */
  committed(nextOffsets: ReadonlyMap<number, number>): void {
    const life = this.#scene.life();
    for (const [partition, nextOffset] of nextOffsets) {
      // Without a line in the ledger the offset is one of the topic's former life, and nobody
      // starts from it. With one, a frozen consumer can still commit what it knows of that life.
      if (this.#line(life, partition) === undefined) continue;
      if (this.#isOfFormerLife(life, partition, nextOffset)) continue;
      const key = `${life} ${partition}`;
      for (let offset = this.#durableUpTo.get(key) ?? 0; offset < nextOffset; offset++) {
        const entry = this.journal.at(life, partition, offset);
        if (entry === undefined || entry.wasSettled || entry.excuse || entry.hasUsedOffset) {
          continue;
        }
        if (entry.outcome === "abort" || this.#isSettled(entry)) continue;
        this.complain(
          `I7 committed ${nextOffset} of partition ${partition}, and ${offset} is not stored`,
        );
      }
      this.#durableUpTo.set(key, Math.max(nextOffset, this.#durableUpTo.get(key) ?? 0));
    }
  }

  /**
   * What keeps the world from being at rest; undefined: all is stored, committed and known.
   *
   * @param lost a partition that nobody can read
   */
  findUnrest(lost?: number): string | undefined {
    const life = this.#scene.life();
    const committed = this.#scene.committed();
    for (const [partition, end] of this.#scene.ends().entries()) {
      if (partition === lost) continue;
      const next = this.#line(life, partition)?.next;
      if (next !== end) return `I9 partition ${partition} stands at ${next} of ${end}`;
      if (committed.get(partition) !== end) {
        return `I9 lag: ${committed.get(partition)} of ${end} committed in partition ${partition}`;
      }
    }
    return this.#findUnseen(lost) ?? this.#findWrongLastValue();
  }

  /**
   * A log that was cut and has grown just to its old length looks read, until the consumer asks for
   * its leader's epochs.
   */
  #findUnseen(lost: number | undefined): string | undefined {
    if (this.#truncated.size === 0) return undefined;
    const unseen = this.journal.entries.find((entry) =>
      entry.partition !== lost && this.#isMissing(entry)
    );
    return unseen && `I9 ${placeOf(unseen)} of a log that was cut is not stored`;
  }

  /** Looks at everything once more and says what is wrong. */
  judge(): readonly string[] {
    for (const entry of this.journal.entries) {
      if (this.#isMissing(entry)) {
        this.complain(`I1 ${placeOf(entry)} ${nameOf(entry.claim)} is not stored`);
      }
    }
    for (const message of this.#acknowledged) {
      if (!this.journal.arrived.has(message)) {
        this.complain("I1 an acknowledged message is not in the topic");
      }
    }
    this.#judgeRows();
    this.#judgeLetters();
    for (const line of this.#scene.lines()) this.#judgeLine(line);
    for (const id of this.#scene.markedIds()) this.#checkMark(id);
    return this.violations;
  }

  /** Notes that something is wrong. */
  complain(violation: string): void {
    this.#violations.add(violation);
  }

  #line(life: string, partition: number): SeenLine | undefined {
    return this.#scene.lines().find((line) =>
      line.partition === partition && line.topic.topicId === life
    );
  }

  /** Whether a line of a former life of the topic stands at this offset. */
  #isOfFormerLife(life: string, partition: number, nextOffset: number): boolean {
    return this.#scene.lines().some((line) =>
      line.partition === partition && line.topic.topicId !== life && line.next === nextOffset
    );
  }

  /** Whether a message that counts has not come to anything yet. */
  #isMissing(entry: Entry): boolean {
    return entry.outcome === "commit" && entry.excuse === undefined && !this.#isSettled(entry);
  }

  /** Whether a row says what the message says, or a dead letter keeps it. */
  #isSettled(entry: Entry): boolean {
    if (entry.claim.kind === "reading" && this.#rowSays(entry.claim)) return true;
    return this.#scene.letters().some((letter) =>
      letter.offset === entry.offset && letter.partition === entry.partition &&
      this.#bytesOf(letter) === entry.bytes
    ) || this.#repeatsLetter(entry);
  }

  /**
   * A database that lost commits can store an id's other content first, and the message that it had
   * stored becomes a dead letter. If Redis does not hear of that, its mark from before counts the
   * repeats as duplicates: of a message that is kept, though not as a row.
   */
  #repeatsLetter({ claim, life, partition, offset, bytes }: Entry): boolean {
    if (this.#databaseLost === "nothing" || claim.kind === "bad") return false;
    return this.#scene.letters().some((letter) =>
      letter.topic.topicId === life && letter.partition === partition && letter.offset < offset &&
      this.#bytesOf(letter) === bytes
    );
  }

  #bytesOf(letter: SeenLetter): string | null {
    let bytes = this.#letterBytes.get(letter);
    if (bytes === undefined) {
      bytes = letter.payload === null ? null : bytesText(letter.payload);
      this.#letterBytes.set(letter, bytes);
    }
    return bytes;
  }

  #rowSays(claim: Claim & { kind: "reading" }): boolean {
    const row = this.#scene.rows.get(claim.id);
    return row !== undefined && this.#contentOf(row) === claim.content;
  }

  #contentOf(row: SeenRow): string {
    let content = this.#contents.get(row);
    if (content === undefined) {
      content = contentText(row.reading as Record<string, unknown>, row.eventTimeUs);
      this.#contents.set(row, content);
    }
    return content;
  }

  #excuseLost(excuse: Excuse): void {
    for (const entry of this.journal.entries) {
      if (entry.isInLog || entry.excuse !== undefined || entry.outcome === "abort") continue;
      if (this.#isSettled(entry)) continue;
      entry.excuse = excuse;
    }
  }

  #checkMark(id: string): void {
    if (this.#databaseLost === "nothing" && !this.#scene.rows.has(id)) {
      this.complain(`I8 a mark for ${id}, which is no row`);
    }
  }

  #findWrongLastValue(): string | undefined {
    for (const sensorId of this.#scene.lastValues.keys()) {
      if (sensorId.startsWith(NEIGHBOUR_PREFIX)) return `I11 last:${sensorId} is a neighbour's`;
    }
    const newest = new Map<string, SeenLastValue>();
    for (const [id, row] of this.#scene.rows) {
      const value = { id, eventTimeUs: row.eventTimeUs };
      const known = newest.get(row.reading.sensor_id);
      if (known === undefined || precedes(known, value)) newest.set(row.reading.sensor_id, value);
    }
    for (const [sensorId, value] of newest) {
      const last = this.#scene.lastValues.get(sensorId);
      if (last === undefined || precedes(last, value)) {
        return `I6 last:${sensorId} is ${last?.id}, and ${value.id} is newer`;
      }
      // Rows that are gone for good can have left their last values behind.
      if (this.#databaseLost === "nothing" && last.id !== value.id) {
        return `I6 last:${sensorId} is ${last.id}, expected ${value.id}`;
      }
    }
    return undefined;
  }

  #judgeRows(): void {
    for (const [id, row] of this.#scene.rows) {
      if (id !== row.reading.unique_reading_id) this.complain(`I2 row ${id} has another id`);
      const isSaid = this.journal.allAt(row.partition, row.offset).some(({ claim, outcome }) =>
        claim.kind === "reading" && claim.id === id && claim.content === this.#contentOf(row) &&
        outcome === "commit"
      );
      if (!isSaid) this.complain(`I3 row ${id} says what no committed message at its place said`);
    }
    const inserted = this.#scene.lines().reduce((sum, line) => sum + line.inserted, 0);
    if (this.#databaseLost !== "table" && inserted !== this.#scene.rows.size) {
      this.complain(
        `I2 the ledger counts ${inserted} insertions of ${this.#scene.rows.size} rows`,
      );
    }
  }

  #judgeLetters(): void {
    const seen = new Set<string>();
    for (const letter of this.#scene.letters()) {
      const { partition, offset, topic } = letter;
      const place = `${partition}:${offset}`;
      const bytes = this.#bytesOf(letter);
      const key = `${place} ${bytes}`;
      // While nobody has noticed that the topic was recreated, its messages are read under the
      // name of its former life, and once more afterwards.
      const name = this.#topicsDeleted > 0 ? `${topic.topicId} ${key}` : key;
      if (seen.has(name)) this.complain(`I4 dead letter ${place} is kept twice`);
      seen.add(name);
      const entry = this.journal.allAt(partition, offset).find((one) =>
        one.bytes === bytes && one.outcome === "commit" &&
        (this.#topicsDeleted > 0 || one.life === topic.topicId)
      );
      if (entry === undefined) this.complain(`I4 dead letter ${place} is of no committed message`);
      else if (!this.#mayBeLetter(entry.claim)) {
        this.complain(`I4 dead letter ${place} is a good reading`);
      }
    }
  }

  /** Bad messages may, and readings whose id is stored with other content. */
  #mayBeLetter(claim: Claim): boolean {
    if (claim.kind === "bad") return true;
    const row = this.#scene.rows.get(claim.id);
    if (row !== undefined && this.#contentOf(row) !== claim.content) return true;
    // The row that it conflicted with can be gone, and its rival be stored in its place.
    return this.#databaseLost === "table" &&
      this.journal.entries.some((other) =>
        other.claim.kind === "reading" && other.claim.id === claim.id &&
        other.claim.content !== claim.content
      );
  }

  #judgeLine(line: SeenLine): void {
    const { topicId } = line.topic;
    const name = `the line of partition ${line.partition}`;
    const passed = line.next - line.first + line.rewound;
    const counted = line.inserted + line.duplicates + line.deadLetters + line.skipped + line.gaps;
    if (passed !== counted) this.complain(`I5 ${name} passed ${passed} and counted ${counted}`);
    // Offsets of another life can be taken for those of a log that lost its end.
    const isCut = this.#truncated.has(`${topicId} ${line.partition}`) || this.#topicsDeleted > 0;
    if (line.rewound > 0 && !isCut) {
      this.complain(`I11 ${name} went back over ${line.rewound} offsets, and its log lost nothing`);
    }
    const controls = this.journal.controlsWithin(topicId, line.partition, line.first, line.next);
    // Offsets read twice, or under the name of another life, are counted twice.
    if (line.rewound > 0 || this.#topicsDeleted > 0 || this.#truncated.size > 0) return;
    if (line.skipped > controls || line.skipped + line.gaps < controls) {
      this.complain(`I5 ${name} skipped ${line.skipped} of ${controls} offsets without a message`);
    }
    const letters = this.#scene.letters().filter((letter) =>
      letter.partition === line.partition && letter.topic.topicId === topicId
    );
    if (letters.length !== line.deadLetters) {
      this.complain(`I5 ${name} counts ${line.deadLetters} of ${letters.length} dead letters`);
    }
    this.#judgeGaps(line);
  }

  #judgeGaps(line: SeenLine): void {
    const { topicId } = line.topic;
    const lost = this.journal.entries.filter((entry) =>
      entry.life === topicId && entry.partition === line.partition &&
      entry.offset >= line.first && entry.offset < line.next &&
      entry.excuse === "deleted unread" && !entry.wasSettled
    );
    if (lost.length > line.gaps) {
      this.complain(
        `I10 ${lost.length} messages of partition ${line.partition} were deleted unread, ` +
          `and ${line.gaps} offsets are counted as gaps`,
      );
    }
    const unread = this.#deletedUnread.get(`${topicId} ${line.partition}`)?.size ?? 0;
    // Lost commits make messages unread again that were deleted long ago.
    if (this.#databaseLost === "nothing" && line.gaps > unread) {
      this.complain(
        `I10 partition ${line.partition} counts ${line.gaps} gaps, and ${unread} were deleted unread`,
      );
    }
  }
}

function toldText(partition: number, nextOffset: number, counts: SeenCounts): string {
  const { inserted, duplicates, deadLetters } = counts;
  return `${partition}:${nextOffset} (${inserted} inserted, ${duplicates} duplicates, ` +
    `${deadLetters} dead letters)`;
}

function placeOf({ partition, offset }: Entry): string {
  return `${partition}:${offset}`;
}

function nameOf(claim: Claim): string {
  return claim.kind === "reading" ? claim.id : "(bad)";
}

function precedes(one: SeenLastValue, other: SeenLastValue): boolean {
  if (one.eventTimeUs !== other.eventTimeUs) return one.eventTimeUs < other.eventTimeUs;
  return one.id < other.id;
}
