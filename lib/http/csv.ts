/**
 * A sensor's rows as CSV, page after page, so that a download of any length costs no memory.
 *
 * @module
 */
import type { Pages, RowKey, StoredRow, TimeRange } from "../postgres/pages.ts";

/** Rows read at a time. */
const PAGE_ROWS = 500;

/** Rows of one download, at most. */
export const CSV_ROWS_MAX = 1_000_000;

const HEAD = "unique_reading_id,timestamp,sensor_type,value,unit,status,battery_level\r\n";

/**
 * The rows of a sensor in a range by rising time, in pieces.
 *
 * @returns once the first page is there: what fails before can still be refused properly.
 */
export async function historyCsv(
  pages: Pick<Pages, "rows">,
  of: { readonly sensorId: string; readonly range: TimeRange },
): Promise<AsyncIterable<string>> {
  const nextPage = (after?: RowKey): Promise<readonly StoredRow[]> =>
    pages.rows(of.sensorId, of.range, { after, limit: PAGE_ROWS });
  return pieces(await nextPage(), nextPage);
}

async function* pieces(
  first: readonly StoredRow[],
  nextPage: (after?: RowKey) => Promise<readonly StoredRow[]>,
): AsyncGenerator<string> {
  yield HEAD;
  let rows = first;
  for (let written = 0; rows.length > 0 && written < CSV_ROWS_MAX; written += PAGE_ROWS) {
    yield rows.map(csvLine).join("");
    if (rows.length < PAGE_ROWS) return;
    rows = await nextPage(rows.at(-1));
  }
}

function csvLine(row: StoredRow): string {
  const cells = [
    row.id,
    row.timestamp,
    cell(row.sensorType),
    String(row.value),
    cell(row.unit),
    cell(row.status),
    String(row.batteryLevel),
  ];
  return `${cells.join(",")}\r\n`;
}

/**
 * A text as a cell. One that a spreadsheet would take for a formula gets an apostrophe in front:
 * the texts come from whoever can write to the topic.
 */
function cell(text: string): string {
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
