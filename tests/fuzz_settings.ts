/**
 * How long the tests with random input run, and from which seed.
 * `FUZZ_RUNS=1000000 FUZZ_SEED=7 deno test …` widens or repeats a run.
 *
 * @module
 */

/** Random inputs of a test. */
export const FUZZ_RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 20_000);

/** Where the random inputs begin. */
export const FUZZ_SEED = Number(Deno.env.get("FUZZ_SEED") ?? Date.now() % 2 ** 31);
