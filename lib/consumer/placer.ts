/**
 * Keeps where each assigned partition is read from. A partition is paused until the ledger has been
 * read and the partition sought there; after any doubt it is placed again, and nobody guesses what
 * was stored. Where it is read from is decided in `placement.ts`.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { TransientError } from "../errors.ts";
import type { GroupMember } from "../kafka/group_member.ts";
import {
  type EpochEnd,
  isOffline,
  isSameTopic,
  onlineOf,
  type PartitionRange,
  type TopicIdentity,
  UNKNOWN_EPOCH,
} from "../kafka/message.ts";
import type { Log } from "../log.ts";
import { type LedgerLine, linesOf, type Store } from "../postgres/store.ts";
import type { PendingCommits } from "./commits.ts";
import type { LastValuesUpkeep } from "./last_values_upkeep.ts";
import { lineageOf } from "./mark.ts";
import { foreignOffsetsText } from "./neighbour_checks.ts";
import type { Notices } from "./notices.ts";
import type { FlowObserver } from "./observer.ts";
import type { OfflinePartitions } from "./offline_partitions.ts";
import { Place } from "./place.ts";
import { decidePlacement, type LogFacts, type Placement, type StartFrom } from "./placement.ts";
import type { Trouble } from "./trouble.ts";
import type { Watchdog } from "./watchdog.ts";

/** What placing and storing both work with. */
export interface SharedParts {
  /** Decides and keeps. */
  readonly store: Store;
  /** Hears of what was lost or refused. */
  readonly log: Log;
  /** Takes note of what may be committed, and of what may not any more. */
  readonly commits: PendingCommits;
  /** Takes note of last values that may be missing. */
  readonly upkeep: LastValuesUpkeep;
  /** Hears of failures, and paces the tries of each partition. */
  readonly trouble: Trouble;
  /** Expects each batch, and placing, to come to an end. */
  readonly watchdog: Watchdog;
  /** Ends the work after the batch under way, and placing. */
  readonly signal: AbortSignal;
}

/** What the placer works with. */
export interface PlacerParts extends SharedParts {
  /** Is paused, sought and resumed. */
  readonly member: GroupMember;
  /** Is notified of each partition that was placed. */
  readonly observer?: Pick<FlowObserver, "placed"> | undefined;
  /** Hears which partitions have no leader. */
  readonly offline: OfflinePartitions;
  /** Does the waiting. */
  readonly clock: Clock;
  /** Where to begin a topic that the ledger does not know. */
  readonly startFrom: StartFrom;
  /** Is notified of offsets that another program has set. */
  readonly notices: Notices;
}

/** What a round of placing has asked for all partitions together. */
interface Known {
  readonly topic: TopicIdentity;
  readonly dataSetId: string;
  readonly lineOf: ReadonlyMap<number, LedgerLine>;
  readonly watermarks: ReadonlyMap<number, PartitionRange>;
  /** Where partitions without a line begin; absent: at the beginning. */
  readonly starts: ReadonlyMap<number, number>;
  /** Where logs end of which the watermarks do not tell enough. */
  readonly ends: ReadonlyMap<number, EpochEnd | undefined>;
  /** Epochs that had been seen when that was asked. */
  readonly seenEpochs: ReadonlyMap<number, number>;
  /** Lines are opened for all partitions together, see `#openLinesAtTime`. */
  readonly beginsAtTime: boolean;
}

/**
 * How often the brokers must say that a log lost its end, each time asked again, before a line goes
 * back. A broker that slept can be wrong once.
 */
const REWIND_ANSWERS = 3;

/** The part of it that tells of offsets. */
type Offsets = Pick<Known, "lineOf" | "watermarks" | "starts">;

/** Places partitions, those that fail again and again, until all are placed. */
export class Placer {
  readonly #parts: PlacerParts;
  readonly #places = new Map<number, Place>();
  /** Assigned partitions that wait to be placed. */
  readonly #unplaced = new Set<number>();
  /** Where partitions that are placed again stood before, in this assignment. */
  readonly #left = new Map<number, Place>();
  /** Epochs that were fetched where the ledger has another one, by partition. */
  readonly #seenEpochs = new Map<number, number>();
  /** What was found of a log that lost its end, and how often. */
  readonly #losses = new Map<number, { readonly found: string; readonly answers: number }>();
  #isPlacing = false;
  /** Ends the wait for partitions that failed: another one has come. */
  #wake = new AbortController();

  /** Nothing is assigned. */
  constructor(parts: PlacerParts) {
    this.#parts = parts;
  }

  /** Partitions that are placed. */
  get places(): ReadonlyMap<number, Place> {
    return this.#places;
  }

