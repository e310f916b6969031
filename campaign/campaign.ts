/**
 * A campaign from its start to its report: servers and programs come up, faults are played one
 * after the other while readings flow, and at the end everything is looked for.
 *
 * @module
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createRandom, type Random } from "../lib/producer/random.ts";
import { MIXED } from "./generated_messages.ts";
import { openBed } from "./bed.ts";
import { type Bounds, measureBounds } from "./bounds.ts";
import { EVENT, type Fault, type FaultInForce, ROWS_WITHIN_MS, type Stage } from "./fault.ts";
import { Fleet } from "./fleet.ts";
import { type Ending, lookForEverything, waitForLastValues, waitUntilDrained } from "./ending.ts";
import { longestGapMs, ProgressWatch, type Sighting } from "./progress.ts";
import { playedText } from "./report.ts";
import { readEnds, readUnread } from "./topic.ts";

/** How a campaign is played. */
export interface CampaignOptions {
  /** Decides victims and times. */
  readonly seed: number;
  /** The faults, in their order. */
  readonly schedule: readonly Fault[];
  /** Which of the two times each fault holds. */
  readonly hold: "short" | "long";
  /** Messages per second of all producers together. */
  readonly rate: number;
  /** Whether bounds are measured at the end, see {@linkcode measureBounds}. */
  readonly withBounds: boolean;
  /** Holds servers, logs and journals; must not exist. */
  readonly dir: string;
  /** Receives each step, for people. */
  readonly say: (line: string) => void;
  /** Ends the campaign early, with a report of what was played. */
  readonly signal: AbortSignal;
}

/** A fault that was played. Times are ms since 1970. */
export interface PlayedFault {
  /** Its name. */
  readonly name: string;
  /** Whose fault it was. */
  readonly party: Fault["party"];
  /** The rows of the table that count it. */
  readonly countsFor: readonly string[];
  /** When it began. */
  readonly injectedAtMs: number;
  /** When it was healed. */
  readonly healedAtMs: number;
  /**
   * How long it took for new rows to come: from healing, or, where nothing is to be healed, the
   * longest time without any since the last consumer was killed. Infinity: they never came.
   */
  readonly rowsAfterMs: number;
  /** When every partition had moved after that; undefined: not in time. */
  readonly allMovedAtMs: number | undefined;
  /** Longest time without a new row, ms. */
  readonly longestStallMs: number;
  /** How soon they had to come, ms. */
  readonly rowsWithinMs: number;
  /** Why it could not be played. */
  readonly failure?: string;
}

/** What a campaign saw. */
export interface CampaignReport {
  /** Its seed. */
  readonly seed: number;
  /** Which of the two times each fault held. */
  readonly hold: "short" | "long";
  /** When it began, ms since 1970. */
  readonly startedAtMs: number;
  /** How long it took, ms. */
  readonly durationMs: number;
  /** In their order. */
  readonly played: readonly PlayedFault[];
  /** Processes that were ended by SIGKILL. */
  readonly kills: number;
  /** Programs that ended with an error and were not killed. */
  readonly oddEnds: Fleet["oddEnds"];
  /** Acknowledged messages by time. */
  readonly acknowledged: readonly { readonly atMs: number; readonly messages: number }[];
  /** What the ledger had counted by time. */
  readonly sightings: readonly Sighting[];
  /** What was found at the end. */
  readonly ending: Ending;
  /** What was measured at full speed; undefined: that was left out. */
  readonly bounds: Bounds | undefined;
}

const PARTITIONS = 12;
/** How long PostgreSQL stays away with a million messages waiting, ms. */
const OUTAGE_MS = { short: 30_000, long: 120_000 } as const;
const CONSUMERS = 4;
const PRODUCERS = 2;
/** A flow that has not come back in this time does not come back, ms. */
const RECOVERED_MS_MAX = 90_000;
/** Between two faults there is so much peace, ms. */
const PEACE_MS = 500;
const LOOK_MS = 50;
const SAMPLE_MS = 500;

/** Plays a campaign. The servers are ended and removed; logs and journals stay. */
export async function runCampaign(options: CampaignOptions): Promise<CampaignReport> {
  const { dir, say, rate, seed } = options;
  await using bed = await openBed({
    dir: join(dir, "servers"),
    partitions: PARTITIONS,
    report: say,
  });
  const logs = join(dir, "programs");
  await Deno.mkdir(logs, { recursive: true });
  await using fleet = new Fleet(logs, bed.settings);
  await fleet.migrate();
  await using watch = new ProgressWatch(bed.direct.postgres);
  const startedAtMs = Date.now();
  const run = new CampaignRun(options, { bed, fleet, rate }, watch);
  for (let count = 0; count < CONSUMERS; count++) fleet.addConsumer();
  run.addProducers();
  const acknowledged: { atMs: number; messages: number }[] = [];
  const sampling = setInterval(() => {
    acknowledged.push({ atMs: Date.now(), messages: fleet.acknowledged });
  }, SAMPLE_MS);
  try {
    await run.recovered(startedAtMs);
    say(`readings flow, ${rate} messages/s; seed ${seed}`);
    const played = await run.playAll();
    await fleet.retireProducers();
    await waitUntilDrained(bed);
    const lastValueProblems = await waitForLastValues(bed);
    await fleet.retireConsumers();
    const found = await lookForEverything({ bed, fleet, deleted: run.deleted });
    const ending = { ...found, lastValueProblems };
    if (options.withBounds) say("a backlog of a million messages, PostgreSQL away, Redis away");
    const outageMs = OUTAGE_MS[options.hold];
    const bounds = options.withBounds
      ? await measureBounds({ bed, dir: logs, outageMs })
      : undefined;
    const durationMs = Date.now() - startedAtMs;
    const { kills, oddEnds } = fleet;
    const { sightings } = watch;
    return {
      seed,
      hold: options.hold,
      startedAtMs,
      durationMs,
      played,
      kills,
      oddEnds,
      acknowledged,
      sightings,
      ending,
      bounds,
    };
  } finally {
    clearInterval(sampling);
  }
}

