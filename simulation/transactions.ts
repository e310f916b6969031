/**
 * Producers with transactions, beside the one that is tested: several of them are open at a time, end in
 * any order, are aborted or committed, and what was aborted mostly comes again, corrected.
 *
 * @module
 */
import type { Outcome } from "../fakes/kafka_transactions.ts";
import type { MemoryTransactionalProducer } from "../fakes/transactional_producer.ts";
import type { Random } from "../lib/producer/random.ts";
import { freshFields, type ReadingFields, type TrafficPlan, writeMessage } from "./traffic.ts";
import type { PlannedMessage } from "./traffic.ts";
import type { WatchedKafka } from "./servers.ts";
import { type VirtualTime, WORLD_START_MS } from "./virtual_time.ts";

/** How many transactions there are. */
export interface TransactionsPlan {
  /** Producers that have transactions, one after the other. */
  readonly producers: number;
  /** Most transactions of one of them. */
  readonly transactionsMax: number;
  /** One producer dies in its last transaction, and the brokers abort it so long after the storm, ms. */
  readonly leftOpenMs: number;
}

/** One transaction. */
export interface PlannedTransaction {
  /** Which producer's it is. */
  readonly producer: number;
  /** What is sent, by time, and to which partition. */
  readonly sends: readonly (PlannedMessage & { readonly partition: number })[];
  /** When it ends, ms since the world began. */
  readonly endMs: number;
  /** How. */
  readonly outcome: Outcome;
}

/** Most messages of a transaction. */
const MESSAGES_MAX = 4;

/** As text, the bytes of an abort marker's key. */
const MARKER_KEY = "\0\0\0\0";

/** Plans all transactions of a world. */
export function planTransactions(
  { transactions, traffic, partitions }: {
    readonly transactions: TransactionsPlan;
    readonly traffic: TrafficPlan;
    readonly partitions: number;
  },
  random: Random,
): readonly PlannedTransaction[] {
  const planned: PlannedTransaction[] = [];
  for (let producer = 0; producer < transactions.producers; producer++) {
    let atMs = random.between(0, traffic.spanMs / 2);
    let again: ReadingFields[] = [];
    const count = 1 + random.uint32() % transactions.transactionsMax;
    for (let number = 0; number < count && atMs < traffic.spanMs; number++) {
      const sends: PlannedTransaction["sends"][number][] = [];
      const sent: ReadingFields[] = [];
      for (let left = 1 + random.uint32() % MESSAGES_MAX; left > 0; left--) {
        const id = 2_000_000 + producer * 10_000 + number * 100 + left;
        const sensor = Math.floor(random.unit() * traffic.sensors);
        const fields = again.shift() ?? freshFields(id, sensor, WORLD_START_MS + atMs);
        const { key, value } = writeMessage(fields, traffic.mix.bad, random);
        const message = { key: random.unit() < 0.2 ? MARKER_KEY : key, value };
        sends.push({ atMs: Math.floor(atMs), message, partition: random.uint32() % partitions });
        sent.push(fields);
        atMs += random.between(0, 800);
      }
      const outcome = random.unit() < 0.5 ? "commit" : "abort";
      planned.push({ producer, sends, endMs: Math.floor(atMs), outcome });
      again = outcome === "abort" ? sent.map((one) => ({ ...one, value: one.value + 1 })) : [];
      atMs += random.between(1, 600);
    }
  }
  return transactions.leftOpenMs === 0 ? planned : leaveOpen(planned, transactions, traffic);
}

/** The last transaction that was planned is not ended by its producer. */
function leaveOpen(
  planned: readonly PlannedTransaction[],
  { leftOpenMs }: TransactionsPlan,
  { spanMs }: TrafficPlan,
): readonly PlannedTransaction[] {
  const last = planned.at(-1);
  if (last === undefined) return planned;
  return [...planned.slice(0, -1), { ...last, endMs: spanMs + leftOpenMs, outcome: "abort" }];
}

/** Lets planned transactions happen. */
export function playTransactions(
  planned: readonly PlannedTransaction[],
  { time, kafka, note }: {
    readonly time: VirtualTime;
    readonly kafka: WatchedKafka;
    readonly note: (event: string, detail: string) => void;
  },
): void {
  const producers = new Map<number, MemoryTransactionalProducer>();
  for (const { producer: number, sends, endMs, outcome } of planned) {
    const producer = producers.get(number) ?? kafka.transactionalProducer();
    producers.set(number, producer);
    for (const { atMs, message, partition } of sends) {
      time.after(atMs, () => {
        // What the brokers do not take now is not sent at all.
        if (kafka.brokersAway || !kafka.hasLeader(partition)) return;
        const [offset] = producer.append(partition, [message]);
        note("sent in a transaction", `${partition}:${offset} by ${number}`);
      });
    }
    time.after(endMs, () => {
      note(`${outcome} of a transaction`, `by ${number}`);
      producer.end(outcome);
    });
  }
}
