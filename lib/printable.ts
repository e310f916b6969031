/**
 * Text from outside, made safe to look at: a dead letter can hold anything, and a terminal obeys
 * what it is sent.
 *
 * @module
 */

/**
 * Writes as `\u{…}` whatever is not a letter, mark, number, punctuation, symbol or space: control
 * characters and with them all terminal escapes, line ends, invisible and bidirectional controls,
 * lone surrogates.
 */
export function printable(text: string): string {
  return text.replace(
    /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

/** The same for bytes. Where they are no UTF-8, each byte outside of printable ASCII is `\x{…}`. */
export function printableBytes(bytes: Uint8Array): string {
  const text = utf8Of(bytes);
  if (text !== undefined) return printable(text);
  let shown = "";
  for (const byte of bytes) {
    shown += byte >= 0x20 && byte < 0x7f
      ? String.fromCharCode(byte)
      : `\\x{${byte.toString(16).padStart(2, "0")}}`;
  }
  return shown;
}

/** The text of the bytes with its byte order mark, if any; undefined if they are no UTF-8. */
export function utf8Of(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * JSON with a space behind each comma outside of strings and nowhere else, so that it can wrap. It is
 * not parsed, for numbers would lose digits.
 */
export function spacedJson(text: string): string {
  const spaced = text.replace(
    /("(?:[^"\\]|\\.)*")|\s+|(,)/g,
    (_, string: string = "", comma: string = "") => comma === "" ? string : ", ",
  );
  return printable(spaced);
}

/** JSON in printable ASCII: what is outside of it stands inside a string, escaped. */
export function asciiJson(value: unknown, form: "one line" | "indented" = "one line"): string {
  return JSON.stringify(value, undefined, form === "one line" ? 0 : 2).replace(
    /[^\x20-\x7e\n]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
