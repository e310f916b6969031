/**
 * Runs seeds beside the main program, see `run_seeds.ts`.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { runJob, type SeedJob } from "./run_seeds.ts";

self.onmessage = async ({ data }: MessageEvent<SeedJob>): Promise<void> => {
  self.postMessage(await runJob(data));
};
