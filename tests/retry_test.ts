import assert from "node:assert/strict";
import { TransientError } from "../lib/errors.ts";
import { backoffMs, retryForever } from "../lib/retry.ts";
import { withTimeLimit } from "../lib/time_limit.ts";
import { FakeClock } from "./fake_clock.ts";

const BOUNDS = { minMs: 100, maxMs: 1_000 };

Deno.test("backoffMs() doubles up to its bound and spreads downwards by half", async (t) => {
  const rows: [failures: number, random: number, want: number][] = [
    [1, 0, 50],
    [1, 0.999, 99.95],
    [2, 0, 100],
    [3, 0, 200],
    [4, 0.5, 600],
    [5, 0, 500],
    [5, 0.999, 999.5],
    [5_000, 0, 500],
  ];
  for (const [failures, random, want] of rows) {
    await t.step(`failure ${failures}, random ${random}`, () => {
      assert.equal(backoffMs(failures, { ...BOUNDS, random: () => random }), want);
    });
  }
});

/** An action that fails with these errors, one a call, then succeeds. */
function failing(...errors: Error[]): { action: () => Promise<string>; calls: () => number } {
  let calls = 0;
  const action = (): Promise<string> => {
    const error = errors[calls++];
    return error === undefined ? Promise.resolve("done") : Promise.reject(error);
  };
  return { action, calls: () => calls };
}

Deno.test("retryForever() waits longer after each transient error, then gives the result", async () => {
  const clock = new FakeClock();
  const { action } = failing(
    ...Array.from({ length: 4 }, (_, n) => new TransientError(`try ${n}`)),
  );
  const waits: [string, number, number][] = [];
  const result = retryForever(action, {
    ...BOUNDS,
    random: () => 0,
    clock,
    signal: new AbortController().signal,
    onWait: (error, { failures, waitMs }) =>
      waits.push([(error as Error).message, failures, waitMs]),
  });
  await clock.advance(50 + 100 + 200 + 400);
  assert.equal(await result, "done");
  assert.deepEqual(waits, [["try 0", 1, 50], ["try 1", 2, 100], ["try 2", 3, 200], [
    "try 3",
    4,
    400,
  ]]);
  assert.equal(clock.sleeping, 0);
});

Deno.test("retryForever() throws what is not transient at once", async () => {
  const { action, calls } = failing(new Error("a bug"));
  const clock = new FakeClock();
  await assert.rejects(
    retryForever(action, { ...BOUNDS, clock, signal: new AbortController().signal }),
    { name: "Error", message: "a bug" },
  );
  assert.equal(calls(), 1);
});

Deno.test("retryForever() asks isTransient when it is given", async () => {
  const { action, calls } = failing(new Error("busy"), new TransientError("now final"));
  const clock = new FakeClock();
  const result = retryForever(action, {
    ...BOUNDS,
    clock,
    signal: new AbortController().signal,
    isTransient: (error) => (error as Error).message === "busy",
  });
  const rejected = assert.rejects(result, { name: "TransientError", message: "now final" });
  await clock.advance(100);
  await rejected;
  assert.equal(calls(), 2);
});

Deno.test("retryForever() ends with the last error when its signal aborts", async (t) => {
  await t.step("while it waits", async () => {
    const clock = new FakeClock();
    const stop = new AbortController();
    const { action, calls } = failing(new TransientError("first"), new TransientError("second"));
    const rejected = assert.rejects(
      retryForever(action, { ...BOUNDS, random: () => 0, clock, signal: stop.signal }),
      { name: "TransientError", message: "second" },
    );
    await clock.advance(60);
    stop.abort();
    await rejected;
    assert.equal(calls(), 2);
    assert.equal(clock.sleeping, 0);
  });
  await t.step("before it began: one try, and nobody hears of a wait", async () => {
    const { action, calls } = failing(new TransientError("only"));
    let waits = 0;
    await assert.rejects(
      retryForever(action, {
        ...BOUNDS,
        clock: new FakeClock(),
        signal: AbortSignal.abort(),
        onWait: () => waits++,
      }),
      { name: "TransientError", message: "only" },
    );
    assert.equal(calls(), 1);
    assert.equal(waits, 0);
  });
});

Deno.test("withTimeLimit() waits no longer, and tells its work when it is given up", async (t) => {
  const NEVER = new Promise<never>(() => {});
  await t.step("work that is in time", async () => {
    const clock = new FakeClock();
    let given: AbortSignal | undefined;
    const work = (signal: AbortSignal): Promise<number> => {
      given = signal;
      return Promise.resolve(7);
    };
    assert.equal(await withTimeLimit(work, { clock, limitMs: 10 }), 7);
    assert.equal(clock.sleeping, 0);
    await clock.advance(20);
    assert.equal(given?.aborted, false);
  });
  await t.step("work that fails in time", async () => {
    const clock = new FakeClock();
    const failed = (): Promise<never> => Promise.reject(new RangeError("bad"));
    await assert.rejects(withTimeLimit(failed, { clock, limitMs: 10 }), { name: "RangeError" });
    assert.equal(clock.sleeping, 0);
  });
  await t.step("work that is late, and fails later still", async () => {
    const clock = new FakeClock();
    const work = Promise.withResolvers<void>();
    let given: AbortSignal | undefined;
    const late = (signal: AbortSignal): Promise<void> => {
      given = signal;
      return work.promise;
    };
    const wanted = { name: "TransientError", message: "no answer within 10 ms" };
    const rejected = assert.rejects(withTimeLimit(late, { clock, limitMs: 10 }), wanted);
    await clock.advance(9);
    assert.equal(clock.sleeping, 1);
    assert.equal(given?.aborted, false);
    await clock.advance(1);
    await rejected;
    assert.throws(() => given?.throwIfAborted(), wanted);
    // Must not become an unhandled rejection, which would fail this test.
    work.reject(new Error("too late"));
    await clock.advance(1);
  });
  await t.step("an early end by the signal", async () => {
    const clock = new FakeClock();
    const stop = new AbortController();
    let given: AbortSignal | undefined;
    const work = (signal: AbortSignal): Promise<never> => {
      given = signal;
      return NEVER;
    };
    const waiting = withTimeLimit(work, { clock, limitMs: 10, signal: stop.signal });
    const rejected = assert.rejects(waiting, {
      name: "TransientError",
      message: "stopped waiting",
    });
    await clock.advance(5);
    stop.abort();
    await rejected;
    assert.equal(given?.aborted, true);
    assert.equal(clock.sleeping, 0);
  });
  await t.step("an end before the beginning", async () => {
    let calls = 0;
    const work = (): Promise<number> => Promise.resolve(calls++);
    const limit = { clock: new FakeClock(), limitMs: 10, signal: AbortSignal.abort() };
    await assert.rejects(withTimeLimit(work, limit), { name: "TransientError" });
    assert.equal(calls, 0);
  });
});
