/**
 * The watchdog ends a consumer that makes no progress while the brokers answer: work that does not
 * come to an end, for a call never returns; messages that wait, for the client has silently stopped to
 * fetch, all of them or one partition. Nothing inside the process can fix that; a supervisor that starts it again can.
 *
 * An outage is something else. While a server is away, tries end in failures, and each end is a sign
 * of life; while the brokers do not answer, nobody knows whether a message waits. Neither is helped
 * by a restart, so neither causes one.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { GroupMember } from "../kafka/group_member.ts";
import { onlineOf, type Watermarks } from "../kafka/message.ts";
import { withTimeLimit } from "../time_limit.ts";

/** What the watchdog looks at. */
export interface WatchdogParts {
  /** Paces the looks. */
  readonly clock: Clock;
  /** Knows the ends of the log. */
  readonly member: Pick<GroupMember, "watermarks">;
  /**
   * Which of the topic's partitions are ours and up to where they are stored; undefined: not placed.
   */
  readonly standing: (topic: Iterable<number>) => Standing;
  /** A consumer that shows no sign of life for this long is stuck, ms. */
  readonly quietMsMax: number;
  /** Hears at each look which partitions have been still for that long, though others may move. */
  readonly onStill: (partitions: readonly number[]) => void;
}

/** Up to where each partition of this member is stored; undefined: not placed yet. */
export type Standing = ReadonlyMap<number, number | undefined>;

/** Something that must come to an end. Disposing of it says that it has, whatever came of it. */
export interface WatchedWork extends Disposable {
  /** A part of it has come to an end. */
  goesOn(): void;
}

/** A consumer that will not move again on its own. */
export interface Stuck {
  /** What does not come to an end. */
  readonly what: string;
  /** Partitions of which messages wait, ascending. */
  readonly partitions: readonly number[];
  /** How many messages wait in them. */
  readonly lagMessages: number;
  /** How long nothing has happened, ms. */
  readonly quietMs: number;
}

/** What is known at one moment. All times are the watchdog's own, ms. */
export interface Sight {
  /** The moment. */
  readonly nowMs: number;
  /** Since when the brokers have answered every look. */
  readonly answeredSinceMs: number;
  /** When anything began or came to an end last. */
  readonly signMs: number;
  /** Work under way, and when it showed a sign of life last. */
  readonly works: Iterable<{ readonly on: WorkPlace; readonly signMs: number }>;
  /** Our partitions in which messages wait. */
  readonly behind: ReadonlyMap<number, Behind>;
}

/** Where work is done: on one partition, or on all that are not placed. */
export type WorkPlace = number | "placing";

/** Messages that wait in a partition. */
export interface Behind {
  /** Since when there has been one at every look, ms. */
  readonly sinceMs: number;
  /** How many. */
  readonly messages: number;
  /** When it moved last, or a batch of it began or ended, or it was tried to place it, ms. */
  readonly signMs: number;
}

/** What was seen of a partition at a look. */
interface Seen {
  readonly position: number | undefined;
  /** The first look at which it stood there, ms. */
  readonly sinceMs: number;
}

/** How often it is looked whether something is quiet, ms. */
const CHECK_MS = 1_000;

/** The brokers are asked at most this often, and only if something has been quiet for as long, ms. */
const LOOK_MS = 5_000;

/** They are asked so often in any case, for one partition can stand still while others move, ms. */
const LOOK_ALWAYS_MS = 30_000;

/** A partition that is still while others move is stuck after so many times as long: turns can be slow. */
const TURNS_MAX = 4;

/** Brokers that do not answer for this long are in trouble, ms. */
const ANSWER_MS_MAX = 5_000;

/** Time between two checks counts at most as this long: a frozen process was not quiet, ms. */
const STEP_MS_MAX = 10_000;

/**
 * Decides whether a consumer is stuck. Work under way is stuck on its own, whatever goes on around it:
 * it holds what others wait for. Messages that nobody works on can wait for their turn, so there it
 * counts when anything happened last; and much later, when anything happened to their partition.
 */
export function findStuck(sight: Sight, quietMsMax: number): Stuck | undefined {
  const { nowMs, answeredSinceMs, signMs, works, behind } = sight;
  const found = (what: string, sinceMs: number): Stuck | undefined =>
    nowMs - sinceMs < quietMsMax ? undefined : stuckIn(behind, what, nowMs - sinceMs);
  for (const work of works) {
    const stuck = found(describe(work.on), Math.max(work.signMs, answeredSinceMs));
    if (stuck !== undefined) return stuck;
  }
  if (behind.size === 0) return undefined;
  const firstMs = Math.min(...Array.from(behind.values(), ({ sinceMs }) => sinceMs));
  const stuck = found("nothing is being fetched", Math.max(firstMs, signMs));
  if (stuck !== undefined) return stuck;
  const limitMs = TURNS_MAX * quietMsMax;
  const still = findStill(sight, limitMs);
  return still.size === 0
    ? undefined
    : stuckIn(still, "nothing is being fetched of these partitions, though others move", limitMs);
}

/** The partitions of which messages wait, and to which nothing has happened for so long. */
export function findStill(
  { nowMs, answeredSinceMs, behind }: Pick<Sight, "nowMs" | "answeredSinceMs" | "behind">,
  stillMsMin: number,
): ReadonlyMap<number, Behind> {
  return new Map(
    [...behind].filter(([_, { sinceMs, signMs }]) =>
      nowMs - Math.max(sinceMs, signMs, answeredSinceMs) >= stillMsMin
    ),
  );
}

