/**
 * Metrics for Prometheus: the only file that imports a metrics library.
 *
 * Counters and gauges are read from the statistics when somebody asks; histograms are told once per
 * batch. A sensor's id is never a label, and there are at most {@linkcode SERIES_MAX} series.
 *
 * @module
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Clock } from "./clock.ts";
import { describeError, SERVER_NAMES } from "./errors.ts";
import type { Health } from "./monitor/health.ts";
import { isFresh, type LivePartition, type LiveStatus, liveStatus } from "./monitor/live_status.ts";
import type { Monitor } from "./monitor/monitor.ts";
import { isThere } from "./monitor/servers.ts";
import type { FlowStatistics } from "./monitor/statistics.ts";
import { type BatchReport, STAGES } from "./consumer/observer.ts";
import type { ProduceObserver } from "./producer/producer.ts";
import { REJECTION_REASONS } from "./reading/rejection.ts";
import { clockText } from "./quantities.ts";

/** Bound of all series of one process. */
export const SERIES_MAX = 200;

/** With more partitions than this, those that are furthest behind are told. */
const PARTITIONS_MAX = 24;

/** The format of the answer. */
export const METRICS_CONTENT_TYPE: string = Registry.PROMETHEUS_CONTENT_TYPE;

/** What the metrics are made of. */
export interface MetricsParts {
  /** Knows this process. */
  readonly statistics: FlowStatistics;
  /** Knows the servers and the topic. */
  readonly monitor: Monitor;
  /** Knows the time. */
  readonly clock: Clock;
}

