import assert from "node:assert/strict";
import { type SqlPurpose, sqlstateRule } from "../lib/postgres/sqlstates.ts";

type Row = [code: string, purpose: SqlPurpose, kind: string, cure: RegExp];

const NONE = /^$/;

/** What a person reads about each code that somebody has met, and about those beside it. */
const ROWS: readonly Row[] = [
  ["08006", "run", "away", NONE],
  ["08P01", "run", "away", /pooler/],
  ["08P01", "connect", "away", /pooler/],
  ["0A000", "run", "transient", /PostgreSQL 15/],
  ["21000", "run", "row_data", NONE],
  ["22003", "run", "row_data", NONE],
  ["22021", "run", "row_data", NONE],
  ["22023", "run", "configuration", /DATABASE_URL/],
  ["22P03", "run", "unexpected", /store_batch/],
  ["22023", "connect", "configuration", /DATABASE_URL/],
  ["22012", "migrate", "configuration", /correct it/],
  ["23502", "run", "row_data", NONE],
  ["23503", "run", "unexpected", /constraint that this program did not create/],
  ["23505", "run", "unexpected", /constraint that this program did not create/],
  ["23505", "migrate", "configuration", /row .* prevents it/],
  ["23514", "run", "row_data", NONE],
  ["25006", "run", "transient", /POSTGRES_HOST to the primary/],
  ["25P02", "run", "unexpected", NONE],
  ["25P03", "run", "transient", NONE],
  ["26000", "run", "transient", /pool/],
  ["28000", "connect", "configuration", /pg_hba\.conf.*POSTGRES_TLS/],
  ["28P01", "connect", "configuration", /^Check POSTGRES_USER and POSTGRES_PASSWORD$/],
  ["3D000", "connect", "configuration", /POSTGRES_DB/],
  ["3F000", "run", "configuration", /search_path/],
  ["3F000", "migrate", "configuration", /search_path/],
  ["40001", "run", "transient", NONE],
  ["40P01", "run", "transient", NONE],
  ["42501", "run", "configuration", /^Grant POSTGRES_USER/],
  ["42501", "migrate", "configuration", /CREATE on the schema/],
  ["42501", "connect", "configuration", /right to connect/],
  ["42601", "run", "configuration", /PostgreSQL 15/],
  ["42601", "migrate", "configuration", /PostgreSQL 15/],
  ["42703", "run", "configuration", /older or newer.*deno task migrate/],
  ["42883", "run", "configuration", /older or newer.*deno task migrate/],
  ["42703", "migrate", "configuration", /as the migrations left them/],
  ["42704", "connect", "configuration", /options in DATABASE_URL/],
  ["42P01", "run", "configuration", /^Run: deno task migrate\. .*POSTGRES_SCHEMA/],
  ["42P01", "migrate", "configuration", /as the migrations left them/],
  ["42P07", "migrate", "configuration", /rename or drop it/],
  ["42P05", "run", "transient", /pool/],
  ["53100", "run", "transient", /disk is full/],
  ["53200", "run", "too_much", /BATCH_MESSAGES_MAX/],
  ["53300", "connect", "transient", /max_connections.*POSTGRES_POOL_MAX/],
  ["53400", "run", "transient", /limit/],
  ["54000", "run", "too_much", /BATCH_MESSAGES_MAX/],
  ["55P03", "run", "transient", /lock/],
  ["57014", "run", "too_much", /POSTGRES_STATEMENT_TIMEOUT_MS/],
  ["57014", "migrate", "transient", /pg_stat_activity/],
  ["57P01", "run", "away", NONE],
  ["57P03", "connect", "away", /starting, stopping or recovering/],
  ["57P04", "run", "transient", /dropped/],
  ["58030", "run", "transient", /disk/],
  ["P0001", "run", "unexpected", /trigger/],
  ["XX000", "connect", "unexpected", /log.*pooler.*POSTGRES_USER/],
  ["XX001", "run", "unexpected", /backup/],
  ["ZZ999", "run", "unexpected", NONE],
];

Deno.test("sqlstateRule() has a kind and a cure for each code and purpose", async (t) => {
  for (const [code, purpose, kind, cure] of ROWS) {
    await t.step(`${code}, ${purpose}`, () => {
      const rule = sqlstateRule(code, purpose);
      assert.equal(rule.kind, kind);
      assert.match(rule.cure, cure);
    });
  }
});

/** All classes of PostgreSQL's appendix, and the codes of the table. */
const CODES = [
  ..."00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F"
    .split(" "),
  ..."40 42 44 53 54 55 57 58 72 F0 HV P0 XX".split(" "),
].map((group) => `${group}000`).concat(ROWS.map(([code]) => code));

Deno.test("sqlstateRule() never tells a migration to migrate, nor finds a row's data outside of run", () => {
  for (const code of CODES) {
    const migrating = sqlstateRule(code, "migrate");
    const connecting = sqlstateRule(code, "connect");
    assert.doesNotMatch(migrating.cure, /deno task migrate/, code);
    assert.notEqual(migrating.kind, "row_data", code);
    assert.notEqual(connecting.kind, "row_data", code);
  }
});

Deno.test("sqlstateRule() writes cures as parts of a longer text", () => {
  for (const code of CODES) {
    for (const purpose of ["connect", "migrate", "run"] as const) {
      assert.match(sqlstateRule(code, purpose).cure, /^$|^[A-Z].*[^.]$/, code);
    }
  }
});
