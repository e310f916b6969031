/**
 * Every fault of a server that a campaign plays.
 *
 * @module
 */
import { KAFKA_FAULTS } from "./kafka_faults.ts";
import { LINK_FAULTS } from "./link_faults.ts";
import { POSTGRES_FAULTS } from "./postgres_faults.ts";
import { REDIS_FAULTS } from "./redis_faults.ts";
import type { ServerFault } from "./fault.ts";

/** All of them. */
export const SERVER_FAULTS: readonly ServerFault[] = [
  ...KAFKA_FAULTS,
  ...POSTGRES_FAULTS,
  ...REDIS_FAULTS,
  ...LINK_FAULTS,
];
