/**
 * Marks as texts, and the columns that say the same: for fakes and for tests.
 *
 * @module
 */
import { putUuid, uuidText } from "../lib/reading/uuid.ts";
import { ID_BYTES, type Marks } from "../lib/redis/marks.ts";

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
