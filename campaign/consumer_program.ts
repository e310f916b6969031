/**
 * A consumer of the campaign: the consumer of the project, with points around its ports at which it
 * can be killed.
 *
 * @module
 */
import process from "node:process";
import { runConsumer } from "../lib/run_consumer.ts";
import {
  armFromInput,
  cacheWithPoints,
  endAtOnce,
  KillSwitch,
  memberWithPoints,
  storeWithPoints,
} from "./kill_points.ts";

if (import.meta.main) {
  const kill = new KillSwitch(endAtOnce);
  void armFromInput(kill);
  await runConsumer({}, {
    migrations: `${import.meta.dirname}/../migrations`,
    wrap: ({ member, store, cache }) => ({
      member: memberWithPoints(member, kill),
      store: storeWithPoints(store, kill),
      cache: cacheWithPoints(cache, kill),
    }),
  });
  process.exit();
}
