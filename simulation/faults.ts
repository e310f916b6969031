/**
 * The wires between a process and its servers. Each call that goes over a wire ends in one of eight
 * ways: it is answered; it fails before its effect, or in the middle of it; it takes effect and the
 * answer is lost; it is given up and takes effect later; it takes long; the process dies before, in
 * the middle of or after the effect; or it hangs, with or without effect, and whoever waits for it
 * waits forever.
 *
 * @module
 */
import type { MemoryMember } from "../fakes/group_member.ts";
import { marksOf, markTexts } from "../fakes/mark_texts.ts";
import { readingRows, readingsOf } from "../fakes/reading_rows.ts";
import { TooMuchError, TransientError } from "../lib/errors.ts";
import type { GroupMember } from "../lib/kafka/group_member.ts";
import type { TopicWriter } from "../lib/kafka/topic_writer.ts";
import type { BatchToStore, Store, StoreOutcome, StoreWay } from "../lib/postgres/store.ts";
import type { Random } from "../lib/producer/random.ts";
import type { Cache } from "../lib/redis/cache.ts";
import type { VirtualProcess, VirtualTime } from "./virtual_time.ts";

/** Who is at the other end of a wire. */
export type ServerName = "kafka" | "postgres" | "redis";

/** What can go wrong with a call. */
export type CallFault = "refused" | "cut" | "reply lost" | "late" | "slow" | "crash" | "hang";

/** How often each fault befalls a call, from 0 to 1. */
export type FaultRates = Readonly<Record<CallFault, number>>;

/** Nothing goes wrong. */
export const NO_FAULTS: FaultRates = {
  refused: 0,
  cut: 0,
  "reply lost": 0,
  late: 0,
  slow: 0,
  crash: 0,
  hang: 0,
};

/** What becomes of a call. */
export type Fate =
  | "ok"
  | Exclude<CallFault, "crash">
  | "crash before"
  | "crash between"
  | "crash after";

/**
 * Calls that can hang: those that storing and placing wait for. The real clients bound every call;
 * the watchdog stands behind them, and what it stands for are these.
 */
const HANGING: ReadonlySet<string> = new Set([
  "dataSetId",
  "readLedger",
  "openLedgerLine",
  "moveLedgerLine",
  "storeBatch",
  "identity",
  "watermarks",
  "epochEnds",
  "committed",
]);

/** A call to a server. */
export interface Call<T> {
  /** The method. */
  readonly name: string;
  /** For whoever reads a trace. */
  readonly about?: string;
  /** What the server does. */
  readonly effect: (fate: Fate) => Promise<T>;
  /**
   * What the server has done if the connection ends in the middle of the call.
   *
   * @default nothing
   */
  readonly half?: () => Promise<unknown>;
}

/** A promise of which nobody hears again. */
const NEVER: Promise<never> = new Promise(() => {});

/** What a network needs of its world. */
export interface NetworkOptions {
  /** Orders everything. */
  readonly time: VirtualTime;
  /** Decides everything. */
  readonly random: Random;
  /** Hears what happens on the wires. */
  readonly note: (event: string, detail: () => string) => void;
  /** A process died in the middle of a call. */
  readonly died: (process: VirtualProcess) => void;
}

/** All wires of a world. */
export class Network {
  /** Servers that do not answer at all. */
  readonly away = new Set<ServerName>();
  /** How often calls go wrong, by server. */
  readonly rates: Record<ServerName, FaultRates> = {
    kafka: NO_FAULTS,
    postgres: NO_FAULTS,
    redis: NO_FAULTS,
  };
  /** Processes that wait for a call that hangs. */
  readonly hung = new WeakSet<VirtualProcess>();
  /** What the database needs for a message of a batch, ms. Nothing heals it. */
  storeMessageMs = 0;
  /** What became of batches at the database, by way and what went wrong. */
  readonly batches = new Map<string, number>();
  /** How often a commit of offsets is refused, from 0 to 1. */
  commitRefusals = 0;
  readonly #options: NetworkOptions;

  /** Starts without faults. */
  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  /** Nothing goes wrong from now on. */
  heal(): void {
    this.away.clear();
    this.rates.kafka = this.rates.postgres = this.rates.redis = NO_FAULTS;
    this.commitRefusals = 0;
  }

