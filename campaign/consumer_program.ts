/**
 * A consumer of the campaign: the consumer of the project, with points around its ports at which it
 * can be killed.
 *
 * @module
 */
import process from "node:process";
import { print } from "../lib/program.ts";
import { runConsumer } from "../lib/run_consumer.ts";
import {
  armFromInput,
  cacheWithPoints,
  endAtOnce,
  KillSwitch,
  memberWithPoints,
  storeWithPoints,
} from "./kill_points.ts";

function trace(what: string, fields: Readonly<Record<string, unknown>>): void {
  print(JSON.stringify({ time: new Date().toISOString(), trace: what, ...fields }));
}

if (import.meta.main) {
  const kill = new KillSwitch(endAtOnce);
  void armFromInput(kill);
  await runConsumer({}, {
    migrations: `${import.meta.dirname}/../migrations`,
    wrap: ({ member, store, cache }) => ({
      member: memberWithPoints(member, kill, trace),
      store: storeWithPoints(store, kill),
      cache: cacheWithPoints(cache, kill),
    }),
  });
  process.exit();
}
