import assert from "node:assert/strict";
import { isGroupComing, PATIENCE_MS, patiently } from "../lib/kafka/patiently.ts";
import { FakeClock } from "./fake_clock.ts";

function answer(type: string): Error {
  const cause = Object.assign(new Error("an answer"), { type });
  return new Error("gave up", { cause });
}

const COMING = answer("GROUP_COORDINATOR_NOT_AVAILABLE");

Deno.test("patiently() waits for a group whose place is being made", async () => {
  const clock = new FakeClock();
  let questions = 0;
  const asking = patiently(() => {
    questions++;
    return questions < 10 ? Promise.reject(COMING) : Promise.resolve("there");
  }, { passes: isGroupComing, clock });
  await clock.advance(9 * 250);
  assert.equal(await asking, "there");
});

Deno.test("patiently() gives up in time, at what stays, and when it is stopped", async () => {
  const clock = new FakeClock();
  const never = patiently(() => Promise.reject(COMING), { passes: isGroupComing, clock });
  const gaveUp = assert.rejects(never, COMING);
  await clock.advance(PATIENCE_MS + 250);
  await gaveUp;
  const refusal = answer("GROUP_AUTHORIZATION_FAILED");
  await assert.rejects(
    patiently(() => Promise.reject(refusal), { passes: isGroupComing }),
    refusal,
  );
  const stop = new AbortController();
  const options = { passes: isGroupComing, signal: stop.signal, clock };
  const stopped = assert.rejects(patiently(() => Promise.reject(COMING), options), COMING);
  stop.abort();
  await stopped;
  assert.equal(clock.sleeping, 0);
});
