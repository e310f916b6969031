/**
 * What a producer of the campaign knows for sure: each message is noted, and on the disk, before it
 * is sent, and noted again once it was acknowledged. The journal outlives the producer's SIGKILL.
 *
 * One file per producer, a JSON text per line.
 *
 * @module
 */
import type { ExpectedRow } from "./stored.ts";
import type { Truth } from "./generated_messages.ts";
import type { GeneratedMessage } from "./generated_messages.ts";

/** A message as it was noted. */
export interface NotedMessage extends GeneratedMessage {
  /** Counts the messages of one journal from 0. */
  readonly number: number;
  /** When it was first sent, ms since 1970. */
  readonly sentAtMs: number;
  /** When its acknowledgement was noted, ms since 1970; undefined: perhaps it is in the topic. */
  readonly acknowledgedAtMs: number | undefined;
}

/** A line of the file: messages that are about to be sent, or the numbers of acknowledged ones. */
type Line =
  | { readonly atMs: number; readonly sent: readonly NotedForm[] }
  | { readonly atMs: number; readonly acknowledged: readonly number[] };

/** A message in JSON: bytes in Base64, the one large number as text. */
interface NotedForm {
  readonly number: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly truth:
    | { readonly kind: "bad"; readonly reason: string }
    | {
      readonly kind: "reading";
      readonly row: Omit<ExpectedRow, "timestampUs"> & { readonly timestampUs: string };
    };
}

/** Writes a journal. */
export class JournalWriter implements Disposable {
  readonly #file: Deno.FsFile;

  /** Opens the file to go on after its end. */
  constructor(path: string) {
    this.#file = Deno.openSync(path, { create: true, append: true });
    // A line that was cut by a kill is closed; it was not on the disk, so nothing of it was sent.
    this.#write("\n");
  }

  /** Returns once the messages are on the disk. */
  noteSent(messages: readonly (GeneratedMessage & { readonly number: number })[]): void {
    this.#writeLine({ atMs: Date.now(), sent: messages.map(formOf) });
    this.#file.syncDataSync();
  }

  /** Returns once the numbers are on the disk. */
  noteAcknowledged(numbers: readonly number[]): void {
    this.#writeLine({ atMs: Date.now(), acknowledged: numbers });
    this.#file.syncDataSync();
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }

  #writeLine(line: Line): void {
    this.#write(`${JSON.stringify(line)}\n`);
  }

  #write(text: string): void {
    let rest = new TextEncoder().encode(text);
    while (rest.length > 0) rest = rest.subarray(this.#file.writeSync(rest));
  }
}

/** Reads a journal, by rising number; an absent file is an empty one. */
export async function readJournal(path: string): Promise<readonly NotedMessage[]> {
  const text = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  });
  const noted = new Map<number, NotedMessage>();
  for (const line of text.split("\n").map(parse)) {
    if (line === undefined) continue;
    if ("sent" in line) {
      for (const form of line.sent) {
        if (noted.has(form.number)) continue;
        noted.set(form.number, {
          ...messageOf(form),
          sentAtMs: line.atMs,
          acknowledgedAtMs: undefined,
        });
      }
    } else {
      for (const number of line.acknowledged) {
        const message = noted.get(number);
        if (message === undefined) throw new Error(`${path}: ${number} was never sent`);
        if (message.acknowledgedAtMs !== undefined) continue;
        noted.set(number, { ...message, acknowledgedAtMs: line.atMs });
      }
    }
  }
  return [...noted.values()].sort((a, b) => a.number - b.number);
}

/** Undefined for a line that a kill has cut. */
function parse(line: string): Line | undefined {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function formOf(message: GeneratedMessage & { readonly number: number }): NotedForm {
  const { number, key, value, truth } = message;
  return { number, key, value: value && value.toBase64(), truth: truthForm(truth) };
}

function truthForm(truth: Truth): NotedForm["truth"] {
  if (truth.kind === "bad") return truth;
  return { kind: "reading", row: { ...truth.row, timestampUs: String(truth.row.timestampUs) } };
}

function messageOf({ number, key, value, truth }: NotedForm): GeneratedMessage & {
  readonly number: number;
} {
  return {
    number,
    key,
    value: value === null ? null : Uint8Array.fromBase64(value),
    truth: truth.kind === "bad" ? truth : {
      kind: "reading",
      row: { ...truth.row, timestampUs: BigInt(truth.row.timestampUs) },
    },
  };
}
