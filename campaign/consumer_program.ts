/**
 * A consumer of the campaign: the consumer of the project, with points around its ports at which it
 * can be killed.
 *
 * @module
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { runConsumer } from "../lib/run_consumer.ts";
import { flushErrors } from "../lib/standard_streams.ts";
import { addCopyPoints } from "./copy_points.ts";
import {
  armFromInput,
  cacheWithPoints,
  endAtOnce,
  KillSwitch,
  memberWithPoints,
  storeWithPoints,
} from "./kill_points.ts";

function trace(what: string, fields: Readonly<Record<string, unknown>>): void {
  // At once: the next thing may be a kill.
  const line = JSON.stringify({ time: new Date().toISOString(), trace: what, ...fields });
  writeSync(1, `${line}\n`);
}

if (import.meta.main) {
  const kill = new KillSwitch(endAtOnce);
  void armFromInput(kill);
  addCopyPoints(kill);
  await runConsumer({}, {
    migrations: `${import.meta.dirname}/../migrations`,
    wrap: ({ member, store, cache }) => ({
      member: memberWithPoints(member, kill, trace),
      store: storeWithPoints(store, kill, trace),
      cache: cacheWithPoints(cache, kill),
    }),
  });
  await flushErrors();
  process.exit();
}
