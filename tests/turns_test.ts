import assert from "node:assert/strict";
import { type HttpAnswer, HttpError, type HttpRequest, jsonAnswer } from "../lib/http/exchange.ts";
import { ACTIVE_MAX, Turns, WAITING_MAX } from "../lib/http/turns.ts";
import { nextTurn } from "../lib/slices.ts";

function question(path = "/api/x", signal = new AbortController().signal): HttpRequest {
  return { path, query: new URLSearchParams(), header: () => undefined, signal };
}

/** A handler that answers when it is told to. */
class SlowHandler {
  active = 0;
  activeMax = 0;
  readonly #open: (() => void)[] = [];

  readonly handle = async (): Promise<HttpAnswer> => {
    this.activeMax = Math.max(this.activeMax, ++this.active);
    await new Promise<void>((resolve) => this.#open.push(resolve));
    this.active--;
    return jsonAnswer({});
  };

  async release(): Promise<void> {
    this.#open.shift()?.();
    await settle();
  }
}

async function settle(): Promise<void> {
  for (let turns = 0; turns < 5; turns++) await nextTurn();
}

/** Statuses in the order of the questions. */
function statusOf(asking: Promise<HttpAnswer | undefined>): Promise<number> {
  return asking.then((answer) => answer!.status, (error) => {
    assert.ok(error instanceof HttpError);
    return error.status;
  });
}

Deno.test("Turns works on a bounded number at a time, and refuses whom it cannot let wait", async () => {
  const slow = new SlowHandler();
  const handler = new Turns().taken("/api/", slow.handle);
  const questions = ACTIVE_MAX + WAITING_MAX + 3;
  const asking = Array.from({ length: questions }, () => statusOf(handler(question())));
  await settle();
  assert.equal(slow.active, ACTIVE_MAX);
  for (let answered = 0; answered < questions; answered++) await slow.release();
  const statuses = await Promise.all(asking);
  assert.deepEqual(statuses.map((status) => status === 503 ? 1 : 0).filter(Boolean).length, 3);
  assert.deepEqual(statuses.slice(-3), [503, 503, 503]);
  assert.equal(slow.activeMax, ACTIVE_MAX);
});

Deno.test("Turns begins each question in a turn of the event loop of its own", async () => {
  const begun: number[] = [];
  let turn = 0;
  const handler = new Turns().taken("/api/", () => {
    begun.push(turn);
    return Promise.resolve(jsonAnswer({}));
  });
  const questions = 3 * ACTIVE_MAX;
  const asking = Array.from({ length: questions }, () => handler(question()));
  for (; begun.length < questions; turn++) await nextTurn();
  await Promise.all(asking);
  const most = Math.max(...Map.groupBy(begun, (at) => at).values().map((some) => some.length));
  assert.ok(most <= ACTIVE_MAX, `${most} in one turn`);
});

Deno.test("Turns gives a turn back when a question fails or nobody waits for it", async () => {
  const gone = new AbortController();
  gone.abort();
  const handler = new Turns().taken("/api/", () => Promise.reject(new HttpError(400, "no")));
  for (let round = 0; round < 2 * ACTIVE_MAX; round++) {
    assert.equal(await statusOf(handler(question())), 400);
    assert.equal(await statusOf(handler(question("/api/x", gone.signal))), 503);
  }
});

Deno.test("Turns knows no other paths", async () => {
  const slow = new SlowHandler();
  const handler = new Turns().taken("/api/", slow.handle);
  assert.equal(await handler(question("/healthz")), undefined);
  assert.equal(slow.activeMax, 0);
});
