/**
 * What the Kafka in memory remembers of the leaders of a partition's log.
 *
 * @module
 */
import { type EpochEnd, UNKNOWN_EPOCH } from "../lib/kafka/message.ts";

/** The leaders that wrote what a log keeps, one epoch each. */
export class LogLeaders {
  /** Ascending. The last one leads. */
  #leaders: { readonly epoch: number; readonly from: number }[] = [{ epoch: 0, from: 0 }];

  /** The epoch of the one that leads. */
  get epoch(): number {
    return this.#leaders.at(-1)!.epoch;
  }

  /** Another broker leads. Nobody remembers a leader that wrote nothing, or of whom nothing is left. */
  elect(next: number): void {
    const epoch = this.epoch + 1;
    this.#leaders = [...this.#leaders.filter(({ from }) => from < next), { epoch, from: next }];
  }

  /** What lies below `low` is deleted. The oldest leader remembered is that of the first message kept. */
  keepFrom(low: number): void {
    const at = this.#leaders.findLastIndex(({ from }) => from <= low);
    if (at >= 0) this.#leaders.splice(0, at + 1, { epoch: this.#leaders[at]!.epoch, from: low });
  }

  /** Where an epoch ends in a log that goes to `next`; undefined: it has not come yet. */
  endOf(epoch: number, next: number): EpochEnd | undefined {
    const wanted = epoch === UNKNOWN_EPOCH ? this.epoch : epoch;
    if (wanted > this.epoch) return undefined;
    const at = this.#leaders.findLastIndex((leader) => leader.epoch <= wanted);
    return {
      leaderEpoch: this.#leaders[at]?.epoch ?? wanted,
      endOffset: this.#leaders[at + 1]?.from ?? next,
    };
  }
}