  /** Whether no assigned partition waits to be placed. */
  get isThrough(): boolean {
    return this.#unplaced.size === 0;
  }

  /** Whether a place still stands. */
  stands(partition: number, place: Place): boolean {
    return this.#places.get(partition) === place;
  }

  /** Forgets everything and places the partitions of a new assignment. */
  assign(partitions: readonly number[]): void {
    const { commits, trouble, offline } = this.#parts;
    this.#places.clear();
    this.#unplaced.clear();
    this.#left.clear();
    this.#seenEpochs.clear();
    this.#losses.clear();
    trouble.assign(partitions);
    offline.assign(partitions);
    for (const partition of commits.pending.keys()) commits.forget(partition);
    this.placeAnew(partitions);
  }

  /** Stops reading these partitions until the ledger has been read again. */
  placeAnew(partitions: readonly number[]): void {
    const { member, commits } = this.#parts;
    member.pause(partitions);
    for (const partition of partitions) {
      const place = this.#places.get(partition);
      if (place !== undefined) this.#left.set(partition, place);
      this.#places.delete(partition);
      this.#unplaced.add(partition);
      // The offset can be one of the topic's former life.
      commits.forget(partition);
    }
    if (this.#isPlacing) this.#wake.abort();
    else void this.#placeAll();
  }

  /**
   * Whether a fetch goes on where the ledger stands. Messages of another leader epoch than the ledger's
   * can be those that took the place of lost ones: the partition is placed again, and the brokers are
   * asked, before any of them is stored.
   */
  goesOn(partition: number, place: Place, firstEpoch: number): boolean {
    const isKnown = firstEpoch === place.leaderEpoch || firstEpoch === place.followingEpoch;
    if (isKnown || place.leaderEpoch === UNKNOWN_EPOCH) return true;
    this.#seenEpochs.set(partition, firstEpoch);
    this.placeAnew([partition]);
    return false;
  }

  async #placeAll(): Promise<void> {
    const { signal, watchdog } = this.#parts;
    // Set and reset here, at the two ends of the loop: a partition that comes in between would wait
    // for a loop that has ended.
    this.#isPlacing = true;
    while (this.#unplaced.size > 0 && !signal.aborted) {
      const due = await this.#untilDue();
      if (due.length === 0) continue;
      using _ = watchdog.watch("placing");
      await this.#placeOnce(due);
    }
    this.#isPlacing = false;
  }

