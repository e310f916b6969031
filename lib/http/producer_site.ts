/**
 * What a producer shows of itself: metrics and health.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { ConfigurationError } from "../errors.ts";
import type { Log } from "../log.ts";
import { METRICS_CONTENT_TYPE, ProducerMetrics } from "../metrics.ts";
import type { ProduceObserver } from "../producer/producer.ts";
import type { Settings } from "../settings/table.ts";
import { guarded } from "./access.ts";
import { healthHandler, metricsHandler } from "./probes.ts";
import { openHttpServer } from "./server.ts";
import { Turns } from "./turns.ts";

/** A site that is served. */
export interface ProducerSite extends AsyncDisposable {
  /** Where it is. */
  readonly url: string;
  /** To be told what happens. */
  readonly observer: Required<ProduceObserver>;
  /** Kafka cannot be written to yet, for this reason; undefined: it can. */
  waiting(error: unknown): void;
}

/**
 * Starts to serve. It waits for no server.
 *
 * @returns undefined if it is switched off, and also if its address cannot be had, which the log
 * tells.
 */
export async function serveProducer(
  { host, allowedHosts, port, token }: Settings["http"] & { readonly port: number },
  parts: { readonly clock: Clock; readonly log: Log },
): Promise<ProducerSite | undefined> {
  if (port === 0) return undefined;
  const observer = new ProducerMetrics(parts.clock);
  const health = healthHandler({
    // Who can answer is alive.
    liveness: () => ({ ok: true, reasons: [] }),
    readiness: () => observer.readiness(),
  });
  const metrics = new Turns().taken(
    "/metrics",
    metricsHandler({ contentType: METRICS_CONTENT_TYPE, text: () => observer.text() }),
  );
  try {
    const server = await openHttpServer({ host, allowedHosts, port }, {
      ...parts,
      handlers: [health, guarded(metrics, token)],
    });
    return {
      url: server.url,
      observer,
      waiting: (error) => observer.waiting(error),
      [Symbol.asyncDispose]: () => server.close(),
    };
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    parts.log.warn("there are no metrics", { error });
    return undefined;
  }
}

/** Tells both what happens. */
export function tellBoth(
  first: Required<ProduceObserver>,
  second: Required<ProduceObserver>,
): Required<ProduceObserver> {
  return {
    taken: (message) => {
      first.taken(message);
      second.taken(message);
    },
    acknowledged: (partition, messages) => {
      first.acknowledged(partition, messages);
      second.acknowledged(partition, messages);
    },
    retrying: (partition, error, sinceMs) => {
      first.retrying(partition, error, sinceMs);
      second.retrying(partition, error, sinceMs);
    },
    held: (partition) => {
      first.held(partition);
      second.held(partition);
    },
  };
}
