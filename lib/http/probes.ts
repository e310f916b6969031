/**
 * What machines ask: `/metrics`, `/healthz`, `/readyz`.
 *
 * @module
 */
import type { Health } from "../monitor/health.ts";
import { type HttpAnswer, type HttpHandler, jsonAnswer } from "./exchange.ts";

/** Metrics as text. */
export interface MetricsSource {
  /** Their format. */
  readonly contentType: string;
  /** As they are now. */
  readonly text: () => Promise<string>;
}

/** Makes the handler of `/metrics`. */
export function metricsHandler({ contentType, text }: MetricsSource): HttpHandler {
  return async ({ path }) => {
    if (path !== "/metrics") return undefined;
    const headers = { "content-type": contentType, "cache-control": "no-store" };
    return { status: 200, headers, body: await text() };
  };
}

/** The two answers that a supervisor wants. */
export interface HealthSource {
  /** Whether the process has to be restarted. */
  readonly liveness: () => Health;
  /** Whether it can do its work now. */
  readonly readiness: () => Health;
}

/** Makes the handler of `/healthz` and `/readyz`. */
export function healthHandler({ liveness, readiness }: HealthSource): HttpHandler {
  return ({ path }) => {
    switch (path) {
      case "/healthz":
        return Promise.resolve(healthAnswer(liveness()));
      case "/readyz":
        return Promise.resolve(healthAnswer(readiness()));
      default:
        return Promise.resolve(undefined);
    }
  };
}

function healthAnswer(health: Health): HttpAnswer {
  return jsonAnswer(health, health.ok ? 200 : 503);
}