  /** Waits until the first partition may be tried; returns none if it should be looked again. */
  async #untilDue(): Promise<readonly number[]> {
    const { signal, trouble, clock } = this.#parts;
    const unplaced = [...this.#unplaced];
    const waitMs = Math.min(...unplaced.map((partition) => trouble.waitMsOf(partition)));
    if (waitMs === 0) return unplaced.filter((partition) => trouble.waitMsOf(partition) === 0);
    this.#wake = new AbortController();
    await clock.sleep(waitMs, AbortSignal.any([signal, this.#wake.signal]));
    return [];
  }

  /** One round: what concerns all is asked once, then each partition is placed on its own. */
  async #placeOnce(due: readonly number[]): Promise<void> {
    const { trouble, signal } = this.#parts;
    let known: Known | undefined;
    try {
      known = await this.#ask();
    } catch (error) {
      // None of them could be placed now, so they wait together.
      return trouble.failed("placing", [...this.#unplaced], error);
    }
    if (known === undefined) return;
    this.#noticeOffsets(due, known);
    for (const partition of due) {
      // Resumed now, a partition would be fetched again and again, and nobody would take it.
      if (signal.aborted) return;
      try {
        await this.#placeOne(partition, known);
      } catch (error) {
        trouble.failed("placing", [partition], error);
        // The others are still due. Their round begins with questions that show whether a server is
        // away, so that not each of them has to find out on its own.
        return;
      }
    }
  }

  /**
   * A tool sets offsets while nobody is in the group, so this is where they are met. Placed, the
   * partition's offset is committed again, and what the tool set is gone.
   */
  #noticeOffsets(due: readonly number[], { starts, lineOf }: Known): void {
    const committed = [...starts].filter(([partition]) => due.includes(partition));
    const text = foreignOffsetsText(new Map(committed), lineOf);
    if (text !== undefined) this.#parts.notices.note("offsets", text);
  }

  /** Undefined: lines have been opened, also by others perhaps, and the next round reads them. */
  async #ask(): Promise<Known | undefined> {
    const { member, store, startFrom, offline } = this.#parts;
    const topic = await member.identity();
    const dataSetId = await store.dataSetId();
    // The ledger before the watermarks, see decidePlacement().
    const lines = await store.readLedger();
    const watermarks = await member.watermarks();
    offline.note(new Map([...watermarks].filter(([partition]) => this.#unplaced.has(partition))));
    const lineOf = linesOf(lines, topic);
    const beginsAtTime = startFrom.kind === "time" && !lineOf.has(0) && !isMadeAgain(topic, lines);
    if (beginsAtTime) {
      const known = { topic, lineOf, watermarks };
      if (await this.#openLinesAtTime(known, startFrom.timestampMs)) return undefined;
    }
    const starts = await this.#startOffsets(topic, lines);
    const seenEpochs = new Map(this.#seenEpochs);
    const ends = await this.#askEnds({ lineOf, watermarks, starts });
    return { topic, dataSetId, lineOf, watermarks, starts, ends, seenEpochs, beginsAtTime };
  }

  async #placeOne(partition: number, known: Known): Promise<void> {
    const { topic, dataSetId } = known;
    const marks = known.watermarks.get(partition);
    if (marks === undefined) throw new TransientError(`Cannot find partition ${partition}`);
    const line = known.lineOf.get(partition);
    // Without a leader it waits, and so does a line that cannot be opened before that one's.
    if (isOffline(marks) || (known.beginsAtTime && line === undefined)) {
      return this.#parts.trouble.postponed(partition);
    }
    if (this.#needsEnd(partition, known) && !known.ends.has(partition)) {
      throw new TransientError(
        `Cannot ask the leader of partition ${partition} where its log ends`,
      );
    }
    const facts = { watermarks: marks, end: known.ends.get(partition) };
    const placement = decidePlacement(line, facts, known.starts.get(partition));
    if (placement.kind === "rewind") this.#believe(partition, placement, facts);
    else this.#losses.delete(partition);
    if (line === undefined || placement.kind !== "continue") {
      // It stays unplaced. The next round reads what came of this, and what others did meanwhile.
      return await this.#moveLine(topic, partition, placement);
    }
    // It can have been taken away from us meanwhile.
    if (!this.#unplaced.delete(partition)) return;
    if (line.next > marks.high) this.#tellWrongEnd(partition, line.next, facts);
    const scope = { topic, dataSetId, lineage: lineageOf(dataSetId, line) };
    const followingEpoch = known.seenEpochs.get(partition);
    this.#place(partition, new Place(scope, line, { followingEpoch }));
  }

  #place(partition: number, place: Place): void {
    const { member, commits, observer, upkeep, trouble } = this.#parts;
    const { position, scope: { lineage } } = place;
    const left = this.#left.get(partition);
    this.#left.delete(partition);
    this.#places.set(partition, place);
    this.#seenEpochs.delete(partition);
    const stands = left?.position === position && left.scope.lineage === lineage;
    // The owner before us may have died, and we may have lost an answer, after COMMIT and before the
    // last value and the Kafka commit. Neither may wait for the next message. Where the ledger
    // stands as we left it, nothing was stored and nothing can be missing.
    if (!stands) upkeep.want();
    // Whoever failed to store and stands where it was has not seen the end of it.
    if (!stands || trouble.stepOf(partition) === "placing") trouble.ended(partition);
    commits.note(partition, position);
    observer?.placed(partition, position);
    member.seek(partition, position);
    member.resume([partition]);
  }

  /**
   * Offsets alone do not tell enough where the ledger knows the leader epoch; nor does a watermark,
   * which is one broker's word, if it lies before the place to start from.
   */
  #needsEnd(partition: number, { lineOf, watermarks, starts }: Offsets): boolean {
    const line = lineOf.get(partition);
    const range = watermarks.get(partition);
    // Of one without a leader there is nobody to ask.
    if (range === undefined || isOffline(range)) return false;
    const start = line?.next ?? starts.get(partition) ?? 0;
    return start > range.high || (line?.leaderEpoch ?? UNKNOWN_EPOCH) !== UNKNOWN_EPOCH;
  }

  async #askEnds(offsets: Offsets): Promise<Known["ends"]> {
    const epochs = [...this.#unplaced].filter((partition) => this.#needsEnd(partition, offsets))
      .map((one) => [one, offsets.lineOf.get(one)?.leaderEpoch ?? UNKNOWN_EPOCH] as const);
    return epochs.length === 0 ? new Map() : await this.#parts.member.epochEnds(new Map(epochs));
  }

  /** @throws {TransientError} until the brokers have said often enough that the log lost its end. */
  #believe(partition: number, placement: Placement & { kind: "rewind" }, facts: LogFacts): void {
    const found = [placement.fromOffset, placement.offset, placement.epoch].join(" ");
    const known = this.#losses.get(partition);
    const answers = known?.found === found ? known.answers + 1 : 1;
    this.#losses.set(partition, { found, answers });
    if (answers >= REWIND_ANSWERS) return;
    throw new TransientError(
      `Cannot continue at offset ${placement.fromOffset} of partition ${partition}: the brokers say ` +
        `that its log ${endText(facts)}. They are asked again before anything is read twice`,
    );
  }

  #tellWrongEnd(partition: number, position: number, { watermarks, end }: LogFacts): void {
    this.#parts.log.warn("a broker reported a wrong end of the log, which was ignored", {
      partition,
      ledgerOffset: position,
      named: watermarks.high,
      logEnd: end?.endOffset,
    });
  }

  /** Where to begin partitions that have no line in the ledger; absent: at the beginning. */
  async #startOffsets(
    topic: TopicIdentity,
    lines: readonly LedgerLine[],
  ): Promise<ReadonlyMap<number, number>> {
    const { member, startFrom } = this.#parts;
    if (startFrom.kind !== "committed" || isMadeAgain(topic, lines)) return new Map();
    const committed = await member.committedByOthers();
    if (committed.size === 0) return committed;
    // A reader of what is not committed yet can have come beyond the end of what we may read, and is
    // not beyond the end of the log.
    const heldBack = await member.heldBack();
    return new Map(Array.from(committed, ([partition, offset]) => {
      const held = heldBack.get(partition);
      const isHeld = held !== undefined && offset > held.offset &&
        offset <= held.offset + held.messages;
      return [partition, isHeld ? held.offset : offset];
    }));
  }

