/** Two installations and another program on one Redis. */
import assert from "node:assert/strict";
import { generate, PLAIN } from "../../campaign/generated_messages.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";

/** How long it may take to see that a neighbour renews its lease, ms. */
const NOTICE_MS = 25_000;

Deno.test("two data sets on one Redis: the second one is refused, and nothing of others is touched", async (t) => {
  await using first = await RealPipeline.open();
  await using second = await RealPipeline.open({ env: { REDIS_PORT: String(first.redis.port) } });
  await first.redis.cli("SET", "last:login:4711", "another app");
  await first.redis.cli("RPUSH", "last:queue", "another app");
  await first.send(generate(300, PLAIN, 31));
  const theirs = await second.send(generate(300, PLAIN, 37));
  await using keeping = first.consumer();
  await first.reached(keeping, 300);
  const { rows } = await first.stored();
  const areComplete = async (): Promise<boolean> =>
    (await first.lastValueProblems(rows)).length === 0;
  await keeping.until("its last values are there", areComplete, DONE_MS);

  await t.step("its consumer says so, and stores all the same", async () => {
    await using refused = second.consumer();
    await second.reached(refused, 300);
    await refused.until(
      "it has seen that the neighbour is alive",
      () => Promise.resolve(/last values are not being written.*REDIS_PREFIX/.test(refused.stderr)),
      NOTICE_MS,
    );
    refused.signal("SIGTERM");
    await refused.succeeded(DONE_MS);
    await second.assertStored(theirs);
  });

  await t.step("doctor and rebuild-last say so, too", async () => {
    await using doctor = second.consumer(["doctor"]);
    const examined = await doctor.ended(DONE_MS);
    assert.equal(examined.code, 1);
    assert.match(examined.stdout, /failure +redis +last values +of another data set.*REDIS_PREFIX/);
    await using rebuild = second.consumer(["rebuild-last"]);
    const { code, stderr } = await rebuild.ended(DONE_MS);
    assert.equal(code, 2);
    assert.match(stderr, /Cannot write last values: Redis holds those of another data set/);
  });

  await t.step("with a prefix, and with a database of its own, it has its own", async () => {
    for (const env of [{ REDIS_PREFIX: "second:" }, { REDIS_DATABASE: "1" }]) {
      await using rebuild = second.consumer(["rebuild-last"], env);
      assert.match((await rebuild.succeeded(DONE_MS)).stdout, /last values of \d+ sensors/);
    }
    const [own] = await first.redis.cli("ZCARD", "second:last:index");
    assert.deepEqual(await first.redis.cli("-n", "1", "ZCARD", "last:index"), [own]);
    assert.ok(Number(own) > 0);
  });

  await t.step(
    "the first one's last values and the other program's keys are as they were",
    async () => {
      assert.deepEqual(await first.lastValueProblems(rows), []);
      assert.deepEqual(await first.redis.cli("GET", "last:login:4711"), ["another app"]);
      assert.deepEqual(await first.redis.cli("TYPE", "last:queue"), ["list"]);
    },
  );
  keeping.signal("SIGTERM");
  await keeping.succeeded(DONE_MS);
});
