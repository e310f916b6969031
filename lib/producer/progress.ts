/**
 * What the producer shows of its work: a line that moves on a terminal, a log line now and then
 * elsewhere, and the sums at the end.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { describeError, TransientError } from "../errors.ts";
import type { MessageToSend } from "../kafka/message.ts";
import type { Log } from "../log.ts";
import { counted, durationText, grouped } from "../quantities.ts";
import { table } from "../table.ts";
import { padTo } from "../text_columns.ts";
import { TroubleLog } from "../trouble_log.ts";
import type { ProduceObserver, ProduceResult } from "./producer.ts";
import type { SimulatedMessage } from "./simulator.ts";

/** How often the line on a terminal changes, ms. */
const TERMINAL_MS = 200;

/** How often the log gets a line where there is no terminal, ms. */
const LOG_MS = 10_000;

/** The rate shown is that of the last milliseconds, this many. */
const RATE_WINDOW_MS = 2_000;

/** How much there is to send, as far as that is known. What is reached first ends the run. */
export interface Goal {
  /** Messages. */
  readonly messages?: number | undefined;
  /** Of the source: how many bytes it has, and how many were read. */
  readonly bytes?: { readonly size: number; read(): number } | undefined;
}

/** Before this nothing can be said of the time that is left, s. */
const ESTIMATE_SECONDS_MIN = 1;

/** Of the names in the sums. */
const NAME_COLUMNS = "acknowledged".length;

/** Where progress is shown. */
export interface ProgressOptions {
  /** Measures rates and the whole time. */
  readonly clock: Clock;
  /** Is notified of a source that waits, and of the counts where there is no terminal. */
  readonly log: Log;
  /** Is told of sends that fail. @default one that writes to the log */
  readonly troubles?: TroubleLog;
  /** Takes the line that moves; undefined: there is no terminal, and the log is used. */
  readonly showLine: ((line: string) => void) | undefined;
  /**
   * What 100 % are.
   *
   * @default unknown
   */
  readonly goal?: Goal;
}

/** Counts what the producer reports, and shows it. */
export interface Progress extends Required<ProduceObserver> {
  /** Shows the counts again and again until `signal` aborts. */
  show(signal: AbortSignal): Promise<void>;
  /** The sums in lines, `result` being what the producer returned. */
  summary(result: ProduceResult): string;
  /** What to say of a run that was stopped before its end. */
  interruption(): string;
}

/** Starts to count. */
export function createProgress(options: ProgressOptions): Progress {
  const { clock, log, showLine, goal = {}, troubles = new TroubleLog(options) } = options;
  const startMs = clock.elapsedMs();
  const kinds = new Map<string, number>();
  const samples = [{ atMs: startMs, acknowledged: 0 }];
  let sent = 0;
  let acknowledged = 0;
  let acknowledgedMs = -Infinity;
  const held = new Set<number>();

  const ratePerSecond = (): number => {
    const nowMs = clock.elapsedMs();
    while (samples.length > 1 && samples[0]!.atMs < nowMs - RATE_WINDOW_MS) samples.shift();
    samples.push({ atMs: nowMs, acknowledged });
    const { atMs, acknowledged: before } = samples[0]!;
    return nowMs > atMs ? Math.round((acknowledged - before) * 1_000 / (nowMs - atMs)) : 0;
  };
  const share = (): number | undefined => {
    const { messages, bytes } = goal;
    const shares = [
      ...(messages === undefined ? [] : [messages === 0 ? 1 : acknowledged / messages]),
      ...(bytes === undefined || bytes.size === 0 || sent === 0
        ? []
        : [bytes.read() / bytes.size * acknowledged / sent]),
    ];
    return shares.length === 0 ? undefined : Math.min(1, Math.max(...shares));
  };
  const secondsLeft = (done: number): number | undefined => {
    const seconds = (clock.elapsedMs() - startMs) / 1_000;
    return done === 0 || seconds < ESTIMATE_SECONDS_MIN
      ? undefined
      : Math.ceil(seconds * (1 - done) / done);
  };
  return {
    taken: (message) => {
      sent++;
      const kind = kindOf(message);
      if (kind !== undefined) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    },
    acknowledged: (partition, messages) => {
      acknowledged += messages.length;
      acknowledgedMs = clock.elapsedMs();
      troubles.left(`partition ${partition}`);
      if (held.delete(partition)) log.info("the source is read again", { partition });
    },
    retrying: (partition, error, sinceMs) => {
      // Others were acknowledged meanwhile: one broker is silent, and not Kafka.
      const met = acknowledgedMs > sinceMs ? new TransientError(describeError(error)) : error;
      troubles.met([`partition ${partition}`], met, { sinceMs, fields: { partition } });
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
        await clock.sleep(showLine === undefined ? LOG_MS : TERMINAL_MS, signal);
        if (signal.aborted) return;
        const perSecond = ratePerSecond();
        const done = share();
        const percent = done === undefined ? undefined : Math.floor(done * 100);
        const left = done === undefined ? undefined : secondsLeft(done);
        if (showLine !== undefined) {
          const counts = `sent ${grouped(sent)}  acknowledged ${grouped(acknowledged)}`;
          const parts = [
            ...(percent === undefined ? [] : [`${percent} %`]),
            ...(left === undefined ? [] : [`${durationText(left)} left`]),
          ];
          showLine([counts, `${grouped(perSecond)}/s`, parts.join(", ")].join("  ").trimEnd());
        } else log.info("progress", { sent, acknowledged, perSecond, percent, secondsLeft: left });
      }
    },
    interruption: () => {
      const { messages } = goal;
      const done = share();
      const reached = messages !== undefined
        ? `${grouped(acknowledged)} of ${counted(messages, "message")} acknowledged`
        : `${counted(acknowledged, "message")} acknowledged` +
          (done === undefined ? "" : `, about ${Math.floor(done * 100)} % of the file`);
      return `Interrupted before the end: ${reached}`;
    },
    summary: (result) => {
      const seconds = (clock.elapsedMs() - startMs) / 1_000;
      const rate = seconds > 0 ? Math.round(result.acknowledged / seconds) : 0;
      const rows = [
        ["sent", result.sent] as const,
        ...[...kinds].map(([kind, count]) => [`  ${kind}`, count] as const),
        ["acknowledged", result.acknowledged] as const,
        ["failed", result.failed] as const,
      ].map(([name, count]) => [padTo(name, NAME_COLUMNS, "end"), grouped(count)]);
      return [...table([], rows), `in ${seconds.toFixed(1)} s, ${grouped(rate)}/s`].join("\n");
    },
  };
}

/** Simulated messages say what they are; lines of a file do not. */
function kindOf(message: MessageToSend & Partial<SimulatedMessage>): string | undefined {
  return message.kind;
}