  /**
   * Begins a topic at a time: all its partitions, whoever reads them. The time was given for a topic
   * that is met for the first time; with lines for some partitions only, nobody could tell the others
   * from partitions that were added later. The line of partition 0 comes last and says that all of
   * them are there; so it waits for partitions without a leader, while the others are read.
   *
   * @returns whether there was one to open
   */
  async #openLinesAtTime(
    { topic, lineOf, watermarks }: Pick<Known, "topic" | "lineOf" | "watermarks">,
    timestampMs: number,
  ): Promise<boolean> {
    const missing = [...watermarks].filter(([partition]) => !lineOf.has(partition));
    const isWhole = missing.every(([, range]) => !isOffline(range));
    const toOpen = [...onlineOf(new Map(missing))]
      .filter(([partition]) => partition !== 0 || isWhole)
      .sort(([a], [b]) => b - a);
    if (toOpen.length === 0) return false;
    const starts = await this.#parts.member.offsetsAtTime(timestampMs);
    for (const [partition, marks] of toOpen) {
      const start = starts.get(partition);
      // Its leader went away in between. From the beginning would be too much; so it waits.
      if (start === undefined) {
        throw new TransientError(`Cannot find where to start in partition ${partition}`);
      }
      const facts = { watermarks: marks, end: undefined };
      await this.#moveLine(topic, partition, decidePlacement(undefined, facts, start));
    }
    return true;
  }

  /** Brings the ledger to where reading starts, unless somebody else has moved it. */
  async #moveLine(
    topic: TopicIdentity,
    partition: number,
    placement: Placement,
  ): Promise<void> {
    const { store, log } = this.#parts;
    const { offset } = placement;
    if (placement.kind === "continue") return;
    if (placement.kind === "open") {
      await store.openLedgerLine(topic, partition, offset);
      return;
    }
    const { fromOffset } = placement;
    const toEpoch = placement.kind === "rewind" ? placement.epoch : UNKNOWN_EPOCH;
    const move = { fromOffset, toOffset: offset, toEpoch };
    if (!await store.moveLedgerLine(topic, partition, move)) return;
    this.#losses.delete(partition);
    if (placement.kind === "gap") {
      log.error("the brokers deleted messages before they were read", {
        partition,
        fromOffset,
        toOffset: offset,
        messages: offset - fromOffset,
      });
    } else {
      log.error("the brokers lost the end of the log: reading what they have now again", {
        partition,
        ledgerOffset: fromOffset,
        toOffset: offset,
        messages: fromOffset - offset,
      });
    }
  }
}

/** Whether the ledger knows an earlier life of the topic. Of a recreated one, everything is unread. */
function isMadeAgain(topic: TopicIdentity, lines: readonly LedgerLine[]): boolean {
  return lines.some((line) => line.topic.topic === topic.topic && !isSameTopic(line.topic, topic));
}

function endText({ watermarks, end }: LogFacts): string {
  if (end === undefined) return `ends at ${watermarks.high}`;
  return `ends at ${end.endOffset} in leader epoch ${end.leaderEpoch}`;
}
