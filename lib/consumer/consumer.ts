/**
 * The consumer loop: places partitions where the ledger stands, feeds batches to the processor,
 * and stops cleanly. It knows the ports and no library.
 *
 * The rules that keep it safe:
 *
 * - Place, then consume. A new assignment is paused before its first fetch; only when the ledger
 *   has been read, the partition sought there and resumed, its messages count.
 * - A placement is an object. Work begun under an older placement of the same partition sees that
 *   the object has changed, and ends. Whatever it still sends, the ledger's compare-and-set refuses.
 * - Trouble means placing again. After an error, a refused compare-and-set or an unexpected offset
 *   nobody guesses what was stored: the ledger is read again.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { ConfigurationError, describeError, NoAnswerError } from "../errors.ts";
import type { GroupMember } from "../kafka/group_member.ts";
import { heldBackText } from "../kafka/message.ts";
import type { Log } from "../log.ts";
import { linesOf, type Store } from "../postgres/store.ts";
import type { Cache } from "../redis/cache.ts";
import { withTimeLimit } from "../time_limit.ts";
import { TroubleLog } from "../trouble_log.ts";
import { Chores } from "./chores.ts";
import { EndOffsets } from "./end_offsets.ts";
import { PendingCommits } from "./commits.ts";
import { FloodGuard, type FloodSettings } from "./flood_guard.ts";
import { type FlowCounts, Intake } from "./intake.ts";
import { LastValuesUpkeep } from "./last_values_upkeep.ts";
import { OpenTransactions } from "./open_transactions.ts";
import { checkIdentity, checkLedger, checkLog } from "./loss_checks.ts";
import { checkNeighbours } from "./neighbour_checks.ts";
import { Notices } from "./notices.ts";
import { type FlowObserver, tellAll } from "./observer.ts";
import { OfflinePartitions } from "./offline_partitions.ts";
import type { StartFrom } from "./placement.ts";
import { Placer } from "./placer.ts";
import type { ProcessorParts } from "./processor.ts";
import { Trouble } from "./trouble.ts";
import { type Standing, type Stuck, Watchdog } from "./watchdog.ts";

/** What the loop works with. Opening and closing them is the caller's. */
export interface ConsumerParts {
  /** Reads the topic. */
  readonly member: GroupMember;
  /** Decides and keeps. */
  readonly store: Store;
  /** Saves the store work. */
  readonly cache: Cache;
  /** See {@linkcode ProcessorParts.breakers}. */
  readonly breakers: ProcessorParts["breakers"];
  /** Paces ticks, waits and deadlines. */
  readonly clock: Clock;
  /** Hears of assignments, trouble and progress. */
  readonly log: Log;
  /** Is notified of what fails and is tried again. @default one that writes to the log */
  readonly troubles?: TroubleLog;
  /** Is notified of every step, for statistics. */
  readonly observer?: FlowObserver;
  /**
   * Spreads the waits of several members; from 0 up to but not including 1.
   *
   * @default Math.random
   */
  readonly random?: () => number;
}

/** How the loop works. */
export interface ConsumerOptions extends FloodSettings {
  /** Most messages in one transaction. */
  readonly batchMessagesMax: number;
  /** Most transactions at the same time, each of another partition. */
  readonly batchesConcurrent: number;
  /** What a reading may be. */
  readonly limits: ProcessorParts["limits"];
  /** Where to begin a topic that the ledger does not know. */
  readonly startFrom: StartFrom;
  /** `end`: return once the end offsets seen at the start are stored. `never`: only by signal. */
  readonly until: "end" | "never";
  /** How long stopping may take, ms. */
  readonly shutdownDeadlineMs: number;
  /** No progress for this long although messages wait ends the loop, seconds; 0: never. */
  readonly watchdogSeconds: number;
  /** Ends the loop: the batch under way is finished, offsets are committed, the group is left. */
  readonly signal: AbortSignal;
}

/** What one run of the loop did. */
export interface ConsumeSummary extends FlowCounts {
  /**
   * `cleanly`: nothing was left undone. `late`: stopping took longer than it may, so that work was
   * left for the next owner. `stuck`: there was no progress, and only a new process can help.
   */
  readonly ended: "cleanly" | "late" | "stuck";
}

