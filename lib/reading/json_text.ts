/**
 * What `JSON.parse` does not tell about a JSON text: keys that appear twice, depth, and how a number
 * was written. All of it without a JSON parser of our own.
 *
 * Every string of a JSON text has two quotes, and a key that appears twice makes `JSON.parse` drop
 * at least one string, its first key. So an object somewhere has a key twice if and only if the
 * text has more than two quotes for each key and string of the parsed value. Counting quotes costs
 * a fraction of parsing, and the count is exact: in UTF-8 the bytes of `"` and `\` are never part
 * of another character, and in valid JSON a backslash always stands before the character that it
 * escapes.
 *
 * @module
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** The quotes that begin or end a string, if the bytes are valid JSON: those that nothing escapes. */
export function countQuotes(bytes: Uint8Array): number {
  let quotes = 0;
  for (let at = 0; at < bytes.length; at++) {
    if (bytes[at] === BACKSLASH) at++;
    else if (bytes[at] === QUOTE) quotes++;
  }
  return quotes;
}

/**
 * The number of keys and strings in a parsed value, or Infinity if objects and arrays nest deeper
 * than `depthMax`. The depth is bounded here and not by the stack.
 */
export function countStrings(value: unknown, depthMax: number): number {
  if (typeof value === "string") return 1;
  if (typeof value !== "object" || value === null) return 0;
  if (depthMax === 0) return Infinity;
  let strings = Array.isArray(value) ? 0 : Object.keys(value).length;
  for (const inner of Object.values(value)) strings += countStrings(inner, depthMax - 1);
  return strings;
}

/**
 * The first key of a valid JSON text that appears twice in its object, or undefined.
 * Slow; for texts that are known to have one.
 */
export function findDuplicateKey(text: string): string | undefined {
  /** The keys so far of each open object; of an open array, an empty set. */
  const open: Set<string>[] = [];
  for (const [, string, colon, bracket] of text.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|([{[}\]])/g)) {
    if (bracket === "{" || bracket === "[") open.push(new Set());
    else if (bracket !== undefined) open.pop();
    if (string === undefined || colon === undefined) continue;
    const key: string = JSON.parse(string);
    const keys = open.at(-1);
    if (keys?.has(key)) return key;
    keys?.add(key);
  }
  return undefined;
}

/** What V8 passes to a reviver as its third argument; TypeScript does not know it yet. */
interface RevivedSource {
  /** The literal as it was written; only for numbers, strings, booleans and null. */
  readonly source?: string;
}

/**
 * The literal of the number at `key` of the outermost object of a valid JSON text, as it was
 * written, or undefined if there is no such number.
 */
export function numberLiteral(text: string, key: string): string | undefined {
  // Which object is the outermost is known only at the end, so each one's literal is kept.
  const literals = new Map<unknown, string | undefined>();
  const root: unknown = JSON.parse(text, function (
    this: unknown,
    at: string,
    value: unknown,
    context?: RevivedSource,
  ): unknown {
    if (at === key && typeof value === "number") literals.set(this, context?.source);
    return value;
  });
  return literals.get(root);
}
