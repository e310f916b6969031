/**
 * How large a batch of one partition may be: halved when one was too much for the database, doubled
 * again as soon as that looks safe.
 *
 * A batch that takes longer than a statement may take longer at every try, so trying it again changes
 * nothing. Whether it was too large, or had to wait for a lock, cannot be told; so after a halving
 * the times tell: behind a lock that is gone, batches are quick, and the old size is back after a few
 * of them. A database that stays slow never sees a size again that was just too much for it.
 *
 * @module
 */

/** Sizes double only if the doubled batch, by the time of this one, takes half of what was too long. */
const DOUBLED_SHARE_MAX = 0.5;

/** After this many full batches in a row the doubled size is tried whatever the times say. */
const BATCHES_BEFORE_TRYING = 64;

/** The bound of one partition's batches. */
export class BatchSize {
  readonly #messagesMax: number;
  #messages: number;
  #tooLongMs = 0;
  #storedInARow = 0;

  /**
   * Begins with the largest.
   *
   * @param messagesMax 1 or more
   */
  constructor(messagesMax: number) {
    this.#messagesMax = messagesMax;
    this.#messages = messagesMax;
  }

  /** Most messages that the next batch may have. */
  get messages(): number {
    return this.#messages;
  }

  /** Whether batches may be as large as ever. */
  get isWhole(): boolean {
    return this.#messages === this.#messagesMax;
  }

  /** A batch of so many messages was given up after so many ms. */
  wasTooMuch(messages: number, tookMs: number): void {
    this.#messages = Math.max(1, Math.floor(Math.min(messages, this.#messages) / 2));
    this.#tooLongMs = tookMs;
    this.#storedInARow = 0;
  }

  /** A batch of so many messages was stored, in a statement that took so many ms. */
  wasStored(messages: number, tookMs: number): void {
    // One that is not full says nothing of a larger one.
    if (this.isWhole || messages < this.#messages) return;
    this.#storedInARow++;
    const looksSafe = tookMs * 2 <= this.#tooLongMs * DOUBLED_SHARE_MAX;
    if (!looksSafe && this.#storedInARow < BATCHES_BEFORE_TRYING) return;
    this.#messages = Math.min(this.#messagesMax, this.#messages * 2);
    this.#storedInARow = 0;
  }
}
