import assert from "node:assert/strict";
import { PLANTED_BUGS } from "../simulation/planted_bugs.ts";
import { type Find, runJob } from "../simulation/run_seeds.ts";
import { Servers } from "../simulation/servers.ts";
import { VirtualProcess, VirtualTime } from "../simulation/virtual_time.ts";
import { runWorld } from "../simulation/world.ts";
import { batchOf } from "./contracts/store.ts";

/** Seeds in the unit tests. `deno task simulate` runs thousands. */
const SEEDS = 200;

/** What batches must have met: else the silence of these worlds would say nothing about it. */
const MET = [
  "copy: stored",
  "copy: stored, reply lost",
  "copy: stored, late",
  "copy: repeated",
  "copy: fenced",
  "copy: cut",
  "compare: stored",
  "compare: conflicts",
];

Deno.test("the program stands every world of the first seeds", async () => {
  const summary = await runJob({
    firstSeed: 0,
    endSeed: SEEDS,
    step: 1,
    after: "find: go on",
  });
  assert.deepEqual(summary.finds, []);
  assert.equal(summary.worlds, SEEDS);
  assert.ok(summary.messages > 20 * SEEDS, `${summary.messages} messages`);
  for (const what of MET) assert.ok((summary.batches[what] ?? 0) > 0, `no batch: ${what}`);
});

Deno.test("runWorld() makes the same world of the same seed", async () => {
  const hashes = new Set<string>();
  for (let seed = 0; seed < 10; seed++) {
    const first = await runWorld(seed, { trace: "events" });
    const second = await runWorld(seed);
    assert.equal(second.traceHash, first.traceHash);
    assert.deepEqual(second.excuses, first.excuses);
    hashes.add(first.traceHash);
  }
  assert.equal(hashes.size, 10, "other seeds make other worlds");
});

Deno.test("runWorld() finds planted bugs, each by its seed", async (t) => {
  const names = [
    "a reading is claimed in Redis before it is stored",
    "a last value is set whatever is there",
    "a copy moves the ledger first, in a transaction of its own",
    "a copy that met a repeat is taken for stored",
    "what is compared after a copy in vain is counted twice",
    "half of a copy that failed is kept",
    "the readings of a copy that failed are marked",
    "two batches use the same columns",
    "the end of a fetch is off by one",
    "aborted transactions are left out one by one, and messages can end them",
    "what lies behind an open transaction is taken for messages that wait",
    "one partition without a leader hides what is known of all",
  ];
  for (const bugName of names) {
    await t.step(bugName, async () => {
      assert.ok(PLANTED_BUGS.some(({ name }) => name === bugName));
      const job = { firstSeed: 0, endSeed: 150, step: 1, bugName } as const;
      const [find] = (await runJob({ ...job, after: "find: stop" })).finds;
      assert.ok(find !== undefined, "not found within 150 seeds");
      await assertFoundAgain(bugName, find);
    });
  }
});

async function assertFoundAgain(bugName: string, { seed, violation }: Find): Promise<void> {
  const bug = PLANTED_BUGS.find(({ name }) => name === bugName)!;
  assert.equal((await runWorld(seed, { bug })).violations[0], violation);
}

Deno.test("PLANTED_BUGS have a name each", () => {
  assert.equal(new Set(PLANTED_BUGS.map(({ name }) => name)).size, PLANTED_BUGS.length);
});

Deno.test("Oracle.toldStored() wants a stored batch for each one that it is told of", async () => {
  const { store, kafka, oracle } = new Servers(new VirtualProcess(new VirtualTime(), "servers"), 1);
  const topic = kafka.identity();
  await store.openLedgerLine(topic, 0, 0);
  await store.storeBatch(batchOf(await store.dataSetId(), { topic, skipped: 3 }), "compare");
  const counts = { inserted: 0, duplicates: 0, deadLetters: 0 };
  oracle.toldStored(0, 3, counts);
  assert.deepEqual(oracle.violations, []);
  oracle.toldStored(0, 3, counts);
  assert.match(
    oracle.violations.join(),
    /I7 a batch up to 0:3 .* is said to be stored, and was not/,
  );
});

Deno.test("VirtualTime.run() lets events happen by their time, equal ones as they came", async () => {
  const time = new VirtualTime();
  const happened: string[] = [];
  const note = (what: string) => (): void => void happened.push(`${time.nowMs} ${what}`);
  time.after(30, note("c"));
  time.after(10, note("a"));
  time.after(10, () => {
    note("b")();
    time.after(5, note("of b"));
  });
  time.after(100, note("too late"));
  assert.equal(await time.run(50, 1_000, () => false), false);
  assert.deepEqual(happened, ["10 a", "10 b", "15 of b", "30 c"]);
  assert.equal(time.nowMs, 50);
});

Deno.test("VirtualTime.run() ends as soon as it is over, at the next question", async () => {
  const time = new VirtualTime();
  let isOver = false;
  time.after(130, () => isOver = true);
  assert.equal(await time.run(1_000, 50, () => isOver), true);
  assert.equal(time.nowMs, 150);
});

Deno.test("VirtualProcess hears nothing once it was killed, and late while it is frozen", async () => {
  const time = new VirtualTime();
  const [killed, frozen] = [new VirtualProcess(time, "killed"), new VirtualProcess(time, "frozen")];
  const woken: string[] = [];
  for (const process of [killed, frozen]) {
    process.clock.sleep(10).then(() => woken.push(`${time.nowMs} ${process.name}`));
  }
  killed.kill();
  frozen.freeze(40);
  await time.run(100, 100, () => false);
  assert.deepEqual(woken, ["40 frozen"]);
});