const TICK_MS = 250;
const PROGRESS_LOG_MS = 10_000;
/** How soon servers that lost something are noticed if no message comes to tell. */
const CHECK_MS = 10_000;
/** A check whose server has not answered for this long is given up, and begins again when it is due. */
const CHECK_MS_MAX = 20_000;
/** Possession of the last values is renewed this often: well before others may take them. */
const RENEWAL_MS = 5_000;
/** Last values are repaired at most this often: a repair looks at every sensor. */
const REPAIR_INTERVAL_MS = 5_000;
/** How long a run that ends on its own may take to repair last values before it does. */
const REPAIR_AT_END_MS = 5_000;
/** How long the last commit and leaving the group may take: what a person at a terminal waits for. */
const LEAVE_MS = 2_000;

/**
 * Runs until the signal aborts or, with `until: "end"`, everything seen at the start is stored.
 *
 * @throws {ConfigurationError} if the group cannot be joined because of a setting or a right.
 * @throws {TransientError} if the group member died for good; a new process can start over.
 */
export async function consume(
  parts: ConsumerParts,
  options: ConsumerOptions,
): Promise<ConsumeSummary> {
  return await new Consumer(parts, options).run();
}

class Consumer {
  readonly #parts: ConsumerParts;
  readonly #options: ConsumerOptions;
  readonly #commits: PendingCommits;
  readonly #watchdog: Watchdog;
  readonly #observer: FlowObserver;
  readonly #placer: Placer;
  readonly #upkeep: LastValuesUpkeep;
  readonly #intake: Intake;
  readonly #chores: Chores;
  readonly #notices: Notices;
  readonly #troubles: TroubleLog;
  readonly #openTransactions: OpenTransactions;
  readonly #floodGuard: FloodGuard;
  readonly #offline: OfflinePartitions;
  readonly #stop = new AbortController();
  /** Undefined before the group has let us in. */
  #assigned: readonly number[] | undefined;
  #crash: Error | undefined;
  #stuck: Stuck | undefined;
  #end: EndOffsets | undefined;
  #messagesLogged = 0;

