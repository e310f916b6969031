import assert from "node:assert/strict";
import { NoAnswerError } from "../lib/errors.ts";
import { BatchRefusedError, classifyPostgresError } from "../lib/postgres/pool.ts";

/** An error as the driver makes it from the server's answer. */
function serverError(code: string, fields: Record<string, string> = {}): Error {
  return Object.assign(new Error("the server's words"), { code, severity: "ERROR", ...fields });
}

const ROW = { table: "sensor_events" };

Deno.test("classifyPostgresError() gives each SQLSTATE its class", async (t) => {
  const cases: [name: string, error: Error, className: string, text: RegExp][] = [
    ["text with U+0000", serverError("22021"), "RowDataError", /22021/],
    ["number out of range", serverError("22003"), "RowDataError", /22003/],
    ["bad date", serverError("22008"), "RowDataError", /22008/],
    ["null in a column", serverError("23502", ROW), "RowDataError", /23502/],
    ["check of a column", serverError("23514", ROW), "RowDataError", /23514/],
    ["more than one row", serverError("21000"), "RowDataError", /21000/],
    ["sums of the ledger", serverError("23514", { table: "ledger" }), "TransientError", /ALARM/],
    [
      "dead letter too long",
      serverError("23514", { table: "dead_letters" }),
      "TransientError",
      /ALARM/,
    ],
    ["duplicate key", serverError("23505", ROW), "TransientError", /ALARM, unexpected/],
    ["wrong password", serverError("28P01"), "ConfigurationError", /POSTGRES_PASSWORD/],
    ["not let in from here", serverError("28000"), "ConfigurationError", /pg_hba/],
    ["no such database", serverError("3D000"), "ConfigurationError", /POSTGRES_DB/],
    ["no such table", serverError("42P01"), "ConfigurationError", /deno task migrate/],
    ["no such function", serverError("42883"), "ConfigurationError", /deno task migrate/],
    ["no right", serverError("42501"), "ConfigurationError", /Grant/],
    ["another syntax", serverError("42601"), "ConfigurationError", /PostgreSQL 15/],
    [
      "foreign table",
      serverError("SL002", { hint: "Rename it" }),
      "ConfigurationError",
      /Rename it/,
    ],
    ["connection failure", serverError("08006"), "TransientError", /08006/],
    ["deadlock", serverError("40P01"), "TransientError", /40P01/],
    ["serialization", serverError("40001"), "TransientError", /40001/],
    ["disk full", serverError("53100"), "TransientError", /53100/],
    ["too many connections", serverError("53300"), "TransientError", /53300/],
    ["lock timeout", serverError("55P03"), "TransientError", /55P03/],
    ["cancelled", serverError("57014"), "TooMuchError", /57014/],
    ["out of memory", serverError("53200"), "TooMuchError", /53200/],
    ["shut down by an administrator", serverError("57P01"), "TransientError", /57P01/],
    ["starting up", serverError("57P03"), "TransientError", /57P03/],
    ["read-only server", serverError("25006"), "TransientError", /25006/],
    ["disk error", serverError("58030"), "TransientError", /58030/],
    ["corrupt data", serverError("XX001"), "TransientError", /ALARM, unexpected/],
    ["unknown", serverError("ZZ999"), "TransientError", /ALARM, unexpected/],
    [
      "refused by the network",
      Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" }),
      "TransientError",
      /PostgreSQL refuses the connection$/,
    ],
    [
      "a system's error of five letters",
      Object.assign(new Error("write EPIPE"), { code: "EPIPE" }),
      "TransientError",
      /PostgreSQL closed the connection$/,
    ],
    [
      "timeout of the driver",
      new Error("Query read timeout"),
      "TooMuchError",
      /timeout\. .*POSTGRES_STATEMENT_TIMEOUT_MS/,
    ],
  ];
  for (const [name, error, className, text] of cases) {
    await t.step(name, () => {
      const classified = classifyPostgresError("store a batch", error);
      assert.equal(classified.name, className);
      assert.match(classified.message, /^Cannot store a batch: /);
      assert.match(classified.message, text);
      assert.equal(classified.cause, error);
    });
  }
});

Deno.test("classifyPostgresError() tells a server that is away from one that says something", async (t) => {
  const rows: readonly [string, Error, boolean][] = [
    ["refused by the network", new Error("connect ECONNREFUSED"), true],
    ["connection failure", serverError("08006"), true],
    ["shut down by an administrator", serverError("57P01"), true],
    ["starting up", serverError("57P03"), true],
    ["disk full", serverError("53100"), false],
    ["too many connections", serverError("53300"), false],
  ];
  for (const [name, error, isAway] of rows) {
    await t.step(name, () => {
      const classified = classifyPostgresError("store a batch", error);
      assert.equal(classified instanceof NoAnswerError, isAway);
      if (classified instanceof NoAnswerError) assert.equal(classified.server, "postgres");
    });
  }
});

Deno.test("classifyPostgresError() raises no alarm for what is expected to pass", () => {
  for (const code of ["08006", "40P01", "40001", "53100", "55P03", "57014", "57P01", "25006"]) {
    const { message } = classifyPostgresError("wait", serverError(code));
    assert.doesNotMatch(message, /ALARM/, code);
  }
});

Deno.test("classifyPostgresError() keeps what a refused batch is told by", () => {
  for (const code of ["SL001", "SL003", "SL004", "SL005"]) {
    const error = classifyPostgresError("store", serverError(code, { detail: "3,17" }));
    assert.ok(error instanceof BatchRefusedError, code);
    assert.deepEqual([error.code, error.detail], [code, "3,17"]);
  }
});

Deno.test("classifyPostgresError() takes a row that is there already for an answer in a copy alone", () => {
  for (const code of ["23505", "0A000", "22P03", "42809"]) {
    const copied = classifyPostgresError("store", serverError(code, ROW), { purpose: "copy" });
    assert.ok(copied instanceof BatchRefusedError, code);
    assert.ok(
      !(classifyPostgresError("store", serverError(code, ROW)) instanceof BatchRefusedError),
    );
  }
  const short = { where: "COPY sensor_events, line 1, column unit" };
  const ofCopy = classifyPostgresError("store", serverError("08P01", short), { purpose: "copy" });
  assert.ok(ofCopy instanceof BatchRefusedError);
  const ofPooler = classifyPostgresError("store", serverError("08P01"), { purpose: "copy" });
  assert.equal(ofPooler.name, "TransientError");
});

Deno.test("classifyPostgresError() finds no row's data while logging in or migrating", () => {
  for (const purpose of ["connect", "migrate"] as const) {
    for (const code of ["22023", "22P02", "23514", "21000"]) {
      const error = classifyPostgresError("begin", serverError(code, ROW), { purpose });
      assert.notEqual(error.name, "RowDataError", `${code}, ${purpose}`);
      assert.match(error.message, /^Cannot begin: .*the server's words/);
    }
  }
});
