/**
 * Asks a program on this computer for its health, as the images' health check does.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { describeError } from "../errors.ts";
import { withTimeLimit } from "../time_limit.ts";

/** Where the program serves. */
export interface HealthAddress {
  /** What it listens on. Linux takes an address that stands for all (0.0.0.0) for the loopback. */
  readonly host: string;
  /** TCP port; 0: it serves nothing. */
  readonly port: number;
}

/** How it came out. */
export interface HealthAnswer {
  /** False: it says that it has to be restarted, or says nothing. */
  readonly ok: boolean;
  /** What it says. */
  readonly text: string;
}

/** Longest wait for the answer, ms. It is less than the images give their check. */
const ANSWER_MS_MAX = 3_000;

/** Asks for `/healthz`. A program that serves nothing is reported as healthy. */
export async function checkHealth(
  { host, port }: HealthAddress,
  clock: Clock,
): Promise<HealthAnswer> {
  if (port === 0) return { ok: true, text: "not served" };
  const name = host.includes(":") ? `[${host}]` : host;
  const ask = async (signal: AbortSignal): Promise<HealthAnswer> => {
    const answer = await fetch(`http://${name}:${port}/healthz`, { signal });
    return { ok: answer.ok, text: await answer.text() };
  };
  try {
    return await withTimeLimit(ask, { clock, limitMs: ANSWER_MS_MAX });
  } catch (error) {
    return { ok: false, text: describeError(error) };
  }
}
