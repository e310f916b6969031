/**
 * A span for each stored batch, for whoever collects traces: the only file that imports
 * OpenTelemetry's interface.
 *
 * Deno itself exports, if `OTEL_DENO=true` is set when it starts. Else nobody is behind the
 * interface, and a batch costs a microsecond more.
 *
 * @module
 */
import { SpanKind, trace, type Tracer } from "@opentelemetry/api";
import { type BatchReport, type FlowObserver, STAGES } from "./consumer/observer.ts";

/** Where the batches come from. */
export interface TracedFlow {
  /** The topic's name. */
  readonly topic: string;
  /** The consumers' group. */
  readonly groupId: string;
}

/** The scope that the spans stand in. */
export const TRACER_NAME = "sensor-ledger";

/** Makes the spans. No id, no value and no text of a message is in one. */
export class BatchSpans implements Pick<FlowObserver, "stored"> {
  readonly #flow: TracedFlow;
  readonly #tracer: Tracer;

  /** Whether anybody collects is settled when the process starts. */
  constructor(flow: TracedFlow) {
    this.#flow = flow;
    this.#tracer = trace.getTracer(TRACER_NAME);
  }

  /** Makes a span of the time from the first message to the last mark. */
  stored(report: BatchReport): void {
    const { partition, nextOffset, messages, skipped, stageMs, storedAtMs } = report;
    const { topic, groupId } = this.#flow;
    let deadLetters = 0;
    for (const count of report.rejections.values()) deadLetters += count;
    const span = this.#tracer.startSpan(`store ${topic}`, {
      kind: SpanKind.CONSUMER,
      root: true,
      startTime: storedAtMs - stageMs.parse - stageMs.redis - stageMs.store,
      attributes: {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": String(partition),
        "messaging.consumer.group.name": groupId,
        "messaging.batch.message_count": messages,
        "messaging.kafka.offset": nextOffset - messages - skipped,
        "sensor_ledger.next_offset": nextOffset,
        "sensor_ledger.inserted": report.inserted,
        "sensor_ledger.duplicates": report.duplicates,
        "sensor_ledger.dead_letters": deadLetters,
        "sensor_ledger.skipped": skipped,
        ...Object.fromEntries(STAGES.map((stage) => [`sensor_ledger.${stage}_ms`, stageMs[stage]])),
      },
    });
    span.end(storedAtMs + stageMs.mark);
  }
}
