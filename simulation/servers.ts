/**
 * The three servers of a world, in memory. The oracle is told of everything that happens to them.
 *
 * @module
 */
import { MemoryCache } from "../fakes/cache.ts";
import { MemoryKafka } from "../fakes/kafka_cluster.ts";
import type { MemoryTopicOptions, RecordToAppend } from "../fakes/kafka_topic.ts";
import type { TransactionEnd } from "../fakes/kafka_transactions.ts";
import { idTexts } from "../fakes/mark_texts.ts";
import { readingsOf } from "../fakes/reading_rows.ts";
import { createMemoryStore, type MemoryStore, type StoreBackup } from "../fakes/store.ts";
import { RowDataError } from "../lib/errors.ts";
import type { BatchToStore, StoreOutcome, StoreWay } from "../lib/postgres/store.ts";
import type { Cache, Claimant, OwnLastValues } from "../lib/redis/cache.ts";
import type { Marks } from "../lib/redis/marks.ts";
import { Neighbour } from "./neighbour.ts";
import { Oracle } from "./oracle.ts";
import { UNSTORABLE_STATUS } from "./traffic.ts";
import type { VirtualProcess } from "./virtual_time.ts";

/** The group that all consumers of a world are in. */
export const GROUP = "group";

/** How long Redis keeps a mark, seconds: some expire within a world. */
const MARK_TTL_SECONDS = 20;

/** How long a data set keeps its last values in Redis, ms: some lose them within a world. */
const LEASE_MS = 12_000;

/** Kafka, PostgreSQL and Redis, watched. */
export class Servers {
  /** The brokers. */
  readonly kafka: WatchedKafka;
  /** The database as consumers call it; the rows stand in {@linkcode Servers.tables}. */
  readonly store: MemoryStore;
  /** Redis as consumers call it. */
  readonly cache: Cache;
  /** Redis from behind. */
  readonly redis: MemoryCache;
  /** Judges. */
  readonly oracle: Oracle;
  /** Who else uses Redis, in some worlds. */
  readonly neighbour: Neighbour;
  readonly #backups: StoreBackup[];

  /** @param host keeps the servers' time */
  /** Starts empty. */
  constructor(host: VirtualProcess, partitions: number) {
    const { clock } = host;
    let dataSets = 0;
    this.store = createMemoryStore({ clock, newId: () => `data-set-${++dataSets}` });
    this.#backups = [this.store.backup()];
    this.redis = new MemoryCache({ clock, ttlSeconds: MARK_TTL_SECONDS, leaseMs: LEASE_MS });
    this.oracle = new Oracle({
      rows: this.store.readings,
      letters: () => this.store.deadLetters,
      lines: () => this.store.ledger,
      lastValues: this.redis.lastValues,
      markedIds: () => this.redis.liveMarks().keys(),
      life: () => this.kafka.identity().topicId,
      ends: () => this.kafka.partitionNumbers().map((each) => this.kafka.partition(each).next),
      committed: () => this.kafka.groups.committed.get(GROUP) ?? new Map(),
    });
    this.neighbour = new Neighbour(this.redis, clock, this.oracle);
    this.kafka = new WatchedKafka({ topic: "readings", partitions, clock }, this.oracle);
    this.#watchStore();
    this.cache = this.#watchedCache();
  }

  /** Retention: some messages of a partition are gone, read or not. */
  deleteBelow(partition: number, low: number): void {
    this.oracle.deleting(partition, low);
    this.kafka.deleteRecords(partition, low);
  }

  /** An unclean election: the newest messages of a partition are gone. */
  truncate(partition: number, end: number): void {
    this.kafka.truncate(partition, end);
    this.oracle.truncated(partition, end);
    this.kafka.abortHanging(partition);
  }

  /** The topic is deleted and recreated; the group's offsets may outlive it. */
  recreateTopic(notice: "members rejoin" | "nobody notices", commits: "kept" | "gone"): void {
    this.oracle.deletingTopic();
    this.kafka.recreateTopic(notice, commits);
  }