  constructor(parts: ConsumerParts, options: ConsumerOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#commits = new PendingCommits(parts.member);
    this.#watchdog = new Watchdog({
      clock: parts.clock,
      member: parts.member,
      standing: (topic) => this.#standing(topic),
      quietMsMax: options.watchdogSeconds * 1_000,
      onStill: (partitions) => this.#onStill(partitions),
    });
    this.#floodGuard = new FloodGuard(options, parts);
    this.#observer = tellAll([this.#floodGuard, parts.observer ?? {}]);
    this.#upkeep = new LastValuesUpkeep({ ...parts, observer: this.#observer });
    this.#chores = new Chores(parts);
    this.#troubles = parts.troubles ?? new TroubleLog(parts);
    this.#notices = new Notices({ log: parts.log, observer: this.#observer });
    this.#openTransactions = new OpenTransactions(parts);
    this.#offline = new OfflinePartitions(parts.log);
    const shared = {
      ...parts,
      ...options,
      observer: this.#observer,
      commits: this.#commits,
      watchdog: this.#watchdog,
      trouble: new Trouble({ ...parts, troubles: this.#troubles, observer: this.#observer }),
      offline: this.#offline,
      upkeep: this.#upkeep,
      notices: this.#notices,
      signal: this.#stop.signal,
    };
    this.#placer = new Placer(shared);
    this.#intake = new Intake({
      ...shared,
      placer: this.#placer,
      onAdvance: () => this.#stopAtEnd(),
    });
  }

  async run(): Promise<ConsumeSummary> {
    const abort = (): void => this.#stop.abort();
    this.#options.signal.addEventListener("abort", abort, { once: true });
    if (this.#options.signal.aborted) abort();
    try {
      if (this.#options.until === "end") {
        const { member, log } = this.#parts;
        this.#end = await this.#seeEnds(new EndOffsets());
        for (const [partition, held] of await member.heldBack()) {
          log.warn(`${heldBackText(partition, held)}: left for a later run`);
        }
        const partitions = this.#end.unseen.join(",");
        if (partitions !== "") {
          log.warn("these partitions cannot be read yet; the run ends once they have been", {
            partitions,
          });
        }
      }
      if (this.#options.watchdogSeconds > 0) void this.#keepWatch();
      if (!this.#stop.signal.aborted) await this.#join();
      await this.#tickUntilStopped();
    } finally {
      this.#options.signal.removeEventListener("abort", abort);
    }
    const ended = await this.#shutDown();
    if (this.#crash !== undefined) throw this.#crash;
    return { ...this.#intake.totals, ended };
  }

  /** Joins the group, or gives it up when told to stop. */
  async #join(): Promise<void> {
    const stopped = Promise.withResolvers<void>();
    this.#stop.signal.addEventListener("abort", () => stopped.resolve(), { once: true });
    await Promise.race([
      stopped.promise,
      this.#parts.member.start({
        assigned: (partitions) => this.#onAssigned(partitions),
        batch: (fetched) => this.#intake.take(fetched),
        refused: (error) => this.#onRefused(error),
        crashed: (error) => this.#onCrashed(error),
      }),
    ]);
  }

  async #keepWatch(): Promise<void> {
    this.#stuck = await this.#watchdog.run(this.#stop.signal);
    if (this.#stuck === undefined) return;
    const { what, partitions, lagMessages, quietMs } = this.#stuck;
    this.#parts.log.error(
      "stuck: no progress is being made; exiting so that the supervisor restarts this consumer",
      { what, seconds: Math.round(quietMs / 1_000), lagMessages, partitions: partitions.join(",") },
    );
    this.#stop.abort();
  }

  #onStill(partitions: readonly number[]): void {
    const text = `nothing has happened to partition ${partitions.join(", ")} for ` +
      `${this.#options.watchdogSeconds} s although messages are waiting; if that lasts, this consumer ` +
      "exits so that its supervisor restarts it";
    this.#notices.note("still", partitions.length === 0 ? undefined : text);
  }

  /** Until the group has let us in, every partition can be ours. */
  #standing(topic: Iterable<number>): Standing {
    const ours = this.#assigned ?? [...topic];
    return new Map(
      ours.map((partition) => [partition, this.#placer.places.get(partition)?.position]),
    );
  }

  async #seeEnds(end: EndOffsets): Promise<EndOffsets> {
    end.see(await this.#parts.member.watermarks());
    return end;
  }

  #onAssigned(partitions: readonly number[]): void {
    this.#parts.log.info("partitions assigned", { partitions: partitions.join(",") });
    this.#observer.assigned(partitions);
    this.#watchdog.sign();
    this.#notices.note("membership", undefined);
    this.#assigned = partitions;
    this.#placer.assign(partitions);
  }

  /** Each try is a sign of life: a new process would be refused, too. */
  #onRefused(error: Error): void {
    this.#watchdog.sign();
    this.#notices.note("membership", describeError(error));
  }

  #onCrashed(error: Error): void {
    this.#crash = error;
    this.#stop.abort();
  }

  /** Commits what waits, repairs last values, and looks whether the end is reached. */
  async #tickUntilStopped(): Promise<void> {
    const { clock } = this.#parts;
    const { signal } = this.#stop;
    const chores = this.#chores;
    const checks = {
      ...this.#parts,
      placer: this.#placer,
      offline: this.#offline,
      notices: this.#notices,
      observer: this.#observer,
    };
    while (!signal.aborted) {
      await clock.sleep(TICK_MS, signal);
      if (signal.aborted) return;
      this.#observer.ticked();
      void this.#commits.flush();
      if (chores.isDue("progress", PROGRESS_LOG_MS)) this.#logProgress();
      // Apart from repairs, because one of many sensors takes longer than others wait.
      if (chores.isDue("renewal", RENEWAL_MS)) {
        chores.start("renewal", () => this.#upkeep.renew());
        chores.start("probe", () => this.#upkeep.probe());
      }
      if (chores.isDue("repair", REPAIR_INTERVAL_MS)) {
        chores.start("repair", () => this.#upkeep.repair(signal));
      }
      if (chores.isDue("check", CHECK_MS)) {
        this.#check("identity", "kafka", (givenUp) => checkIdentity(checks, givenUp));
        this.#check("ledger", "postgres", (givenUp) => checkLedger(checks, givenUp));
        chores.start("neighbours", (givenUp) => checkNeighbours(checks, givenUp), CHECK_MS_MAX);
        chores.start("log", (givenUp) => checkLog(checks, givenUp), CHECK_MS_MAX);
        chores.start(
          "transactions",
          (givenUp) => this.#openTransactions.look(this.#placer.places, givenUp),
          CHECK_MS_MAX,
        );
        chores.start("flood", (givenUp) => this.#floodGuard.look(givenUp), CHECK_MS_MAX);
      }
      if (this.#end !== undefined) {
        chores.start("end", (givenUp) => this.#stopIfAllEnded(givenUp), CHECK_MS_MAX);
      }
    }
  }

  /**
   * A check that also tells whether its server answers and lets us in; where no message comes, nobody
   * else does.
   */
  #check(
    kind: string,
    server: "kafka" | "postgres",
    check: (givenUp: AbortSignal) => Promise<void>,
  ): void {
    this.#chores.start(kind, async (givenUp) => {
      try {
        await check(givenUp);
        this.#notices.note(server, undefined);
        this.#troubles.left(`${kind} check`);
      } catch (error) {
        if (error instanceof ConfigurationError) this.#notices.note(server, describeError(error));
        if (error instanceof NoAnswerError) this.#troubles.met([`${kind} check`], error);
        else this.#troubles.left(`${kind} check`);
        throw error;
      }
    }, CHECK_MS_MAX);
  }

  /** Says nothing on an idle topic. */
  #logProgress(): void {
    const { inserted, duplicates, deadLetters, skipped } = this.#intake.totals;
    const messages = inserted + duplicates + deadLetters + skipped;
    if (messages === this.#messagesLogged) return;
    this.#messagesLogged = messages;
    this.#parts.log.info("progress", { ...this.#intake.totals });
  }

  /** Our own partitions alone: cheap enough to ask after each batch. */
  #ownPartitionsEnded(): boolean {
    const end = this.#end;
    return end !== undefined && this.#placer.isThrough &&
      [...this.#placer.places].every(([partition, { position }]) =>
        end.isReached(partition, position)
      );
  }

  /** With one member in the group there is no need to wait for the tick. */
  #stopAtEnd(): void {
    if (this.#placer.places.size === this.#end?.size && this.#ownPartitionsEnded()) {
      this.#stop.abort();
    }
  }

  /** Other members may still be at work on theirs: the ledger tells of all of them. */
  async #stopIfAllEnded(givenUp: AbortSignal): Promise<void> {
    const end = this.#end;
    if (end === undefined) return;
    if (end.unseen.length > 0) await this.#seeEnds(end);
    if (!this.#ownPartitionsEnded()) return;
    const topic = await this.#parts.member.identity();
    const lines = await this.#parts.store.readLedger();
    const nextOffsets = Array.from(
      linesOf(lines, topic),
      ([partition, { next }]): [number, number] => [partition, next],
    );
    if (end.areReached(new Map(nextOffsets)) && !givenUp.aborted) this.#stop.abort();
  }

  /** Lets batches finish, then commits and leaves the group. */
  async #shutDown(): Promise<ConsumeSummary["ended"]> {
    const { member, log } = this.#parts;
    member.pause(this.#assigned ?? []);
    // What is stuck does not finish.
    const drainMs = this.#stuck === undefined ? this.#options.shutdownDeadlineMs : 0;
    const drained = await this.#within(drainMs, async () => {
      await this.#intake.drained();
    });
    // Advisory, both: with the brokers away the group finds out on its own.
    const left = await this.#within(LEAVE_MS, async (givenUp) => {
      // A flush that was under way can have missed the newest offsets.
      await this.#commits.flush();
      if (!givenUp.aborted) await this.#commits.flush();
      if (!givenUp.aborted) await member.stop();
    });
    if (!drained && this.#stuck === undefined) {
      log.error("a batch did not finish in time; the partition's next owner will repeat it");
    }
    if (!left) {
      log.warn("the brokers did not confirm the last commit, or leaving the group, in time");
    }
    await this.#repairAtEnd();
    log.info("stopped", { ...this.#intake.totals });
    if (this.#stuck !== undefined) return "stuck";
    return drained ? "cleanly" : "late";
  }

  /** After a run that ends on its own no tick and perhaps no other run comes to repair anything. */
  async #repairAtEnd(): Promise<void> {
    const { until, signal } = this.#options;
    if (until !== "end" || signal.aborted || this.#crash || this.#stuck) return;
    const repaired = await this.#within(REPAIR_AT_END_MS, async (givenUp) => {
      // A repair that was under way has ended with the ticks, before it was through.
      await this.#chores.settled("repair");
      await this.#upkeep.repair(AbortSignal.any([signal, givenUp]));
    });
    const { state } = this.#upkeep;
    if (repaired && state.kind === "complete") return;
    const why = state.kind === "foreign" ? { heldBy: `data set ${state.owner}` } : {};
    this.#parts.log.warn("last values are not up to date; a later run will repair them", why);
  }

  async #within(
    limitMs: number,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<boolean> {
    try {
      await withTimeLimit(work, { clock: this.#parts.clock, limitMs });
      return true;
    } catch (error) {
      this.#parts.log.debug("stopping", { error });
      return false;
    }
  }
}
