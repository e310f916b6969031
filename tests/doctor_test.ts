import assert from "node:assert/strict";
import { logFindings } from "../lib/doctor/command.ts";
import {
  ANSWERS_MS_MAX,
  type DoctorParts,
  doctorReport,
  doctorText,
  examine,
  isHealthy,
} from "../lib/doctor/doctor.ts";
import { type Finding, findingsOf } from "../lib/doctor/finding.ts";
import { ConfigurationError, TransientError } from "../lib/errors.ts";
import { createLog } from "../lib/log.ts";
import { readSettings } from "../lib/settings/read.ts";
import { GROUPS } from "../lib/settings/table.ts";
import { columnsOf } from "../lib/text_columns.ts";
import { KAFKA, lineAt, POSTGRES, REDIS } from "./doctor_facts.ts";
import { FakeClock } from "./fake_clock.ts";

const SETTINGS = readSettings(GROUPS, { env: () => undefined });

const kafka = findingsOf("kafka");
const FINDINGS: readonly Finding[] = [
  kafka.ok("brokers", "3"),
  kafka.warning("topic", "a bell\x07 rings", "Stop it."),
  findingsOf("redis").failure("reach", "nobody answers", ""),
];

function partsOf(changes: Partial<DoctorParts> = {}): DoctorParts & { readonly clock: FakeClock } {
  const clock = new FakeClock();
  return {
    kafka: () => Promise.resolve(KAFKA),
    postgres: () => Promise.resolve(POSTGRES),
    pooler: () => Promise.resolve("none"),
    pending: () => Promise.resolve([]),
    readAsReader: () => Promise.resolve(),
    ledger: () => Promise.resolve([lineAt(0, 95), lineAt(1, 5)]),
    dataSetId: () => Promise.resolve("data-set"),
    redis: () => Promise.resolve(REDIS),
    signal: new AbortController().signal,
    ...changes,
    clock,
  };
}

function subjectsOf(findings: readonly Finding[]): readonly string[] {
  return [...new Set(findings.map(({ subject }) => subject))];
}

Deno.test("examine() finds nothing wrong with servers that are well", async () => {
  const findings = await examine(partsOf(), SETTINGS);
  assert.deepEqual(findings.filter(({ state }) => state !== "ok"), []);
  const subjects = ["settings", "kafka", "postgres", "redis", "clocks"];
  assert.deepEqual(subjectsOf(findings), subjects);
  assert(isHealthy(findings));
});

Deno.test("examine() tells of a server that is away, and judges the others", async (t) => {
  const text = "Cannot connect: ECONNREFUSED";
  const away = () => Promise.reject(new TransientError(text));
  for (const name of ["kafka", "postgres", "redis"] as const) {
    await t.step(name, async () => {
      const findings = await examine(partsOf({ [name]: away }), SETTINGS);
      const found = findings.filter(({ subject }) => subject === name);
      assert.equal(found.length, 1);
      assert.deepEqual([found[0]!.state, found[0]!.text], ["failure", text]);
      assert.match(found[0]!.cure, /start it, or correct the address/);
      assert.equal(subjectsOf(findings).length, 5);
      assert(!isHealthy(findings));
    });
  }
  await t.step("all of them", async () => {
    const findings = await examine(
      partsOf({ kafka: away, postgres: away, pending: away, ledger: away, redis: away }),
      SETTINGS,
    );
    assert.deepEqual(subjectsOf(findings), ["settings", "kafka", "postgres", "redis"]);
  });
});

Deno.test("examine() leaves the cure to an error that names one", async () => {
  const postgres = () =>
    Promise.reject(new ConfigurationError("Cannot log in. Check the password"));
  const findings = await examine(partsOf({ postgres }), SETTINGS);
  assert.equal(findings.find(({ subject }) => subject === "postgres")?.cure, "");
});

Deno.test("examine() does not wait for a server that is silent", async (t) => {
  const silent = () => new Promise<never>(() => {});
  await t.step("for longer than the limit", async () => {
    const parts = partsOf({ kafka: silent });
    const examining = examine(parts, SETTINGS);
    await parts.clock.advance(ANSWERS_MS_MAX);
    const found = (await examining).find(({ subject }) => subject === "kafka");
    assert.match(found?.text ?? "", /no answer within 20000 ms/);
    assert.equal(parts.clock.sleeping, 0);
  });
  await t.step("once it is to stop", async () => {
    const stop = new AbortController();
    const parts = partsOf({ redis: silent, signal: stop.signal });
    const examining = examine(parts, SETTINGS);
    stop.abort();
    const found = (await examining).find(({ subject }) => subject === "redis");
    assert.match(found?.text ?? "", /stopped waiting/);
  });
});

Deno.test("doctorText() is a line for each finding, the failures last, and their sums", () => {
  assert.deepEqual(doctorText(FINDINGS.toReversed()).split("\n"), [
    "ok       kafka  brokers  3",
    "warning  kafka  topic    a bell\\u{7} rings. Stop it.",
    "failure  redis  reach    nobody answers",
    "",
    "ok: 1, warnings: 1, failures: 1",
  ]);
});

Deno.test("doctorText() is coloured where it matters, and fits its terminal", () => {
  const text = "nobody listens there, which is a pity: ".repeat(4);
  const lines = doctorText([...FINDINGS, { ...FINDINGS[2]!, text }], {
    columns: 60,
    colours: "coloured",
  }).split("\n");
  assert.equal(lines[0], "\x1b[32mok\x1b[0m       kafka  brokers  3");
  assert(lines[3]!.startsWith("\x1b[1;31mfailure\x1b[0m  redis  reach    nobody"));
  assert.match(lines[4]!, /^ {25}\w/, "goes on below its beginning");
  assert.equal(
    lines.at(-1),
    "ok: 1, \x1b[33mwarnings: 1\x1b[0m, \x1b[1;31mfailures: 2\x1b[0m",
  );
  for (const line of lines) assert(columnsOf(line) <= 60, line);
  assert.match(
    doctorText(FINDINGS.slice(0, 1), { colours: "coloured" }),
    /warnings: 0, failures: 0$/,
  );
});

Deno.test("doctorReport() says the same to machines", () => {
  const report = doctorReport(FINDINGS);
  assert.deepEqual(report, { ok: false, failures: 1, warnings: 1, findings: FINDINGS });
  assert.equal(doctorReport(FINDINGS.slice(0, 2)).ok, true);
});

Deno.test("logFindings() logs what is not ok, a line each", () => {
  const lines: string[] = [];
  const log = createLog({
    level: "debug",
    format: "json",
    write: (line) => lines.push(line),
    clock: new FakeClock(),
  });
  logFindings(FINDINGS, log);
  const events = lines.map((line) => JSON.parse(line)).map(({ time: _, ...event }) => event);
  assert.deepEqual(events, [
    { level: "warn", message: "doctor: kafka, topic: a bell\x07 rings", cure: "Stop it." },
    { level: "error", message: "doctor: redis, reach: nobody answers" },
  ]);
});
