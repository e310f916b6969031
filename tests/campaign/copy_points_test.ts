import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import pg from "pg";
import { type Flight, withPoints } from "../../campaign/copy_points.ts";
import { COPY_KILL_POINTS, KillSwitch } from "../../campaign/kill_points.ts";
import { runTransactionQuery } from "../../lib/postgres/session.ts";

const ROWS = Buffer.from("rows of the first half|rows of the second half");

/** A server that notes what it has got. */
class ServerEnd extends Duplex {
  got = "";

  override _write(bytes: Buffer, _: unknown, done: () => void): void {
    this.got += bytes.toString("latin1");
    done();
  }

  override _read(): void {}

  answer(state: "I" | "E"): void {
    this.push(Buffer.from(`Z\0\0\0\x05${state}`, "latin1"));
  }
}

/** Copies once, with this point armed for an arrival; tells what the server has when the process ends. */
async function copyWith(
  point: string,
  { arrival = 1, state = "I" as "I" | "E" } = {},
): Promise<{ readonly gotAtEnd: string | undefined; readonly got: string }> {
  const server = new ServerEnd();
  // As the driver does.
  server.on("data", () => {});
  let gotAtEnd: string | undefined;
  const kill = new KillSwitch(() => gotAtEnd ??= server.got);
  kill.arm(point, arrival);
  const connection = new pg.Connection({ stream: server } as never);
  const flown = new Promise<void>((resolve) => {
    const query = (flight: { readonly submit: (connection: never) => void }): void => {
      flight.submit(connection as never);
      withPoints(flight as unknown as Flight, kill).handleCopyInResponse(connection as never);
      resolve();
    };
    void runTransactionQuery({ query }, {
      begin: ["BEGIN"],
      copy: { text: "COPY t FROM STDIN BINARY", rows: ROWS },
      text: "SELECT finish_batch($1)",
      values: ["1"],
    });
  });
  await flown;
  while (!server.got.includes("COMMIT")) await new Promise((resolve) => setTimeout(resolve));
  server.answer(state);
  await new Promise((resolve) => setTimeout(resolve));
  server.destroy();
  return { gotAtEnd, got: server.got };
}

const COPY_DONE = "c\0\0\0\x04";
const EXECUTE_FINISH = "statement\0\0\0\0\0";

Deno.test("a copy comes by its points with so much of it at the server", async (t) => {
  const [half, notFinished, notAnswered] = COPY_KILL_POINTS;
  const whole = (await copyWith("nowhere")).got;
  await t.step(half, async () => {
    const { gotAtEnd, got } = await copyWith(half);
    assert.match(gotAtEnd!, /rows of the first half\|?r?$/);
    assert.equal(got, whole, "whoever goes on has sent all of it");
  });
  await t.step(notFinished, async () => {
    const { gotAtEnd, got } = await copyWith(notFinished);
    assert.ok(gotAtEnd!.endsWith(`second half${COPY_DONE}`));
    assert.ok(whole.includes(EXECUTE_FINISH) && !gotAtEnd!.includes(EXECUTE_FINISH));
    assert.equal(got, whole);
  });
  await t.step(notAnswered, async () => {
    const { gotAtEnd } = await copyWith(notAnswered);
    assert.equal(gotAtEnd, whole);
  });
});

Deno.test("a copy that was refused is not committed", async () => {
  const { gotAtEnd } = await copyWith("copy committed and not answered", { state: "E" });
  assert.equal(gotAtEnd, undefined);
});

Deno.test("a copy before the armed arrival passes whole", async () => {
  const { gotAtEnd } = await copyWith("half of a copy sent", { arrival: 2 });
  assert.equal(gotAtEnd, undefined);
});
