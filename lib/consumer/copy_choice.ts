/**
 * Which way a partition's next batch is stored: copied, which is twice as cheap, or compared row by
 * row. A copy that meets a repeat has been for nothing: its batch is stored a second time, by
 * comparing. So a copy is tried only where none is expected, and after one in vain not at once again.
 *
 * @module
 */
import type { StoreWay } from "../postgres/store.ts";

/** Longest pause after copies in vain, in batches. */
const PAUSE_BATCHES_MAX = 64;

/** A partition without a repeat among so many messages is expected to have none in the next batch. */
const MESSAGES_WITHOUT_REPEAT_MIN = 100_000;

/** What is known of a batch before it is stored. */
export interface CopyProspect {
  /** Whether some ids may be stored already, with other content. */
  readonly hasSuspects: boolean;
  /** Whether the marks were answered, so that most repeats are left out. */
  readonly areMarksKnown: boolean;
}

/** The choice for one partition. */
export class CopyChoice {
  /** Length of the last pause; 0: there is no reason for one. */
  #pauseBatches = 0;
  /** Batches that the pause still lasts. */
  #batchesLeft = 0;
  #messagesWithoutRepeat = 0;

  /** How to store the next batch. Each call counts as one batch. */
  next({ hasSuspects, areMarksKnown }: CopyProspect): StoreWay {
    if (this.#batchesLeft > 0) {
      this.#batchesLeft--;
      return "compare";
    }
    const areRepeatsRare = this.#messagesWithoutRepeat >= MESSAGES_WITHOUT_REPEAT_MIN;
    return !hasSuspects && (areMarksKnown || areRepeatsRare) ? "copy" : "compare";
  }

  /** A copy met an id that is stored already. The pause is twice as long each time. */
  wasInVain(): void {
    this.#pauseBatches = Math.min(PAUSE_BATCHES_MAX, Math.max(1, this.#pauseBatches * 2));
    this.#batchesLeft = this.#pauseBatches;
    this.#messagesWithoutRepeat = 0;
  }

  /** A batch was stored in this way. A copy that went well halves the next pause. */
  wasStored(
    way: StoreWay,
    counts: { readonly inserted: number; readonly duplicates: number },
  ): void {
    const { inserted, duplicates } = counts;
    if (way === "copy" && inserted > 0) this.#pauseBatches = Math.floor(this.#pauseBatches / 2);
    if (duplicates > 0) this.#messagesWithoutRepeat = 0;
    else this.#messagesWithoutRepeat += inserted;
  }
}