  /** What the database can go back to. */
  backUp(): void {
    this.#backups.push(this.store.backup());
  }

  /** The database loses what was committed since a backup; 0 is the newest. */
  loseCommits(backupsBack: number): void {
    const index = Math.max(0, this.#backups.length - 1 - backupsBack);
    const backup = this.#backups[index]!;
    this.#backups.length = index + 1;
    this.store.restore(backup);
    this.oracle.commitsLost();
  }

  /** TRUNCATE of the readings, by a person. */
  emptyTable(): void {
    this.store.emptyReadings();
    this.oracle.tableEmptied();
  }

  /** FLUSHALL, by a person or by a restart without persistence. */
  flushRedis(): void {
    this.redis.flush();
    this.neighbour.forget();
    this.oracle.lastValuesCleared();
  }

  #watchStore(): void {
    const { store, oracle } = this;
    const storeBatch = store.storeBatch;
    store.storeBatch = async (batch: BatchToStore, way: StoreWay): Promise<StoreOutcome> => {
      if (readingsOf(batch.readings).some(({ reading }) => reading.status === UNSTORABLE_STATUS)) {
        throw new RowDataError("Cannot store a batch: a row is refused");
      }
      const outcome = await storeBatch(batch, way);
      if (outcome.kind === "stored") {
        oracle.stored(batch, outcome);
      }
      return outcome;
    };
  }

  #watchedCache(): Cache {
    const { redis, oracle } = this;
    return {
      marks: (ids) => redis.marks(ids),
      remember: async (marks: Marks, last: OwnLastValues) => {
        const ids = idTexts(marks.ids);
        const answer = await redis.remember(marks, last);
        const sensorIds = answer.lastValues === "not ours"
          ? []
          : last.values.map(({ sensorId }) => sensorId);
        oracle.remembered(ids, sensorIds);
        return answer;
      },
      setLastComplete: (id) => redis.setLastComplete(id),
      claimLastValues: async (claimant: Claimant) => {
        const before = redis.lastValues.size;
        const claim = await redis.claimLastValues(claimant);
        if (redis.lastValues.size < before) oracle.lastValuesCleared();
        return claim;
      },
      lastValue: (sensorId) => redis.lastValue(sensorId),
    };
  }
}

/** A cluster that tells the oracle of every record and every commit. */
export class WatchedKafka extends MemoryKafka {
  readonly #oracle: Oracle;

  /** Starts empty. */
  constructor(options: MemoryTopicOptions, oracle: Oracle) {
    super(options);
    this.#oracle = oracle;
  }

  /** See {@linkcode MemoryKafka.append}. */
  override append(
    partition: number,
    messages: readonly RecordToAppend[],
    producerId?: bigint,
  ): number[] {
    const offsets = super.append(partition, messages, producerId);
    for (const [index, offset] of offsets.entries()) {
      this.#oracle.arrived({ partition, offset, producerId }, messages[index]!);
    }
    return offsets;
  }

  /** See {@linkcode MemoryKafka.endTransaction}. */
  override endTransaction(partition: number, ends: TransactionEnd): number {
    const { open } = this.partition(partition).transactions;
    const fromOffset = open.get(ends.producerId) ?? Infinity;
    const offset = super.endTransaction(partition, ends);
    this.#oracle.transactionEnded(partition, { ...ends, fromOffset, offset });
    return offset;
  }

  /** See {@linkcode MemoryKafka.commit}. */
  override commit(groupId: string, nextOffsets: ReadonlyMap<number, number>): void {
    super.commit(groupId, nextOffsets);
    this.#oracle.committed(nextOffsets);
  }

  /** See {@linkcode MemoryKafka.appendControl}. */
  override appendControl(partition: number, count: number): void {
    const from = this.partition(partition).next;
    super.appendControl(partition, count);
    const offsets = Array.from({ length: count }, (_, index) => from + index);
    this.#oracle.journal.addControls(this.identity().topicId, partition, offsets);
  }
}
