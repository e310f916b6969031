/**
 * Faults of the program that others have made, put in from outside, one at a time. The simulation
 * has to find each of them; else its silence about the real program would mean nothing.
 *
 * @module
 */
import { COPY_BUGS } from "./copy_bugs.ts";
import {
  COMMIT_BUGS,
  EPOCH_BUGS,
  PLACE_BUGS,
  PRODUCER_BUGS,
  TRANSACTION_BUGS,
} from "./kafka_bugs.ts";
import { REDIS_BUGS } from "./redis_bugs.ts";
import { ORDER_BUGS, STORE_BUGS } from "./store_bugs.ts";
import type { PlantedBug } from "./world.ts";

/** All of them. */
export const PLANTED_BUGS: readonly PlantedBug[] = [
  ...ORDER_BUGS,
  ...STORE_BUGS,
  ...COPY_BUGS,
  ...PLACE_BUGS,
  ...TRANSACTION_BUGS,
  ...EPOCH_BUGS,
  ...REDIS_BUGS,
  ...COMMIT_BUGS,
  ...PRODUCER_BUGS,
];