function stuckIn(behind: ReadonlyMap<number, Behind>, what: string, quietMs: number): Stuck {
  return {
    what,
    partitions: [...behind.keys()].sort((a, b) => a - b),
    lagMessages: behind.values().reduce((sum, { messages }) => sum + messages, 0),
    quietMs,
  };
}

function describe(on: WorkPlace): string {
  return on === "placing"
    ? "placing partitions does not finish"
    : `a batch of partition ${on} does not finish`;
}

/** Collects signs of life and looks, until it finds the consumer stuck. */
export class Watchdog {
  readonly #parts: WatchdogParts;
  readonly #works = new Set<{ readonly on: WorkPlace; signMs: number }>();
  /** When work on each place showed a sign of life last. */
  readonly #workSigns = new Map<WorkPlace, number>();
  #behind: ReadonlyMap<number, Behind> = new Map();
  #seen: ReadonlyMap<number, Seen> = new Map();
  #signMs = 0;
  #signOfAllMs = 0;
  #answeredSinceMs = 0;
  /** When the last look ended, with an answer or without. */
  #lookedMs = 0;
  #awakeMs = 0;
  #checkedMs: number;

  /** Counts from now. */
  constructor(parts: WatchdogParts) {
    this.#parts = parts;
    this.#checkedMs = parts.clock.elapsedMs();
  }

  /** Something has happened to all partitions. */
  sign(): void {
    this.#signMs = this.#nowMs();
    this.#signOfAllMs = this.#signMs;
  }

  /** Work begins that must come to an end. */
  watch(on: WorkPlace): WatchedWork {
    const work = { on, signMs: 0 };
    const goesOn = (): void => {
      this.#signMs = this.#nowMs();
      work.signMs = this.#signMs;
      this.#workSigns.set(on, this.#signMs);
    };
    goesOn();
    this.#works.add(work);
    return {
      goesOn,
      [Symbol.dispose]: () => {
        goesOn();
        this.#works.delete(work);
      },
    };
  }

  /** Looks until the consumer is stuck, or the signal aborts. */
  async run(signal: AbortSignal): Promise<Stuck | undefined> {
    const { clock, quietMsMax, onStill } = this.#parts;
    while (!signal.aborted) {
      await clock.sleep(CHECK_MS, signal);
      if (signal.aborted) break;
      this.#passTime();
      const quietSinceMs = Math.min(
        this.#signMs,
        ...Array.from(this.#works, (work) => work.signMs),
      );
      const nextLookMs = Math.max(quietSinceMs, this.#lookedMs) + LOOK_MS;
      if (this.#awakeMs < Math.min(nextLookMs, this.#lookedMs + LOOK_ALWAYS_MS)) continue;
      await this.#look();
      const sight = {
        nowMs: this.#awakeMs,
        answeredSinceMs: this.#answeredSinceMs,
        signMs: this.#signMs,
        works: this.#works,
        behind: this.#behind,
      };
      const stuck = findStuck(sight, quietMsMax);
      if (stuck !== undefined) return stuck;
      onStill([...findStill(sight, quietMsMax).keys()].sort((a, b) => a - b));
    }
    return undefined;
  }

  async #look(): Promise<void> {
    const { clock, member, standing } = this.#parts;
    try {
      const limit = { clock, limitMs: ANSWER_MS_MAX };
      const watermarks = await withTimeLimit(() => member.watermarks(), limit);
      // One without a leader is not ours to move; a new process could not either.
      const online = onlineOf(watermarks);
      this.#behind = this.#findBehind(online, standing(watermarks.keys()));
      this.#passTime();
    } catch {
      // Whoever needs the brokers says so.
      this.#behind = new Map();
      this.#passTime();
      this.#answeredSinceMs = this.#awakeMs;
    }
    this.#lookedMs = this.#awakeMs;
  }

  /** What we have stored since the question is newer than the answer, and rightly counts. */
  #findBehind(
    watermarks: ReadonlyMap<number, Watermarks>,
    standing: Standing,
  ): ReadonlyMap<number, Behind> {
    const behind = new Map<number, Behind>();
    this.#seen = new Map(Array.from(standing, ([partition, position]) => {
      const before = this.#seen.get(partition);
      const stood = before !== undefined && before.position === position;
      return [partition, stood ? before : { position, sinceMs: this.#awakeMs }];
    }));
    for (const [partition, position] of standing) {
      const { low = 0, high = 0 } = watermarks.get(partition) ?? {};
      const messages = high - Math.max(position ?? low, low);
      if (messages <= 0) continue;
      // The first one came at some time after the look before.
      const sinceMs = this.#behind.get(partition)?.sinceMs ?? this.#lookedMs;
      const signMs = Math.max(
        this.#signOfAllMs,
        this.#seen.get(partition)?.sinceMs ?? 0,
        this.#workSigns.get(partition) ?? 0,
        position === undefined ? this.#workSigns.get("placing") ?? 0 : 0,
      );
      behind.set(partition, { sinceMs, messages, signMs });
    }
    return behind;
  }

  /** The watchdog's own time: that in which it was awake. */
  #nowMs(): number {
    return this.#awakeMs + Math.min(STEP_MS_MAX, this.#parts.clock.elapsedMs() - this.#checkedMs);
  }

  #passTime(): void {
    this.#awakeMs = this.#nowMs();
    this.#checkedMs = this.#parts.clock.elapsedMs();
  }
}