  /** Resolves after a time, ms. */
  pass(ms: number): Promise<void> {
    return new Promise((resolve) => this.#options.time.after(ms, resolve));
  }

  /** How much of something is done when it is cut, from 0 to 1. */
  share(): number {
    return this.#options.random.unit();
  }

  /** Makes a call from `process` to `server`, which may go wrong. */
  call<T>(process: VirtualProcess, server: ServerName, call: Call<T>): Promise<T> {
    if (!process.isAlive) return NEVER;
    const { time, note } = this.#options;
    const fate = this.#fateOf(server, call.name);
    note(`${call.name} ${fate}`, () => `${process.name} ${call.about ?? ""}`);
    if (fate === "crash before") {
      this.#kill(process);
      return NEVER;
    }
    if (fate === "hang") {
      this.hung.add(process);
      const hasEffect = this.#options.random.unit() < 0.5 && !this.away.has(server);
      if (hasEffect) {
        time.after(this.#requestMs(fate), () => void call.effect(fate).catch(() => {}));
      }
      return NEVER;
    }
    return new Promise((resolve, reject) => {
      const fail = (why: string): void =>
        process.deliver(() => reject(new TransientError(`Cannot ${call.name}: ${why}`)));
      time.after(this.#requestMs(fate), async () => {
        if (this.away.has(server)) return fail("away");
        if (fate === "refused") return fail("refused");
        if (fate === "late") {
          fail("given up");
          const afterMs = this.#between(100, 6_000);
          return time.after(afterMs, () => void call.effect(fate).catch(() => {}));
        }
        try {
          if (fate === "cut" || fate === "crash between") {
            await call.half?.();
            return fate === "cut" ? fail("cut in the middle") : this.#kill(process);
          }
          const value = await call.effect(fate);
          if (fate === "reply lost") return fail("reply lost");
          if (fate === "crash after") return this.#kill(process);
          process.deliver(() => resolve(value));
        } catch (error) {
          process.deliver(() => reject(error));
        }
      });
    });
  }

  #kill(process: VirtualProcess): void {
    if (!process.isAlive) return;
    process.kill();
    this.#options.died(process);
  }

  #fateOf(server: ServerName, name: string): Fate {
    const { random } = this.#options;
    const rates = this.rates[server];
    if (name === "commit" && this.commitRefusals > 0 && random.unit() < this.commitRefusals) {
      return "refused";
    }
    let dice = random.unit();
    for (const fault of ["refused", "cut", "reply lost", "late", "slow"] as const) {
      // Commits go over one connection, and one that takes long does not end after the next.
      if (dice < rates[fault]) {
        return name === "commit" && fault !== "refused" && fault !== "cut" ? "reply lost" : fault;
      }
      dice -= rates[fault];
    }
    if (dice < rates.crash) {
      const crashes = ["crash before", "crash between", "crash after"] as const;
      return crashes[Math.floor(dice / rates.crash * crashes.length)]!;
    }
    dice -= rates.crash;
    return dice < rates.hang && HANGING.has(name) ? "hang" : "ok";
  }

  #requestMs(fate: Fate): number {
    if (fate === "slow") return this.#between(200, 3_000);
    if (fate === "cut") return this.#between(1, 200);
    if (fate === "late") return this.#between(50, 1_500);
    return this.#between(1, 4);
  }

  #between(min: number, max: number): number {
    return Math.floor(this.#options.random.between(min, max));
  }
}

/** The database gives up a batch that takes longer, ms. */
const STATEMENT_MS_MAX = 200;

/** What was sent of a batch: whoever sent it may use its columns again. */
export function sentBatch(batch: BatchToStore): BatchToStore {
  return { ...batch, readings: readingRows(readingsOf(batch.readings)) };
}

/** Stores a batch in the time that the database needs for it, or not at all. */
async function storeInTime(
  network: Network,
  { store, batch, way }: { store: Store; batch: BatchToStore; way: StoreWay },
): Promise<StoreOutcome> {
  const messages = batch.readings.rows.length + batch.deadLetters.length;
  const tookMs = messages * network.storeMessageMs;
  if (tookMs > 0) await network.pass(Math.min(tookMs, STATEMENT_MS_MAX));
  if (tookMs >= STATEMENT_MS_MAX) throw new TooMuchError("Cannot store: it takes too long");
  return await store.storeBatch(batch, way);
}