/** Metrics of a consumer. */
export class ConsumerMetrics {
  readonly #registry = new Registry();
  readonly #messages = new Histogram({
    name: "sensor_ledger_batch_messages",
    help: "Messages in a stored batch.",
    buckets: [1, 10, 50, 100, 500, 1_000, 2_500, 5_000, 10_000],
    registers: [this.#registry],
  });
  readonly #stages = new Histogram({
    name: "sensor_ledger_stage_seconds",
    help: "Duration of one stage of a batch.",
    labelNames: ["stage"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.3, 1, 5],
    registers: [this.#registry],
  });
  readonly #delay = new Histogram({
    name: "sensor_ledger_delay_seconds",
    help: "Time from the oldest message of a batch in Kafka to the commit of its transaction.",
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3_600],
    registers: [this.#registry],
  });

  /** Adds everything that the statistics and the monitor know. Called once. */
  register(parts: MetricsParts): void {
    registerCounters(this.#registry, parts.statistics);
    registerGauges(this.#registry, parts);
    registerLag(this.#registry, parts);
  }

  /** All metrics, in the text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** Counts a stored batch: for `onStored` of the statistics. */
  stored(report: BatchReport): void {
    this.#messages.observe(report.messages);
    for (const stage of STAGES) this.#stages.observe({ stage }, report.stageMs[stage] / 1_000);
    const oldest = report.timestampsMs[0];
    if (oldest !== undefined) {
      this.#delay.observe(Math.max(0, report.storedAtMs - oldest) / 1_000);
    }
  }
}

/** A metric whose values are kept elsewhere and read when somebody asks. */
interface CollectedMetric {
  readonly help: string;
  readonly label?: string;
  readonly values: () => Iterable<readonly [label: string, value: number]>;
}

/** A counter whose value is kept elsewhere. */
function counter(registry: Registry, name: string, metric: CollectedMetric): void {
  new Counter({
    ...describe(registry, name, metric),
    collect(): void {
      this.reset();
      for (const [of, value] of metric.values()) this.inc(labels(metric, of), value);
    },
  });
}

/** A gauge that is measured when somebody asks; what is not told this time is gone. */
function gauge(registry: Registry, name: string, metric: CollectedMetric): void {
  new Gauge({
    ...describe(registry, name, metric),
    collect(): void {
      this.reset();
      // The library resets a gauge without labels to 0, which would be a claim.
      if (metric.label === undefined) this.remove();
      for (const [of, value] of metric.values()) this.set(labels(metric, of), value);
    },
  });
}

function describe(
  registry: Registry,
  name: string,
  { help, label }: CollectedMetric,
): { name: string; help: string; labelNames: string[]; registers: Registry[] } {
  return { name, help, labelNames: label === undefined ? [] : [label], registers: [registry] };
}

function labels({ label }: CollectedMetric, of: string): Record<string, string> {
  return label === undefined ? {} : { [label]: of };
}

function registerCounters(registry: Registry, statistics: FlowStatistics): void {
  const { totals, rejections } = statistics;
  counter(registry, "sensor_ledger_messages_total", {
    help: "Messages by outcome; skipped are offsets without a message.",
    label: "outcome",
    values: () => [
      ["inserted", totals.inserted],
      ["duplicate", totals.duplicates],
      ["dead_letter", totals.deadLetters],
      ["skipped", totals.skipped],
    ],
  });
  counter(registry, "sensor_ledger_dead_letters_total", {
    help: "Dead letters by reason.",
    label: "reason",
    values: () => REJECTION_REASONS.map((reason) => [reason, rejections.get(reason) ?? 0]),
  });
  counter(registry, "sensor_ledger_rebalances_total", {
    help: "Partition assignments by the group, including the first.",
    values: () => [["", totals.rebalances]],
  });
  counter(registry, "sensor_ledger_retries_total", {
    help: "Failed attempts that were retried, by step.",
    label: "step",
    values: () => Object.entries(totals.retries),
  });
}

function registerGauges(registry: Registry, { statistics, monitor }: MetricsParts): void {
  gauge(registry, "sensor_ledger_degraded", {
    help: "1 while a server does not answer, or refuses some calls.",
    label: "server",
    values: () =>
      SERVER_NAMES.map((name) => [name, monitor.servers.states[name].state === "ok" ? 0 : 1]),
  });
  gauge(registry, "sensor_ledger_dead_letter_flood", {
    help: "1 while many of the last messages are dead letters, see DEAD_LETTER_ALARM_SHARE.",
    values: () => [["", statistics.flood === undefined ? 0 : 1]],
  });
  gauge(registry, "sensor_ledger_last_progress_timestamp_seconds", {
    help: "Unix time of the last stored batch; the start of the process if there was none.",
    values: () => [["", (statistics.lastProgressAtMs ?? statistics.startedAtMs) / 1_000]],
  });
  gauge(registry, "sensor_ledger_assigned_partitions", {
    help: "Partitions assigned to this member.",
    values: () => [["", statistics.assignedPartitions.length]],
  });
  gauge(registry, "sensor_ledger_event_loop_drift_seconds", {
    help: "Largest delay of a timer within the last seconds.",
    values: () => [["", monitor.eventLoopDriftMs / 1_000]],
  });
}

/**
 * What comes from looks at the servers. A gauge that is not known is absent: a 0 would be a claim.
 * The time of the last look says how long it has been.
 */
function registerLag(registry: Registry, parts: MetricsParts): void {
  const own = (valueOf: (partition: LivePartition) => number | null) => (): [string, number][] => {
    const { lag, nowMs } = liveStatus(parts);
    return lag.partitions
      .filter((each) => (each.isAssigned || each.isOrphan) && isFresh(each, nowMs))
      .toSorted((a, b) => (b.lagMessages ?? 0) - (a.lagMessages ?? 0))
      .slice(0, PARTITIONS_MAX)
      .flatMap((each): [string, number][] => {
        const value = valueOf(each);
        return value === null ? [] : [[String(each.partition), value]];
      });
  };
  gauge(registry, "sensor_ledger_lag_messages", {
    help: "Messages not stored yet, per partition of this member or without a member. " +
      "Absent while not known, as are the gauges that follow.",
    label: "partition",
    values: own(({ lagMessages }) => lagMessages),
  });
  gauge(registry, "sensor_ledger_lag_seconds", {
    help:
      "Age of the oldest message not stored yet, per partition of this member or without a member.",
    label: "partition",
    values: own(({ lagSeconds }) => lagSeconds),
  });
  gauge(registry, "sensor_ledger_held_back_messages", {
    help: "Messages behind an open transaction, per partition of this member that has any.",
    label: "partition",
    values: own(({ heldBack }) => isFresh(heldBack, parts.clock.now()) ? heldBack!.messages : null),
  });
  gauge(registry, "sensor_ledger_partition_offline", {
    help: "1 for each partition of this member that no broker leads, or whose leader is silent.",
    label: "partition",
    values: () => {
      const { statistics, monitor } = parts;
      if (!isThere(monitor.servers.states.kafka)) return [];
      return statistics.assignedPartitions.filter((each) => monitor.offline.has(each))
        .slice(0, PARTITIONS_MAX)
        .map((each): [string, number] => [String(each), 1]);
    },
  });
  gauge(registry, "sensor_ledger_measured_timestamp_seconds", {
    help: "When the topic and the ledger were last read, since 1970; 0: never.",
    label: "what",
    values: () => {
      const { monitor: { topicSeenMs, ledger }, clock } = parts;
      const dated = (seenMs: number | undefined): number =>
        seenMs === undefined ? 0 : (clock.now() - clock.elapsedMs() + seenMs) / 1_000;
      return [["topic", dated(topicSeenMs)], ["ledger", dated(ledger?.seenMs)]];
    },
  });
  registerTables(registry, () => liveStatus(parts));
}

function registerTables(registry: Registry, status: () => LiveStatus): void {
  gauge(registry, "sensor_ledger_unaccounted_offsets", {
    help: "Offsets that the ledger passed but does not account for, over all topics; must be 0.",
    values: () => {
      const { ledger, nowMs } = status();
      return ledger === null || !isFresh(ledger, nowMs) ? [] : [["", ledger.unaccounted]];
    },
  });
  gauge(registry, "sensor_ledger_open_dead_letters", {
    help: "Dead letters not replayed or discarded yet, of all topics; never more than 10000.",
    values: () => {
      const { openDeadLetters: open, nowMs } = status();
      return open === null || !isFresh(open, nowMs) ? [] : [["", open.count]];
    },
  });
}

/** Others that were acknowledged within this time flow, ms. */
const FLOWS_MS_MAX = 10_000;

/** Metrics and health of a producer, which it tells what happens. */
export class ProducerMetrics implements Required<ProduceObserver> {
  readonly #registry = new Registry();
  readonly #messages = new Counter({
    name: "sensor_ledger_producer_messages_total",
    help: "Messages by state.",
    labelNames: ["outcome"],
    registers: [this.#registry],
  });
  readonly #retries = new Counter({
    name: "sensor_ledger_producer_retries_total",
    help: "Failed sends that were retried.",
    registers: [this.#registry],
  });
  readonly #clock: Clock;
  readonly #troubles = new Map<number, string>();
  /** Partitions for which the source waits. */
  readonly #held = new Set<number>();
  #acknowledgedAtMs = -Infinity;
  readonly #startedAtMs: number;
  /** Why Kafka cannot be written to yet; undefined: it can. */
  #waitsFor: string | undefined = "not asked yet";

  /** Starts at 0. */
  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAtMs = clock.now();
    for (const outcome of ["taken", "acknowledged"]) this.#messages.inc({ outcome }, 0);
  }

  /** See {@linkcode ProduceObserver.taken}. */
  taken(): void {
    this.#messages.inc({ outcome: "taken" });
  }

  /** See {@linkcode ProduceObserver.acknowledged}. */
  acknowledged(partition: number, messages: readonly unknown[]): void {
    this.#messages.inc({ outcome: "acknowledged" }, messages.length);
    this.#troubles.delete(partition);
    this.#held.delete(partition);
    this.#acknowledgedAtMs = this.#clock.elapsedMs();
  }

  /** See {@linkcode ProduceObserver.retrying}. */
  retrying(partition: number, error: unknown): void {
    this.#retries.inc();
    this.#troubles.set(partition, describeError(error));
  }

  /** Kafka cannot be written to yet, for this reason; undefined: it can. */
  waiting(error: unknown): void {
    this.#waitsFor = error === undefined ? undefined : describeError(error);
  }

  /** All metrics, in the text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** See {@linkcode ProduceObserver.held}. */
  held(partition: number): void {
    this.#held.add(partition);
  }

  /**
   * Whether Kafka acknowledges what is sent. A partition that is not acknowledged is a note for as
   * long as the others are: its messages wait in a share of the buffer.
   */
  readiness(): Health {
    if (this.#waitsFor !== undefined) {
      const since = `${clockText(this.#startedAtMs)} UTC`;
      return { ok: false, reasons: [`it has waited for Kafka since ${since}: ${this.#waitsFor}`] };
    }
    const texts = Array.from(
      this.#troubles,
      ([partition, text]) => `partition ${partition} is not acknowledged: ${text}`,
    );
    const quietMs = this.#clock.elapsedMs() - this.#acknowledgedAtMs;
    const flows = this.#held.size === 0 && quietMs < FLOWS_MS_MAX;
    const reasons = flows ? [] : texts;
    const notes = flows && texts.length > 0 ? { notes: texts } : {};
    return { ok: reasons.length === 0, reasons, ...notes };
  }
}
