/**
 * What the producer shows of its work: a line that moves on a terminal, a log line now and then
 * elsewhere, and the sums at the end.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { describeError } from "../errors.ts";
import type { MessageToSend } from "../kafka/message.ts";
import type { Log } from "../log.ts";
import { ToldOnce } from "../told_once.ts";
import type { ProduceObserver, ProduceResult } from "./producer.ts";
import type { SimulatedMessage } from "./simulator.ts";

/** How often the line on a terminal changes, ms. */
const TERMINAL_MS = 200;

/** How often the log gets a line where there is no terminal, ms. */
const LOG_MS = 10_000;

/** The rate shown is that of the last milliseconds, this many. */
const RATE_WINDOW_MS = 2_000;

/** Where progress is shown. */
export interface ProgressOptions {
  /** Measures rates and the whole time. */
  readonly clock: Clock;
  /** Is told of trouble, and of the counts where there is no terminal. */
  readonly log: Log;
  /** Takes the moving line; undefined: there is no terminal, and the log is used. */
  readonly writeToTerminal: ((text: string) => void) | undefined;
}

/** Counts what the producer reports, and shows it. */
export interface Progress extends Required<ProduceObserver> {
  /** Shows the counts again and again until `signal` aborts. */
  show(signal: AbortSignal): Promise<void>;
  /** The sums in one line, `result` being what the producer returned. */
  summary(result: ProduceResult): string;
}

/** Starts to count. */
export function createProgress({ clock, log, writeToTerminal }: ProgressOptions): Progress {
  const startMs = clock.elapsedMs();
  const kinds = new Map<string, number>();
  const samples = [{ atMs: startMs, acknowledged: 0 }];
  let sent = 0;
  let acknowledged = 0;
  const told = new ToldOnce(clock);
  const held = new Set<number>();

  const ratePerSecond = (): number => {
    const nowMs = clock.elapsedMs();
    while (samples.length > 1 && samples[0]!.atMs < nowMs - RATE_WINDOW_MS) samples.shift();
    samples.push({ atMs: nowMs, acknowledged });
    const { atMs, acknowledged: before } = samples[0]!;
    return nowMs > atMs ? Math.round((acknowledged - before) * 1_000 / (nowMs - atMs)) : 0;
  };
  return {
    taken: (message) => {
      sent++;
      const kind = kindOf(message);
      if (kind !== undefined) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    },
    acknowledged: (partition, messages) => {
      acknowledged += messages.length;
      const over = told.left(partition);
      if (over !== undefined) log.info("Kafka acknowledges again", { partition });
      if (held.delete(partition)) log.info("the source is read again", { partition });
    },
    retrying: (partition, error) => {
      const cause = describeError(error);
      told.met(cause, [partition], () => {
        log.warn("Kafka does not acknowledge; sending again", { partition, cause });
      });
    },
    held: (partition) => {
      if (held.has(partition)) return;
      held.add(partition);
      log.warn(
        "the source is paused: this partition's share of the buffer is full. Nothing is lost, and " +
          "nothing is sent to the other partitions until it is acknowledged",
        { partition },
      );
    },
    show: async (signal) => {
      while (!signal.aborted) {
        await clock.sleep(writeToTerminal === undefined ? LOG_MS : TERMINAL_MS, signal);
        const rate = ratePerSecond();
        if (writeToTerminal !== undefined) {
          // The cursor goes back to the start of the line, so that a log line takes its place.
          const counts = `sent ${grouped(sent)}  acknowledged ${grouped(acknowledged)}`;
          writeToTerminal(`\x1b[K${counts}  ${grouped(rate)}/s\r`);
        } else if (!signal.aborted) log.info("progress", { sent, acknowledged, perSecond: rate });
      }
      writeToTerminal?.("\x1b[K");
    },
    summary: (result) => {
      const seconds = (clock.elapsedMs() - startMs) / 1_000;
      const rate = seconds > 0 ? Math.round(result.acknowledged / seconds) : 0;
      const parts = [...kinds].map(([kind, count]) => `${kind} ${count}`).join(", ");
      return `sent ${result.sent}, acknowledged ${result.acknowledged}, failed ${result.failed}` +
        ` in ${seconds.toFixed(1)} s (${rate}/s)${parts === "" ? "" : `: ${parts}`}`;
    },
  };
}

/** Simulated messages say what they are; lines of a file do not. */
function kindOf(message: MessageToSend & Partial<SimulatedMessage>): string | undefined {
  return message.kind;
}

/** 1234567 as 1,234,567. */
function grouped(count: number): string {
  return count.toLocaleString("en-US");
}
