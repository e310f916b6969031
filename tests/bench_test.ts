/**
 * The parts of the bench that compute: its messages, the rows of the floor, and what is read out
 * of a process's files. Speed is measured by `deno task bench` and asserted nowhere.
 *
 * @module
 */
import assert from "node:assert/strict";
import { taskArguments, usageOf } from "../tools/bench/child_program.ts";
import { copyBatches } from "../tools/bench/copy_floor.ts";
import { figuresText, median, type Run, runsText } from "../tools/bench/figures.ts";
import { floorBatches } from "../tools/bench/floor.ts";
import { ratiosOf } from "../tools/bench/flow.ts";
import { growthFigures, type GrowthPoint } from "../tools/bench/growth.ts";
import { growthChart, tickStep } from "../tools/bench/growth_chart.ts";
import { scalingFigures } from "../tools/bench/scaling.ts";
import { withBadMessages, workload, type WorkloadOptions } from "../tools/bench/workload.ts";
import { partitionOf } from "../lib/kafka/partitioner.ts";
import { parseReading } from "../lib/reading/reading.ts";

const START_MS = Date.parse("2026-11-24T10:00:00Z");
const OPTIONS: WorkloadOptions = {
  messages: 20_000,
  sensors: 100,
  ids: "v4",
  repeats: 0.1,
  startMs: START_MS,
};
const LIMITS = { nowMs: START_MS + 60_000, futureSkewSecondsMax: 0, pastDaysMax: 1 };

Deno.test("workload() makes valid messages that say what their readings say", async (t) => {
  for (const ids of ["v4", "v7"] as const) {
    await t.step(ids, () => {
      for (const { key, value, reading } of workload({ ...OPTIONS, ids, messages: 1_000 })) {
        const parsed = parseReading(value, LIMITS);
        assert.equal(parsed.kind, "reading");
        assert.deepEqual(parsed.kind === "reading" && parsed.reading, reading);
        assert.equal(key, reading.sensor_id);
        assert.equal(reading.unique_reading_id[14], ids[1]);
      }
    });
  }
});

Deno.test("workload() writes as the original producer does, about 330 bytes each", () => {
  let bytes = 0;
  for (const { value } of workload(OPTIONS)) bytes += value.length;
  assert.ok(Math.abs(bytes / OPTIONS.messages - 330) < 15, `${bytes / OPTIONS.messages}`);
  const [first] = workload(OPTIONS);
  assert.match(new TextDecoder().decode(first!.value), /^\{"unique_reading_id": "[^"]{36}", "sen/);
});

Deno.test("workload() repeats one message of ten to the byte, and no sensor is new", () => {
  const textOf = new Map<string, string>();
  const sensors = new Set<string>();
  let repeats = 0;
  for (const { key, value, reading } of workload(OPTIONS)) {
    const text = new TextDecoder().decode(value);
    const earlier = textOf.get(reading.unique_reading_id);
    if (earlier !== undefined) {
      assert.equal(text, earlier);
      repeats++;
    }
    textOf.set(reading.unique_reading_id, text);
    sensors.add(key);
  }
  assert.ok(Math.abs(repeats / OPTIONS.messages - OPTIONS.repeats) < 0.01, `${repeats}`);
  assert.equal(sensors.size, OPTIONS.sensors);
});

Deno.test("workload() is the same each time", () => {
  const options = { ...OPTIONS, messages: 100 };
  assert.deepEqual([...workload(options)], [...workload(options)]);
});

Deno.test("workload() with v7 ids rises with time", () => {
  const options = { ...OPTIONS, ids: "v7", repeats: 0, messages: 1_000 } as const;
  const times = Array.from(
    workload(options),
    ({ reading }) => reading.unique_reading_id.slice(0, 13),
  );
  assert.deepEqual(times, times.toSorted());
  assert.notEqual(times[0], times.at(-1));
});

Deno.test("floorBatches() has each message once, sorted by id, at its place in Kafka", () => {
  const options = { ...OPTIONS, messages: 12_000 };
  const batches = floorBatches(workload(options));
  assert.deepEqual(batches.map(({ rows }) => rows), [5_000, 5_000, 2_000]);
  const columns = batches.map((batch) => batch.columns.map((text) => text.slice(1, -1).split(",")));
  for (const [ids] of columns) assert.deepEqual(ids, ids!.toSorted());

  const sent = columns.flatMap((batch) =>
    batch[0]!.map((id, row) => [id, batch[1]![row], batch[10]![row], batch[11]![row]].join(" "))
  );
  const next = new Map<number, number>();
  const expected = Array.from(workload(options), ({ key, reading }) => {
    const partition = partitionOf(key, 6);
    const offset = next.get(partition) ?? 0;
    next.set(partition, offset + 1);
    return [reading.unique_reading_id, key, partition, offset].join(" ");
  });
  assert.deepEqual(sent.toSorted(), expected.toSorted());
});

