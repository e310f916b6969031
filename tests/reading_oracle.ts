/**
 * A slow second opinion on what a valid message is, written from the contract in words. It shares no
 * code with `lib/` and judges by other means: a JSON reader of its own and regular expressions.
 *
 * @module
 */

const RFC_3339 =
  /^(\d{4})-(\d\d)-(\d\d)[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?([Zz]|[+-](0\d|1[0-5]):[0-5]\d)$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const SENSOR_ID = /^[\w.:-]{1,64}$/;

/** What the oracle's JSON reader has seen of a valid JSON text. */
interface JsonFacts {
  hasDuplicateKey: boolean;
  depth: number;
  /** The literal of the outermost object's `value`. */
  valueLiteral: string;
}

/** A reading's instant in whole milliseconds by way of `Date`, or NaN for no valid timestamp. */
export function oracleEventTimeMs(timestamp: string): number {
  const match = RFC_3339.exec(timestamp);
  if (match === null) return NaN;
  const [, year, month, day] = match.map(Number) as [number, number, number, number];
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (year === 0 || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return NaN;
  return Date.parse(timestamp.toUpperCase().replace(/(\.\d{1,3})\d*/, "$1"));
}

/** True if the contract allows the message; event times are not compared with now. */
export function oracleAccepts(bytes: Uint8Array): boolean {
  if (bytes.length > 65_536) return false;
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    return false;
  }
  const facts = readJson(text);
  if (facts.hasDuplicateKey || facts.depth > 32) return false;
  return isObject(value) && hasValidFields(value, facts.valueLiteral);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hasValidFields(fields: Record<string, unknown>, valueLiteral: string): boolean {
  const { unique_reading_id: id, sensor_id: sensor, location, timestamp, value } = fields;
  const battery = fields["battery_level"];
  return typeof id === "string" && UUID.test(id) &&
    typeof sensor === "string" && SENSOR_ID.test(sensor) &&
    ["sensor_type", "unit", "status"].every((name) => isShortText(fields[name])) &&
    isObject(location) && isWithin(location["latitude"], 90) &&
    isWithin(location["longitude"], 180) &&
    typeof timestamp === "string" && !Number.isNaN(oracleEventTimeMs(timestamp)) &&
    isWithin(value, Number.MAX_VALUE) && isExact(valueLiteral) &&
    isWithin(battery, 100) && battery >= 0 && battery % 1 === 0;
}

function isShortText(value: unknown): boolean {
  if (typeof value !== "string") return false;
  const characters = [...value].map((character) => character.codePointAt(0)!);
  return characters.length >= 1 && characters.length <= 64 &&
    characters.every((code) =>
      code >= 0x20 && (code < 0x7f || code > 0x9f) && (code < 0xd800 || code > 0xdfff)
    );
}

function isWithin(value: unknown, bound: number): value is number {
  return typeof value === "number" && value >= -bound && value <= bound;
}

function isExact(literal: string): boolean {
  if (/[.eE]/.test(literal)) return true;
  const integer = BigInt(literal);
  return integer >= -9007199254740992n && integer <= 9007199254740992n;
}

/** Reads a text that is known to be valid JSON, token by token. */
function readJson(text: string): JsonFacts {
  const facts: JsonFacts = { hasDuplicateKey: false, depth: 0, valueLiteral: "" };
  const tokens = text.match(/"(?:\\.|[^"\\])*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  const open: (string[] | "array")[] = [];
  let key = "";
  tokens.forEach((token, at) => {
    if (token === "{" || token === "[") {
      open.push(token === "{" ? [] : "array");
      facts.depth = Math.max(facts.depth, open.length);
    } else if (token === "}" || token === "]") {
      open.pop();
    } else if (tokens[at + 1] === ":") {
      key = JSON.parse(token);
      const keys = open.at(-1) as string[];
      if (keys.includes(key)) facts.hasDuplicateKey = true;
      keys.push(key);
    } else if (tokens[at - 1] === ":" && key === "value" && open.length === 1) {
      facts.valueLiteral = token;
    }
  });
  return facts;
}
