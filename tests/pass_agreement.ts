/**
 * Holds the two ways from bytes into columns together: what `readInto` takes must be what
 * `parseReading` takes, to the bit.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type ParseLimits, parseReading } from "../lib/reading/reading.ts";
import { ID_BYTES, ReadingColumns } from "../lib/reading/reading_columns.ts";
import { readInto } from "../lib/reading/reading_pass.ts";
import { READING_FIELDS } from "../lib/reading/reading_schema.ts";
import { utf8 } from "./sample_message.ts";

/** What stands in front of a message and behind it, as if it went on there. */
const BEFORE = utf8('{"unique_reading_id":"x","unit":"');
const AFTER = utf8('1","unit":"C","latitude":1,"longitude":2},"status":"x"}}}');

const fast = new ReadingColumns(2);
const general = new ReadingColumns(1);

/**
 * True if the pass takes the message.
 *
 * @throws {AssertionError} if it takes what `parseReading` rejects, or reads it in another way.
 */
export function passTakes(message: Uint8Array, limits: ParseLimits): boolean {
  // As the last message of a memory that ends with it, and in the midst of others.
  const isTaken = takes(message, { from: 0, to: message.length }, limits);
  const place = { from: BEFORE.length, to: BEFORE.length + message.length };
  const amidst = new Uint8Array(place.to + AFTER.length);
  amidst.set(BEFORE);
  amidst.set(message, place.from);
  amidst.set(AFTER, place.to);
  assert.equal(takes(amidst, place, limits), isTaken, "what stands around the message matters");
  return isTaken;
}

function takes(
  bytes: Uint8Array,
  { from, to }: { readonly from: number; readonly to: number },
  limits: ParseLimits,
): boolean {
  fast.begin(bytes);
  // What the row was used for before must not matter.
  fast.isDecoded[1] = 1;
  fast.nulls[1] = -1;
  if (!readInto(fast, 1, bytes, from, to, limits)) return false;
  const message = bytes.subarray(from, to);
  const parsed = parseReading(message, limits);
  const shown = new TextDecoder().decode(message);
  assert.ok(parsed.kind === "reading", `${shown} is taken, but ${JSON.stringify(parsed)}`);
  general.begin(new Uint8Array());
  general.put(0, parsed);
  assert.deepEqual(cellsOf(fast, 1), cellsOf(general, 0), shown);
  return true;
}

/** All that a row says, its digest included. */
function cellsOf(columns: ReadingColumns, row: number): Record<string, unknown> {
  const cells: Record<string, unknown> = {
    nulls: columns.nulls[row],
    digest: columns.digestText(row),
  };
  for (const [field, { column, kind }] of READING_FIELDS.entries()) {
    if (kind === "id") cells[column] = columns.ids.slice(row * ID_BYTES, (row + 1) * ID_BYTES);
    else if (kind === "time") cells[column] = columns.eventTimesUs[row];
    else if (kind !== "text") cells[column] = columns.numbers[field]![row];
    else {
      const [from, to] = [columns.textsFrom[field]![row], columns.textsTo[field]![row]];
      cells[column] = columns.textBytes(row).slice(from, to);
    }
  }
  return cells;
}
