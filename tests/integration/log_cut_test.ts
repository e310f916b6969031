/**
 * A log that loses its end and grows again before anybody looks: its offsets name other messages, and
 * only leader epochs tell. The broker is killed, and gets back an older copy of the partition's files,
 * as after a disk that lost writes or an election of a replica that was behind.
 */
import assert from "node:assert/strict";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { generate, PLAIN } from "../../campaign/generated_messages.ts";
import { startServer, stopServer } from "../../tools/stack/server.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";
import { testServers } from "./test_stack.ts";

/** The 10 s between two looks at the log, the election, and a margin. */
const NOTICED_MS = 60_000;

/** The files of the only partition, and the broker that has them. */
class CutLog {
  readonly pipeline: RealPipeline;
  readonly #files: string;
  readonly #copy: string;

  constructor(pipeline: RealPipeline, brokerDir: string) {
    this.pipeline = pipeline;
    this.#files = join(brokerDir, "data", `${pipeline.topic}-0`);
    this.#copy = join(brokerDir, `copy-of-${pipeline.topic}`);
  }

  /** What the log shall have after {@linkcode CutLog.cut}. */
  async keep(): Promise<void> {
    await cp(this.#files, this.#copy, { recursive: true });
  }

  /** Kills the broker, which loses what came after {@linkcode CutLog.keep}. */
  async cut(): Promise<void> {
    const [broker] = (await testServers()).kafka;
    await stopServer(broker!, "SIGKILL");
    await rm(this.#files, { recursive: true });
    await cp(this.#copy, this.#files, { recursive: true });
    await startServer(broker!);
  }

  /** Kills the broker, which loses nothing and leads in a new epoch afterwards. */
  async changeLeader(): Promise<void> {
    const [broker] = (await testServers()).kafka;
    await stopServer(broker!, "SIGKILL");
    await startServer(broker!);
  }

  async line(): Promise<Record<string, number>> {
    const [line] = await this.pipeline.query(
      "SELECT next_offset::int AS next, inserted::int, duplicates::int, rewound::int FROM ledger",
    );
    return line as Record<string, number>;
  }
}

async function openCutLog(): Promise<CutLog> {
  const [broker] = (await testServers()).kafka;
  return new CutLog(await RealPipeline.open({ partitions: 1 }), broker!.dir);
}

Deno.test("a log that was cut and grew again while nobody looked: everything is stored", async (t) => {
  await t.step("the line goes back just to where its leader's epoch ends", async () => {
    const log = await openCutLog();
    await using pipeline = log.pipeline;
    await pipeline.send(generate(120, PLAIN, 71));
    await log.keep();
    await pipeline.send(generate(30, PLAIN, 72));
    await pipeline.run("run", "--until-end");
    await log.cut();
    await pipeline.send(generate(80, PLAIN, 73));
    const { stderr } = await pipeline.run("run", "--until-end");
    assert.match(stderr, /"warn".*log ends at 120 in leader epoch/);
    assert.match(stderr, /"error".*lost the end of the log.*"ledgerOffset":150,"toOffset":120/);
    assert.deepEqual(await log.line(), { next: 200, inserted: 230, duplicates: 0, rewound: 30 });
    assert.deepEqual((await pipeline.verify()).problems, []);
  });

  await t.step("nothing is left of its leader's epoch: all is read again", async () => {
    const log = await openCutLog();
    await using pipeline = log.pipeline;
    await pipeline.send(generate(120, PLAIN, 74));
    await log.keep();
    await log.changeLeader();
    await pipeline.send(generate(30, PLAIN, 75));
    await pipeline.run("run", "--until-end");
    await log.cut();
    await pipeline.send(generate(30, PLAIN, 76));
    await pipeline.run("run", "--until-end");
    assert.deepEqual(await log.line(), { next: 150, inserted: 180, duplicates: 120, rewound: 150 });
    assert.deepEqual((await pipeline.verify()).problems, []);
  });

  await t.step("a consumer that slept meanwhile", async () => {
    const log = await openCutLog();
    await using pipeline = log.pipeline;
    await pipeline.send(generate(120, PLAIN, 77));
    await log.keep();
    await pipeline.send(generate(30, PLAIN, 78));
    await using consumer = pipeline.consumer();
    await pipeline.reached(consumer, 150);
    consumer.signal("SIGSTOP");
    await log.cut();
    await pipeline.send(generate(80, PLAIN, 79));
    consumer.signal("SIGCONT");
    const isStored = async (): Promise<boolean> => await pipeline.rowCount() === 230;
    await consumer.until("what took the place of lost messages is stored", isStored, NOTICED_MS);
    consumer.signal("SIGTERM");
    await consumer.succeeded(DONE_MS);
    assert.deepEqual((await pipeline.verify()).problems, []);
  });
});

Deno.test("a leader that changes and loses nothing: nothing is read again", async () => {
  const log = await openCutLog();
  await using pipeline = log.pipeline;
  await pipeline.send(generate(100, PLAIN, 81));
  await using consumer = pipeline.consumer();
  await pipeline.reached(consumer, 100);
  await log.changeLeader();
  await pipeline.send(generate(100, PLAIN, 82));
  await pipeline.reached(consumer, 200);
  consumer.signal("SIGTERM");
  await consumer.succeeded(DONE_MS);
  assert.deepEqual(await log.line(), { next: 200, inserted: 200, duplicates: 0, rewound: 0 });
});
