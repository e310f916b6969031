import assert from "node:assert/strict";
import { LineQueue, QUEUE_LENGTH_MAX, writeAll } from "../lib/line_queue.ts";
import { FakeClock } from "./fake_clock.ts";

/** A pipe or a file with so much room; more than that is an error, as the system gives it. */
class FakeSink {
  room = Infinity;
  code = "EAGAIN";
  text = "";
  writes = 0;
  /** While it is set, a write waits for it: a pipe that is full and makes its writer wait. */
  held: Promise<void> | undefined;

  async write(bytes: Uint8Array): Promise<number> {
    this.writes++;
    await this.held;
    if (this.room === 0) throw Object.assign(new Error(this.code), { code: this.code });
    const count = Math.min(bytes.length, this.room);
    this.text += new TextDecoder().decode(bytes.subarray(0, count));
    this.room -= count;
    return count;
  }
}

interface Bed {
  readonly sink: FakeSink;
  readonly clock: FakeClock;
  readonly queue: LineQueue;
  /** Lets everything happen that needs no time. */
  settle(): Promise<void>;
}

function bed(): Bed {
  const sink = new FakeSink();
  const clock = new FakeClock();
  const queue = new LineQueue({ write: (bytes) => sink.write(bytes), clock });
  queue.lostLine = (lines) => `lost ${lines}\n`;
  return { sink, clock, queue, settle: () => clock.advance(0) };
}

Deno.test("writeAll() waits for room in a full pipe and loses nothing", async () => {
  const { sink, clock } = bed();
  sink.room = 3;
  let isDone = false;
  const writing = writeAll((bytes) => sink.write(bytes), "0123456789", clock)
    .then(() => isDone = true);
  await clock.advance(60_000);
  assert.equal(sink.text, "012");
  assert.equal(isDone, false);
  // Seldom enough to cost nothing, often enough not to be waited for.
  assert.ok(sink.writes >= 60_000 / 50 && sink.writes < 60_000 / 50 + 20, `${sink.writes} writes`);
  sink.room = Infinity;
  await clock.advance(50);
  await writing;
  assert.equal(sink.text, "0123456789");
});

/**
 * A pipe that makes nobody wait, below a line buffer, as Deno's standard output is one: what goes into
 * the buffer counts as taken, unless it does not go on at once; then the writer hears EAGAIN.
 */
class LineBufferedPipe {
  static readonly ROOM = 65_536;
  room = LineBufferedPipe.ROOM;
  text = "";
  #buffer = "";

  write(bytes: Uint8Array): Promise<number> {
    const text = new TextDecoder("latin1").decode(bytes);
    this.#flush();
    const lines = text.slice(0, text.lastIndexOf("\n") + 1);
    const direct = lines !== "" ? lines : text.length >= 1_024 ? text : "";
    const taken = direct === "" ? 0 : this.#put(direct);
    const kept = taken < direct.length && lines === "" ? "" : text.slice(taken, taken + 1_024);
    this.#buffer = kept;
    this.#flush();
    return Promise.resolve(taken + kept.length);
  }

  /** What the pipe takes: a short text as a whole or not at all. */
  #put(text: string): number {
    const isShort = text.length <= 4_096;
    if (this.room === 0 || (isShort && this.room < text.length)) {
      throw Object.assign(new Error("EAGAIN"), { code: "EAGAIN" });
    }
    const count = Math.min(text.length, this.room);
    this.room -= count;
    this.text += text.slice(0, count);
    return count;
  }

  #flush(): void {
    while (this.#buffer !== "") this.#buffer = this.#buffer.slice(this.#put(this.#buffer));
  }
}

Deno.test("writeAll() writes nothing twice through a line buffer", async (t) => {
  const lengths = {
    short: [10, 700, 30],
    long: [99_999, 5_000, 4_097, 1, 200_000],
    page: [70_000],
  };
  for (const [name, counts] of Object.entries(lengths)) {
    await t.step(name, async () => {
      const clock = new FakeClock();
      const pipe = new LineBufferedPipe();
      let wanted = "";
      while (wanted.length < 2 * LineBufferedPipe.ROOM) {
        wanted += counts.map((count) => `${"x".repeat(count)}\n`).join("");
      }
      const writing = writeAll((bytes) => pipe.write(bytes), wanted, clock);
      for (let rounds = 0; rounds < 100; rounds++) {
        pipe.room += 9_000;
        await clock.advance(50);
      }
      await writing;
      assert.equal(pipe.text.length, wanted.length);
      assert.ok(pipe.text === wanted);
    });
  }
});

Deno.test("writeAll() throws what is not about room", async () => {
  const { sink, clock } = bed();
  sink.room = 0;
  sink.code = "EPIPE";
  await assert.rejects(writeAll((bytes) => sink.write(bytes), "x", clock), { message: "EPIPE" });
});

Deno.test("LineQueue writes lines in their order, one at a time", async () => {
  const { sink, queue, settle } = bed();
  for (const line of ["a\n", "b\n", "ü\n"]) queue.push(line);
  await settle();
  assert.equal(sink.text, "a\nb\nü\n");
  assert.equal(sink.writes, 3);
});

Deno.test("LineQueue drops lines that cannot be written, and says later how many", async () => {
  const { sink, queue, settle } = bed();
  sink.room = 0;
  sink.code = "ENOSPC";
  for (const line of ["a\n", "b\n"]) {
    queue.push(line);
    await settle();
  }
  // What tells of the first one was lost as well, and counts as that one.
  sink.room = Infinity;
  queue.push("c\n");
  queue.push("d\n");
  await settle();
  assert.equal(sink.text, "lost 2\nc\nd\n");
});

Deno.test("LineQueue begins a new line after one that was broken", async () => {
  const { sink, queue, settle } = bed();
  sink.room = 2;
  sink.code = "ENOSPC";
  queue.push("abc\n");
  await settle();
  sink.room = Infinity;
  queue.push("d\n");
  await settle();
  assert.equal(sink.text, "ab\nlost 1\nd\n");
});

Deno.test("LineQueue holds a bounded length for a reader that takes nothing", async () => {
  const { sink, clock, queue } = bed();
  sink.room = 0;
  const line = `${"x".repeat(1_023)}\n`;
  const lines = 5 + QUEUE_LENGTH_MAX / line.length;
  for (let pushed = 0; pushed < lines; pushed++) queue.push(line);
  sink.room = Infinity;
  await clock.advance(100);
  queue.push("later\n");
  await clock.advance(0);
  assert.equal(sink.text.length, QUEUE_LENGTH_MAX + "lost 5\nlater\n".length);
  assert.ok(sink.text.endsWith("x\nlost 5\nlater\n"));
});

Deno.test("flush() waits for the lines, and tells what is lost", async () => {
  const { sink, queue, settle } = bed();
  sink.room = 0;
  sink.code = "ENOSPC";
  queue.push("a\n");
  await settle();
  sink.room = Infinity;
  await queue.flush(1_000);
  assert.equal(sink.text, "lost 1\n");
});

Deno.test("flush() gives up after its limit", async () => {
  const { sink, clock, queue } = bed();
  const released = Promise.withResolvers<void>();
  sink.held = released.promise;
  queue.push("a\n");
  let isFlushed = false;
  const flushing = queue.flush(1_000).then(() => isFlushed = true);
  await clock.advance(999);
  assert.equal(isFlushed, false);
  await clock.advance(1);
  await flushing;
  released.resolve();
  await clock.advance(0);
  assert.equal(clock.sleeping, 0);
});
