/**
 * What machines ask: `/metrics`, `/healthz`, `/readyz`.
 *
 * @module
 */
import type { Health } from "../monitor/health.ts";
import { type HttpAnswer, type HttpHandler, jsonAnswer } from "./exchange.ts";

/** Where the answers come from. */
export interface ProbeParts {
  /** The metrics as text, and their format. */
  readonly metrics: { readonly contentType: string; readonly text: () => Promise<string> };
  /** Whether the process has to be restarted. */
  readonly liveness: () => Health;
  /** Whether it can do its work now. */
  readonly readiness: () => Health;
}

/** Makes the handler. */
export function probeHandler(parts: ProbeParts): HttpHandler {
  return async ({ path }) => {
    if (path === "/healthz") return healthAnswer(parts.liveness());
    if (path === "/readyz") return healthAnswer(parts.readiness());
    if (path !== "/metrics") return undefined;
    const headers = { "content-type": parts.metrics.contentType, "cache-control": "no-store" };
    return { status: 200, headers, body: await parts.metrics.text() };
  };
}

function healthAnswer(health: Health): HttpAnswer {
  return jsonAnswer(health, health.ok ? 200 : 503);
}