/** Plays a fault on a stage that is ready for it. */
type Play = (stage: Stage) => Promise<FaultInForce>;

/** The part of a campaign in which readings flow. */
class CampaignRun {
  readonly #options: CampaignOptions;
  readonly #stage: Stage;
  readonly #watch: ProgressWatch;
  readonly #random: Random;
  /** Names of messages that were deleted from the topic before anybody had read them. */
  readonly deleted = new Set<string>();

  constructor(options: CampaignOptions, stage: Stage, watch: ProgressWatch) {
    this.#options = options;
    this.#stage = stage;
    this.#watch = watch;
    this.#random = createRandom(options.seed, 2);
  }

  addProducers(): void {
    const rate = this.#options.rate / PRODUCERS;
    for (let count = 0; count < PRODUCERS; count++) {
      this.#stage.fleet.addProducer({ seed: this.#random.uint32() % 4_000, rate, ratios: MIXED });
    }
  }

  async playAll(): Promise<readonly PlayedFault[]> {
    const { schedule, say, signal } = this.#options;
    const played: PlayedFault[] = [];
    for (const [index, fault] of schedule.entries()) {
      if (signal.aborted) break;
      const one = await this.#play(fault);
      played.push(one);
      say(`${`${index + 1}/${schedule.length}`.padStart(7)}  ${playedText(one)}`);
      if (one.allMovedAtMs === undefined && one.failure === undefined) break;
      await sleep(PEACE_MS);
    }
    return played;
  }

  async #play(fault: Fault): Promise<PlayedFault> {
    const injectedAtMs = Date.now();
    const rowsWithinMs = fault.rowsWithinMs ?? ROWS_WITHIN_MS[fault.party];
    let injected: FaultInForce | undefined;
    let failure: string | undefined;
    try {
      injected = await this.#withNeeds(fault, async (stage) => {
        const done = await fault.inject(stage, this.#random);
        await sleep(fault.holdMs[this.#options.hold]);
        await done.heal();
        return done;
      });
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
    }
    const healedAtMs = Date.now();
    const allMovedAtMs = await this.recovered(healedAtMs);
    const span = { fromMs: injectedAtMs, toMs: allMovedAtMs ?? Date.now() };
    const { rowsCameAtMs } = this.#watch;
    const longestStallMs = longestGapMs(rowsCameAtMs, span);
    const rowsAtMs = this.#watch.firstRowsSince(healedAtMs) ?? Infinity;
    // A group goes on without its dead until it notices: then comes the wait, and whoever dies in it
    // makes it begin again.
    const isDeath = fault.party === "Consumer" && fault.holdMs === EVENT;
    const { consumersKilledAtMs } = this.#stage.fleet;
    return {
      name: fault.name,
      party: fault.party,
      countsFor: injected?.countsFor ?? [fault.name],
      injectedAtMs,
      healedAtMs,
      rowsAfterMs: isDeath
        ? longestGapMs([...rowsCameAtMs, ...consumersKilledAtMs], span)
        : rowsAtMs - healedAtMs,
      allMovedAtMs,
      longestStallMs,
      rowsWithinMs,
      ...failure !== undefined && { failure },
    };
  }

  /** When rows had come and every partition had moved since then; undefined: that took too long. */
  async recovered(sinceMs: number): Promise<number | undefined> {
    const isBack = (): boolean =>
      this.#watch.haveMovedSince(sinceMs, PARTITIONS) &&
      this.#watch.firstRowsSince(sinceMs) !== undefined;
    while (!isBack()) {
      if (Date.now() - sinceMs > RECOVERED_MS_MAX) return undefined;
      await sleep(LOOK_MS);
    }
    return Date.now();
  }

  async #withNeeds(fault: Fault, play: Play): Promise<FaultInForce> {
    if (fault.needs === "topic drained") {
      await this.#stage.fleet.retireProducers();
      await waitUntilDrained(this.#stage.bed);
      try {
        return await play(this.#stage);
      } finally {
        this.addProducers();
      }
    }
    if (fault.needs === "consumers frozen") return await this.#withFrozenConsumers(play);
    return await play(this.#stage);
  }

  async #withFrozenConsumers(play: Play): Promise<FaultInForce> {
    const { bed, fleet } = this.#stage;
    for (const { child } of fleet.consumers) child.signal("SIGSTOP");
    try {
      await sleep(FROZEN_MS);
      const notedEnds = await readEnds(bed);
      const unread = await readUnread(bed, notedEnds);
      const injected = await play({ ...this.#stage, notedEnds });
      for (const { partition, from, to } of injected.deleted ?? []) {
        for (const message of unread) {
          if (message.partition !== partition) continue;
          if (message.offset >= from && message.offset < to) this.deleted.add(message.name);
        }
      }
      return injected;
    } finally {
      for (const { child } of fleet.consumers) child.signal("SIGCONT");
    }
  }
}

/** Time for producers to write what nobody reads. */
const FROZEN_MS = 2_000;