/** A store at the other end of a wire. */
export function wiredStore(network: Network, process: VirtualProcess, store: Store): Store {
  const call = <T>(name: string, effect: () => Promise<T>): Promise<T> =>
    network.call(process, "postgres", { name, effect });
  return {
    dataSetId: () => call("dataSetId", () => store.dataSetId()),
    readLedger: () => call("readLedger", () => store.readLedger()),
    openLedgerLine: (topic, partition, first) =>
      call("openLedgerLine", () => store.openLedgerLine(topic, partition, first)),
    moveLedgerLine: (topic, partition, move) =>
      call("moveLedgerLine", () => store.moveLedgerLine(topic, partition, move)),
    storeBatch: (columns, way) => {
      const batch = sentBatch(columns);
      const count = (what: string): void => {
        network.batches.set(what, (network.batches.get(what) ?? 0) + 1);
      };
      return network.call(process, "postgres", {
        name: "storeBatch",
        about: `${batch.partition}: ${way} ${batch.fromOffset} to ${batch.nextOffset}`,
        effect: async (fate) => {
          const outcome = await storeInTime(network, { store, batch, way });
          const isHeard = fate === "ok" || fate === "slow";
          count(`${way}: ${outcome.kind}${isHeard ? "" : `, ${fate}`}`);
          return outcome;
        },
        // Rows without their end, or without COMMIT: a transaction stays nothing.
        half: () => Promise.resolve(count(`${way}: cut`)),
      });
    },
    lastReadings: (after, limit) => call("lastReadings", () => store.lastReadings(after, limit)),
    openDeadLetters: () => call("openDeadLetters", () => store.openDeadLetters()),
  };
}

/** A cache at the other end of a wire. */
export function wiredCache(network: Network, process: VirtualProcess, cache: Cache): Cache {
  const call = <T>(name: string, effect: () => Promise<T>): Promise<T> =>
    network.call(process, "redis", { name, effect });
  return {
    marks: (ids) => {
      // Sent as they are now: whoever asks uses the columns again.
      const sent = ids.slice();
      return call("marks", () => cache.marks(sent));
    },
    remember: (marks, values) => {
      const texts = markTexts(marks);
      return network.call(process, "redis", {
        name: "remember",
        effect: () => cache.remember(marksOf(texts), values),
        // Some of the marks, and all of them as often, without the last values behind them.
        half: () => {
          const written = texts.slice(0, Math.ceil(network.share() * 2 * texts.length));
          return cache.remember(marksOf(written), { ...values, values: [] });
        },
      });
    },
    setLastComplete: (id) => call("setLastComplete", () => cache.setLastComplete(id)),
    claimLastValues: (claimant) => call("claimLastValues", () => cache.claimLastValues(claimant)),
    lastValue: (sensorId) => call("lastValue", () => cache.lastValue(sensorId)),
  };
}

/** A group member whose questions go over a wire. What it fetches is paced by its own clock. */
export function wiredMember(
  network: Network,
  process: VirtualProcess,
  member: MemoryMember,
): GroupMember {
  const call = <T>(name: string, effect: () => Promise<T>): Promise<T> =>
    network.call(process, "kafka", { name, effect });
  return {
    start: (handlers) =>
      call("start", async () => {
        // The connection of a dead process is closed: nothing joins over it.
        if (process.isAlive) await member.start(handlers);
      }),
    pause: (partitions) => member.pause(partitions),
    resume: (partitions) => member.resume(partitions),
    seek: (partition, offset) => member.seek(partition, offset),
    identity: () => call("identity", () => member.identity()),
    watermarks: () => call("watermarks", () => member.watermarks()),
    epochEnds: (epochs) => call("epochEnds", () => member.epochEnds(epochs)),
    heldBack: () => call("heldBack", () => member.heldBack()),
    committedByOthers: () => call("committed", () => member.committedByOthers()),
    group: () => call("group", () => member.group()),
    offsetsAtTime: (timestampMs) => call("offsetsAtTime", () => member.offsetsAtTime(timestampMs)),
    commit: (nextOffsets) => {
      // The request names the assignment that its sender knew of.
      const { generation } = member;
      return network.call(process, "kafka", {
        name: "commit",
        about: Array.from(nextOffsets, ([partition, next]) => `${partition}: ${next}`).join(", "),
        effect: () => member.commit(nextOffsets, generation),
      });
    },
    stop: () => call("stop", () => member.stop()),
  };
}

/** A topic writer at the other end of a wire. A send that was given up can overlap with the next. */
export function wiredWriter(
  network: Network,
  process: VirtualProcess,
  open: () => TopicWriter,
): TopicWriter {
  const { partitions, close } = open();
  return {
    partitions,
    send: (partition, messages) =>
      network.call(process, "kafka", {
        name: "send",
        effect: () => open().send(partition, messages),
      }),
    close,
  };
}
