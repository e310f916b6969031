/**
 * A dead letter for a reader: its bytes as text that is safe to look at.
 *
 * @module
 */
import { type DeadLetterRow, PREVIEW_BYTES_MAX } from "../postgres/pages.ts";
import { printable, printableBytes, utf8Of } from "../printable.ts";

/** A dead letter as the API gives it. */
export interface DeadLetterJson extends Omit<DeadLetterRow, "payload"> {
  /** The beginning of the value as text, escaped; null: the message had no value. */
  readonly text: string | null;
  /** Whether the value goes on. */
  readonly isCut: boolean;
}

/** Turns a row into its JSON form. */
export function deadLetterJson({ payload, ...row }: DeadLetterRow): DeadLetterJson {
  const isCut = row.payloadBytes > PREVIEW_BYTES_MAX;
  return {
    ...row,
    resolutionNote: row.resolutionNote === null ? null : printable(row.resolutionNote),
    text: payload === null ? null : printableBytes(isCut ? wholeCharacters(payload) : payload),
    isCut,
  };
}

/** The most bytes of a character that a cut can leave without their end. */
const CHARACTER_BYTES_LEFT_MAX = 3;

/** Without the beginning of a character at the end, if what is left is UTF-8 then. */
function wholeCharacters(bytes: Uint8Array): Uint8Array {
  for (let left = 0; left <= CHARACTER_BYTES_LEFT_MAX; left++) {
    const shorter = bytes.subarray(0, bytes.length - left);
    if (utf8Of(shorter) !== undefined) return shorter;
  }
  return bytes;
}