Deno.test("withBadMessages() puts one behind so many of each partition, and leaves the others", () => {
  const options = { ...OPTIONS, messages: 3_000 };
  const all = [...withBadMessages(workload(options), 100)];
  assert.deepEqual(all.filter((message) => "reading" in message), [...workload(options)]);
  const bad = all.filter((message) => !("reading" in message));
  assert(bad.length >= 3_000 / 100 - 6 && bad.length <= 3_000 / 100, `${bad.length}`);
  for (const { value } of bad) assert.equal(parseReading(value, LIMITS).kind, "rejection");
});

Deno.test("copyBatches() has each reading once, as COPY takes it", () => {
  const batches = copyBatches(workload(OPTIONS));
  const rows = batches.reduce((sum, batch) => sum + batch.rows, 0);
  const ids = new Set(Array.from(workload(OPTIONS), ({ reading }) => reading.unique_reading_id));
  assert.equal(rows, ids.size);
  for (const { bytes } of batches) {
    assert.equal(bytes.subarray(0, 6).toString(), "PGCOPY");
    // Number of columns, length of the id, the id.
    assert.equal(bytes.subarray(19, 25).toString("hex"), "000c00000010");
    assert.equal(bytes.subarray(-2).toString("hex"), "ffff");
  }
});

function run(name: string, perSecond: number[]): Run {
  const serversCpuSeconds = { PostgreSQL: 2, Redis: 1, Kafka: 0.5 };
  return {
    name,
    rounds: perSecond.map((each) => {
      return { perSecond: each, serversCpuSeconds, programCpuSeconds: 1, peakRssMb: 200 };
    }),
  };
}

Deno.test("runsText() shows the rate beside what each process used", () => {
  const floor = { perSecond: 9, serversCpuSeconds: { PostgreSQL: 2, Redis: 0, Kafka: 0 } };
  const text = runsText([run("drain", [100, 300]), { name: "floor", rounds: [floor] }]);
  assert.deepEqual(text.split("\n"), [
    "       messages/s  program  PostgreSQL  Redis  Kafka  all CPU s  peak MB    rounds",
    "drain         200     1.00        2.00   1.00   0.50       4.50      200  100  300",
    "floor           9        -        2.00   0.00   0.00       2.00        -         9",
  ]);
});

Deno.test("ratiosOf() sets the drain against each floor, and each other drain against it", () => {
  const runs = [run("drain", [100]), run("drain, x", [50]), run("floor, y", [200])];
  assert.deepEqual(ratiosOf(runs).map(({ name, rounds }) => [name, rounds]), [
    ["drain, x / drain", [0.5]],
    ["drain / floor, y", [0.5]],
  ]);
  assert.deepEqual(ratiosOf(runs.slice(1)), []);
});

Deno.test("taskArguments() are words of a command line, however many lines it has", () => {
  for (const task of ["consume", "produce"] as const) {
    const words = taskArguments(task);
    assert.equal(words[0], "run");
    for (const word of words) assert.match(word, /^[\w=.-]+$/);
    assert(!words.includes("--env-file"));
  }
});

Deno.test("median() of an odd and of an even number of values", async (t) => {
  const table: [name: string, values: number[], want: number][] = [
    ["one", [5], 5],
    ["odd", [9, 1, 10], 9],
    ["even", [4, 1, 100, 2], 3],
  ];
  for (const [name, values, want] of table) {
    await t.step(name, () => assert.equal(median(values), want));
  }
  assert.throws(() => median([]), { name: "RangeError", message: /median of nothing/ });
});

Deno.test("figuresText() shows the median and each round in columns", () => {
  const text = figuresText([
    { name: "drain, messages/s", rounds: [61_000, 59_000.4, 64_000], digits: 0 },
    { name: "ratio", rounds: [0.5], digits: 2 },
  ]);
  assert.deepEqual(text.split("\n"), [
    "                   median                  rounds",
    "drain, messages/s  61,000  61,000  59,000  64,000",
    "ratio                0.50                    0.50",
  ]);
});

