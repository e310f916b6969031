/**
 * A bound on how much is under way at the same time.
 *
 * @module
 */

/** A number of slots; who finds none free waits in the order of coming. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /**
   * All slots are free.
   *
   * @param count How many may be taken at the same time, 1 or more.
   */
  constructor(count: number) {
    this.#free = count;
  }

  /** Runs `work` in a slot of its own, once there is one. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      // The slot goes from hand to hand, so that nobody can take it in between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
