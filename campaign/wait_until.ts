/**
 * Waiting for something outside that tells nobody when it happens.
 *
 * @module
 */
import { systemClock } from "../lib/clock.ts";

/** How often it is looked at, ms. */
const LOOK_MS = 100;

/**
 * Asks again and again until the answer is yes. An error is a no.
 *
 * @param what completes the sentence "Not seen within 5000 ms: …"
 * @throws {Error} If the answer is not yes within `limitMs`.
 */
export async function waitUntil(
  what: string,
  limitMs: number,
  holds: () => Promise<boolean>,
): Promise<void> {
  const startMs = systemClock.elapsedMs();
  let cause: unknown;
  while (!await holds().catch((error) => (cause = error, false))) {
    if (systemClock.elapsedMs() - startMs > limitMs) {
      throw new Error(`Not seen within ${limitMs} ms: ${what}`, { cause });
    }
    await systemClock.sleep(LOOK_MS);
  }
}