Deno.test("usageOf() reads CPU time and peak memory", async (t) => {
  const stat = (name: string): string =>
    `4242 (${name}) S 1 4242 4242 0 -1 4194560 900 0 3 0 250 75 8 9 20 0 11 0 12345 1 2`;
  const status = "Name:\tdeno\nVmPeak:\t  999999 kB\nVmHWM:\t  300000 kB\nVmRSS:\t  100 kB\n";
  await t.step("of a running process", () => {
    assert.deepEqual(usageOf(stat("deno"), status), {
      cpuSeconds: 3.25,
      peakRssBytes: 307_200_000,
    });
  });
  await t.step("whatever its name is", () => {
    assert.equal(usageOf(stat("a (b) c 1 2 3"), status)?.cpuSeconds, 3.25);
  });
  await t.step("of one that has ended: none", () => {
    assert.equal(usageOf(stat("deno"), "Name:\tdeno\nState:\tZ (zombie)\n"), undefined);
  });
});

function growthPoint(ids: "v4" | "v7", rows: number, rowsPerSecond: number[]): GrowthPoint {
  const bytes = { table: 2 ** 20, idIndex: 2 ** 21, sensorIndex: 2 ** 22 };
  return { ids, rows, rowsPerSecond, walBytesPerRow: rowsPerSecond.map((each) => each / 2), bytes };
}

Deno.test("growthFigures() sets each version of ids against the other, round by round", () => {
  const figures = growthFigures([
    growthPoint("v4", 1_000_000, [100, 200]),
    growthPoint("v4", 30_000_000, [50, 50]),
    growthPoint("v7", 1_000_000, [150, 400]),
  ]);
  const roundsOf = (name: string): readonly number[] | undefined =>
    figures.find((figure) => figure.name === name)?.rounds;
  assert.deepEqual(roundsOf("v7 / v4 at 1,000,000 rows"), [1.5, 2]);
  assert.equal(roundsOf("v7 / v4 at 30,000,000 rows"), undefined);
  assert.deepEqual(roundsOf("  index on ids, MiB"), [2]);
});

Deno.test("scalingFigures() sets each number of consumers against the first", () => {
  const figures = scalingFigures([
    { consumers: 1, messagesPerSecond: [100, 200], cpuSecondsPer100k: [1, 1] },
    { consumers: 2, messagesPerSecond: [150, 200], cpuSecondsPer100k: [1, 1] },
  ]);
  const ratios = figures.filter(({ name }) => name === "  against 1");
  assert.deepEqual(ratios.map(({ rounds }) => rounds), [[1, 1], [1.5, 1]]);
});

Deno.test("growthChart() draws the medians, the spread, and nothing outside of the picture", () => {
  const svg = growthChart([
    growthPoint("v4", 1_000_000, [40_000, 50_000, 60_000]),
    growthPoint("v4", 30_000_000, [10_000, 20_000, 20_000]),
    growthPoint("v7", 1_000_000, [60_000, 60_000, 60_000]),
    growthPoint("v7", 30_000_000, [59_000, 60_000, 61_000]),
  ]);
  const circles = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].slice(2);
  const [x, y] = [1, 2].map((group) => circles.map((match) => Number(match[group])));
  assert.equal(circles.length, 8);
  // The ticks end at 80,000 rows a second, 190 high, 250 at the foot.
  assert.deepEqual(y!.slice(0, 4), [131.3, 202.5, 107.5, 107.5]);
  assert.deepEqual(x!.slice(0, 4), [70, 300, 70, 300]);
  assert.match(svg, /class="range" stroke="#d9480f" d="M70 155V107.5M300 226.3V202.5"/);
  assert.match(svg, /aria-label="v4, 1 million: 50000 rows a second, 25000 bytes of log a row; v4/);
  for (const each of [...x!, ...y!]) assert(each > 0 && each < 720);
  assert.throws(() => growthChart([growthPoint("v4", 1, [])]), { name: "RangeError" });
});

Deno.test("tickStep() is the least of 1, 2, 5, 10, … that needs at most five steps", () => {
  const table: [max: number, step: number][] = [
    [1, 1],
    [5, 1],
    [6, 2],
    [11, 5],
    [26, 10],
    [72_000, 20_000],
    [101_000, 50_000],
  ];
  for (const [max, step] of table) assert.equal(tickStep(max), step, `${max}`);
});
