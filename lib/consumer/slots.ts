/**
 * A bound on how much is under way at the same time.
 *
 * @module
 */

/**
 * A number of slots; who finds none free waits in the order of coming. Each slot has a tool of its own,
 * which is made at its first use and then used again.
 */
export class Slots<Tool extends object> {
  readonly #make: () => Tool;
  /** Tools of free slots. */
  readonly #free: Tool[] = [];
  readonly #waiting: ((tool: Tool) => void)[] = [];
  #unused: number;

  /**
   * All slots are free.
   *
   * @param count How many may be taken at the same time, 1 or more.
   */
  constructor(count: number, make: () => Tool) {
    this.#unused = count;
    this.#make = make;
  }

  /** Runs `work` in a slot of its own, once there is one. The tool is nobody else's until it ends. */
  async use<T>(work: (tool: Tool) => Promise<T>): Promise<T> {
    const tool = this.#takeFree() ??
      await new Promise<Tool>((resolve) => this.#waiting.push(resolve));
    try {
      return await work(tool);
    } finally {
      // The slot goes from hand to hand, so that nobody can take it in between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(tool);
      else next(tool);
    }
  }

  #takeFree(): Tool | undefined {
    const free = this.#free.pop();
    if (free !== undefined || this.#unused === 0) return free;
    this.#unused--;
    return this.#make();
  }
}
