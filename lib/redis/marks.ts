/**
 * Marks as columns: what says of a reading that it is stored. A batch has thousands, and none of them
 * is worth an object.
 *
 * @module
 */
import { putUuid, uuidText } from "../reading/uuid.ts";

/** Bytes of a reading's id. */
export const ID_BYTES = 16;

/** Marks of stored readings: keys `reading:<id>`, which expire. */
export interface Marks {
  /** How many there are. */
  readonly count: number;
  /** 16 bytes each. */
  readonly ids: Uint8Array;
  /**
   * ASCII, one after the other. A value names the data set, the place in the topic and the content,
   * see `mark.ts`.
   */
  readonly values: Uint8Array;
  /** Where each value ends. */
  readonly ends: Uint32Array;
}

/** A mark as texts. */
export interface MarkText {
  /** The reading's id, lower case. */
  readonly id: string;
  /** ASCII. */
  readonly value: string;
}

/** The columns of these marks. */
export function marksOf(marks: readonly MarkText[]): Marks {
  let text = "";
  const ends = Uint32Array.from(marks, ({ value }) => (text += value).length);
  const ids = idsOf(marks.map(({ id }) => id));
  return { count: marks.length, ids, values: new TextEncoder().encode(text), ends };
}

/** The marks in these columns. */
export function markTexts({ ids, values, ends, count }: Marks): readonly MarkText[] {
  const text = new TextDecoder().decode(values);
  return idTexts(ids.subarray(0, count * ID_BYTES)).map((id, index) => ({
    id,
    value: text.slice(ends[index - 1] ?? 0, ends[index]),
  }));
}

/** No marks: for whoever writes last values alone. */
export const NO_MARKS: Marks = marksOf([]);

/** 16 bytes for each of these ids. */
export function idsOf(texts: readonly string[]): Uint8Array {
  const ids = new Uint8Array(texts.length * ID_BYTES);
  for (const [index, text] of texts.entries()) putUuid(text, ids, index * ID_BYTES);
  return ids;
}

/** The texts of ids of 16 bytes each, lower case. */
export function idTexts(ids: Uint8Array): readonly string[] {
  return Array.from(
    { length: ids.length / ID_BYTES },
    (_, index) => uuidText(ids, index * ID_BYTES),
  );
}
