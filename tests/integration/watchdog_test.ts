/** A consumer that hangs ends on its own, and the next one goes on where it stood. */
import assert from "node:assert/strict";
import { generate, MIXED } from "../../campaign/generated_messages.ts";
import { Program } from "./processes.ts";
import { RealPipeline } from "./real_pipeline.ts";

/** The shortest that the other bounds allow. */
const WATCHDOG = {
  WATCHDOG_SECONDS: "7",
  POSTGRES_CONNECT_TIMEOUT_MS: "1000",
  POSTGRES_STATEMENT_TIMEOUT_MS: "2000",
};

/** From the last sign of life to the end of the process, ms: the watchdog's time and 15 s. */
const END_MS_MAX = 22_000;

Deno.test("runConsumer() ends with exit code 1 when a call never returns", async () => {
  await using pipeline = await RealPipeline.open({ env: { BATCH_MESSAGES_MAX: "100" } });
  const sent = await pipeline.send(generate(1_000, MIXED, 17));
  await using hanging = Program.start("tests/integration/hanging_consumer.ts", {
    ...pipeline.env,
    ...WATCHDOG,
    HTTP_PORT: "0",
  });
  await pipeline.reached(hanging, 100);
  const { code, stderr } = await hanging.ended(END_MS_MAX);
  assert.equal(code, 1, stderr);
  const [said, ...more] = hanging.log.filter(({ level }) => level === "error");
  assert.match(String(said?.message), /^stuck: .* the supervisor restarts this consumer$/);
  assert.match(String(said?.what), /^a batch of partition \d does not finish$/);
  assert.ok(Number(said?.lagMessages) > 0, stderr);
  assert.deepEqual(more, []);
  assert.ok(await pipeline.passed() < sent.length, "the rest is left");
  await pipeline.run("run", "--until-end");
  await pipeline.assertStored(sent);
});
