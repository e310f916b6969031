/**
 * Writes `docs/reading.schema.json` from the schema in `lib/reading_schema.ts`.
 *
 * `deno run --allow-write=docs tools/make_schema.ts`
 *
 * @module
 */
import { schemaDocument } from "../lib/reading_schema.ts";

/** Where the published schema lies. */
export const SCHEMA_FILE: URL = new URL("../docs/reading.schema.json", import.meta.url);

/** The text of the published schema. */
export function schemaText(): string {
  return `${JSON.stringify(schemaDocument(), null, 2)}\n`;
}

if (import.meta.main) {
  await Deno.writeTextFile(SCHEMA_FILE, schemaText());
}
