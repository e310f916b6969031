/**
 * A batch, and what can be decided about it by looking at it alone: which messages repeat each
 * other, and which reading is the newest of its sensor.
 *
 * @module
 */
import type { RowDataError } from "../errors.ts";
import type { Messages } from "../kafka/messages.ts";
import type { LedgerStep } from "../postgres/store.ts";
import { ID_BYTES, type ReadingColumns, sortById } from "../reading/reading_columns.ts";
import { SENSOR_ID } from "../reading/reading_schema.ts";
import type { PlaceScope } from "./place.ts";

/** Consecutive messages of one partition, stored in one transaction. */
export interface Batch extends PlaceScope, LedgerStep {
  /** Ascending by offset; offsets without a message are counted as skipped. */
  readonly messages: Messages;
  /** Why PostgreSQL refused the data of the batch's one message, which becomes a dead letter. */
  readonly refusal?: RowDataError;
}

/** Offsets of the batch without a message. */
export function skippedIn({ nextOffset, fromOffset, messages }: Batch): number {
  return nextOffset - fromOffset - messages.length;
}

/**
 * The readings of a batch by id. All that carry the same id are a group; mostly there is one in it.
 * Groups are numbered in the order of their ids, which is the order in which the store needs rows.
 */
export interface Groups {
  /** How many. */
  readonly count: number;
  /** Rows of the columns, sorted by (id, offset). */
  readonly rows: Uint32Array;
  /** Where each group begins in `rows`, and where the last one ends. */
  readonly starts: Uint32Array;
}

/** Groups rows by id; `rows` is sorted in place. */
export function groupById(columns: ReadingColumns, rows: Uint32Array): Groups {
  sortById(columns, rows);
  const starts = new Uint32Array(rows.length + 1);
  let count = 0;
  for (let at = 0; at < rows.length; at++) {
    const isOther = at === 0 || columns.compareIds(rows[at]!, rows[at - 1]!) !== 0;
    if (isOther) starts[count++] = at;
  }
  starts[count] = rows.length;
  return { count, rows, starts };
}

/** The row of the group that has the lowest offset. */
export function firstOf({ rows, starts }: Groups, group: number): number {
  return rows[starts[group]!]!;
}

/** The rows of a group, by rising offset. */
export function rowsOf({ rows, starts }: Groups, group: number): Uint32Array {
  return rows.subarray(starts[group], starts[group + 1]);
}

/** True if all readings of the group say the same. */
export function isUnanimous(columns: ReadingColumns, groups: Groups, group: number): boolean {
  const first = firstOf(groups, group);
  for (let at = groups.starts[group]! + 1; at < groups.starts[group + 1]!; at++) {
    if (!columns.hasSameContent(first, groups.rows[at]!)) return false;
  }
  return true;
}

/** The ids of all groups, 16 bytes each. */
export function idsOf(columns: ReadingColumns, groups: Groups): Uint8Array {
  const ids = new Uint8Array(groups.count * ID_BYTES);
  for (let group = 0; group < groups.count; group++) {
    columns.copyId(firstOf(groups, group), ids, group * ID_BYTES);
  }
  return ids;
}

/** Most of a table that may be taken, so that whoever looks for a place finds it soon. */
const TABLE_SHARE_MAX = 0.5;
const NONE = -1;

/** Of each sensor the row of its newest reading, by (event time, id). */
export function newestBySensor(columns: ReadingColumns, rows: Uint32Array): readonly number[] {
  const places = 2 ** Math.ceil(Math.log2(1 + rows.length / TABLE_SHARE_MAX));
  const newest = new Int32Array(places).fill(NONE);
  const taken: number[] = [];
  for (const row of rows) {
    let place = columns.hashText(row, SENSOR_ID) & (places - 1);
    while (newest[place] !== NONE && !columns.hasSameText(newest[place]!, row, SENSOR_ID)) {
      place = (place + 1) & (places - 1);
    }
    if (newest[place] === NONE) taken.push(place);
    else if (!isNewer(columns, row, newest[place]!)) continue;
    newest[place] = row;
  }
  return taken.map((place) => newest[place]!);
}

function isNewer(columns: ReadingColumns, row: number, known: number): boolean {
  const later = columns.eventTimesUs[row]! - columns.eventTimesUs[known]!;
  return later > 0 || (later === 0 && columns.compareIds(row, known) > 0);
}
