/**
 * Whether long work lets others have their turn.
 *
 * @module
 */
import { setImmediate } from "node:timers";

/** How often the event loop turned while `work` was done: long work is done in many pieces. */
export async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let isDone = false;
  const other = (): void => {
    turns++;
    if (!isDone) setImmediate(other);
  };
  setImmediate(other);
  await work();
  isDone = true;
  await new Promise<void>((resolve) => setImmediate(() => resolve()));
  return turns;
}
