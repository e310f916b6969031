/** Servers that go for 100 s while nothing comes, as the log of a consumer without pages has it. */
import assert from "node:assert/strict";
import { NoAnswerError } from "../lib/errors.ts";
import type { Store } from "../lib/postgres/store.ts";
import { Breaker } from "../lib/redis/breaker.ts";
import { TroubleLog } from "../lib/trouble_log.ts";
import { keptLog } from "./kept_log.ts";
import { MemoryPipeline } from "./memory_pipeline.ts";
import { sampleText } from "./sample_message.ts";

interface Outage {
  readonly server: string;
  go(pipeline: MemoryPipeline): void;
  comeBack(pipeline: MemoryPipeline): void;
}

let isPostgresAway = false;

/** The store without an answer while PostgreSQL is away. */
function absentStore(store: Store): Store {
  return new Proxy(store, {
    get: (target, name) =>
      isPostgresAway
        ? () => Promise.reject(new NoAnswerError("connection refused", { server: "postgres" }))
        : Reflect.get(target, name),
  });
}

const OUTAGES: readonly Outage[] = [
  {
    server: "Kafka",
    go: ({ kafka }) => kafka.setBrokersAway(true),
    comeBack: ({ kafka }) => kafka.setBrokersAway(false),
  },
  {
    server: "PostgreSQL",
    go: () => isPostgresAway = true,
    comeBack: () => isPostgresAway = false,
  },
  {
    server: "Redis",
    go: ({ cache }) => cache.isAway = true,
    comeBack: ({ cache }) => cache.isAway = false,
  },
];

Deno.test("consume() tells of a server's going, once more after a minute, and of its coming", async (t) => {
  for (const { server, go, comeBack } of OUTAGES) {
    await t.step(server, async () => {
      const pipeline = new MemoryPipeline(2);
      const { clock } = pipeline;
      const { log, lines } = keptLog(clock);
      const troubles = new TroubleLog({ clock, log });
      const breaker = (calls: string): Breaker =>
        new Breaker({
          clock,
          budgetMs: 250,
          random: () => 0.5,
          onFailure: (cause) => troubles.met([calls], cause, { server: "redis" }),
          onClose: () => troubles.left(calls),
        });
      const breakers = { read: breaker("reads"), write: breaker("writes") };
      const consumer = pipeline.start({}, (parts) => ({
        ...parts,
        store: absentStore(parts.store),
        breakers,
        log,
        troubles,
      }));
      pipeline.append(0, [sampleText()]);
      await pipeline.until("stored", () => pipeline.store.readings.size === 1);
      for (let second = 0; second < 20; second++) await clock.advance(1_000);
      lines.length = 0;
      go(pipeline);
      // One message meets the outage; then nothing comes.
      pipeline.append(1, [sampleText()]);
      for (let second = 0; second < 100; second++) await clock.advance(1_000);
      comeBack(pipeline);
      for (let second = 0; second < 20; second++) await clock.advance(1_000);
      await pipeline.stop(consumer);
      const told = lines.filter((line) => !/ (progress|stopped|partitions assigned) /.test(line));
      assert.equal(told.length, 3, told.join("\n"));
      assert.match(told[0]!, new RegExp(`^WARN  ${server} has not answered since \\d\\d:`));
      assert.match(told[1]!, new RegExp(`^WARN  ${server} has not answered for 1 min`));
      assert.match(told[2]!, new RegExp(`^INFO  ${server} is back after 1 min \\d+ s$`));
    });
  }
});
