/**
 * Faults of the programs themselves: consumers and producers that are killed at a point or at any
 * time, frozen, stopped, and joined by others; and traffic that is all bad.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { ensureDatabase } from "../tools/stack/postgres.ts";
import type { Bed } from "./bed.ts";
import type { Random } from "../lib/producer/random.ts";
import { EVENT, type Fault, type FaultInForce, nothingToHeal } from "./fault.ts";
import { type Member, SESSION_MS } from "./fleet.ts";
import { PRODUCER_KILL_POINTS, STOP_KILL_POINTS } from "./kill_points.ts";
import { shuffle } from "./schedule.ts";

/** A point that is not reached in this time is given up, and the program killed where it is, ms. */
const REACHED_MS_MAX = 15_000;
/** A group gives a frozen member up after its session. */
const FROZEN_MS = SESSION_MS + 3_000;
/** At which arrival at a point a program ends. */
const ARRIVALS_MAX = 5;

/** Points that only a rebalance comes by. */
const REBALANCE_POINTS: readonly string[] = ["partitions assigned", "ledger read"];

/** The fleet starts again whatever has ended. */
const HEALED: FaultInForce = { heal: nothingToHeal };

/** Consumers that end themselves at one of these points each, at about the same time. */
export function consumersKilledAt(points: readonly string[]): Fault {
  const inRebalance = points.some((point) => REBALANCE_POINTS.includes(point));
  return {
    name: `Consumers killed: ${points.join("; ")}`,
    party: "Consumer",
    holdMs: EVENT,
    inject: async ({ fleet }, random) => {
      const victims = shuffle(fleet.consumers, random).slice(0, points.length);
      const deaths = victims.map((victim, index) => killAtPoint(victim, points[index]!, random));
      // One more member makes the group share out its partitions again.
      const guest = inRebalance ? fleet.addConsumer() : undefined;
      const countsFor = (await Promise.all(deaths)).map((point) => `Consumer killed: ${point}`);
      const heal = async (): Promise<void> => {
        if (guest !== undefined) await fleet.retire(guest);
      };
      return { countsFor, heal };
    },
  };
}

/** Faults of consumers beside kills at a point. */
export const CONSUMER_FAULTS: readonly Fault[] = [
  {
    name: "Consumer killed: at any time",
    party: "Consumer",
    holdMs: EVENT,
    inject: async ({ fleet }, random) => {
      const victims = shuffle(fleet.consumers, random).slice(0, 2);
      await Promise.all(victims.map(async (victim) => {
        await sleep(random.between(0, 1_500));
        const { child } = victim;
        child.signal("SIGKILL");
        await child.ended;
      }));
      return HEALED;
    },
  },
  {
    name: "Consumer killed: in a rebalance",
    party: "Consumer",
    holdMs: EVENT,
    inject: async ({ fleet }, random) => {
      const [first, second] = shuffle(fleet.consumers, random).map(({ child }) => child);
      first!.signal("SIGKILL");
      const guest = fleet.addConsumer();
      // From before the guest asks to join until all who live have, and wait for the first one.
      await sleep(random.between(500, 4_000));
      second!.signal("SIGKILL");
      await Promise.all([first!.ended, second!.ended]);
      return { heal: async () => void await fleet.retire(guest) };
    },
  },
  ...STOP_KILL_POINTS.map((point): Fault => ({
    name: `Consumer killed: ${point}`,
    party: "Consumer",
    holdMs: EVENT,
    inject: async ({ fleet }, random) => {
      const { child } = random.pick(fleet.consumers);
      child.arm(point, 1);
      child.signal("SIGTERM");
      await child.ended;
      return HEALED;
    },
  })),
  {
    name: "Consumer frozen for longer than its session, then let go",
    party: "Consumer",
    holdMs: { short: FROZEN_MS, long: 60_000 },
    inject: ({ fleet }, random) => {
      const { child } = random.pick(fleet.consumers);
      child.signal("SIGSTOP");
      return Promise.resolve({ heal: () => Promise.resolve(child.signal("SIGCONT")) });
    },
  },
  {
    name: "Consumer stopped as it should be",
    party: "Consumer",
    holdMs: EVENT,
    rowsWithinMs: 3_000,
    inject: async ({ fleet }, random) => {
      const { child } = random.pick(fleet.consumers);
      child.signal("SIGTERM");
      const { code } = await child.ended;
      if (code !== 0) throw new Error(`a consumer that was asked to stop ended with ${code}`);
      return HEALED;
    },
  },
  {
    name: "All consumers but one leave",
    party: "Consumer",
    holdMs: { short: 4_000, long: 30_000 },
    rowsWithinMs: 3_000,
    inject: async ({ fleet }) => {
      const [, ...leaving] = fleet.consumers;
      await Promise.all(leaving.map((consumer) => fleet.retire(consumer)));
      const heal = (): Promise<void> => {
        for (const _ of leaving) fleet.addConsumer();
        return Promise.resolve();
      };
      return { heal };
    },
  },
  {
    name: "Consumers join and leave",
    party: "Consumer",
    holdMs: { short: 1_000, long: 10_000 },
    inject: async ({ fleet }, random) => {
      const guests = [fleet.addConsumer(), fleet.addConsumer()];
      await sleep(random.between(1_000, 3_000));
      const [first, ...others] = shuffle(fleet.consumers, random)
        .filter((member) => !guests.includes(member));
      if (first !== undefined && others.length > 0) await fleet.retire(first);
      const heal = async (): Promise<void> => {
        await fleet.retire(guests[0]!);
        // The guest that stays takes the place of the one that left.
        if (others.length === 0) await fleet.retire(guests[1]!);
      };
      return { heal };
    },
  },
];

/** Faults of commands. */
export const COMMAND_FAULTS: readonly Fault[] = [
  {
    name: "Two migrations at once, one killed",
    party: "Consumer",
    holdMs: EVENT,
    inject: async ({ bed, fleet }, random) => {
      const database = `migrated_${random.uint32()}`;
      await createSlowDatabase(bed, database);
      const settings = { POSTGRES_DB: database };
      const [victim, other] = [
        fleet.command(["migrate"], settings),
        fleet.command(["migrate"], settings),
      ];
      await sleep(random.between(MIGRATING_MS.min, MIGRATING_MS.max));
      victim.signal("SIGKILL");
      const [killed, { code }] = await Promise.all([victim.ended, other.ended]);
      if (killed.signal === "SIGKILL") fleet.kills++;
      if (code !== 0) throw new Error(`the other migration ended with exit code ${code}`);
      await fleet.migrate(settings);
      const verified = await fleet.command(["verify"], settings).ended;
      if (verified.code !== 0) throw new Error("the migrated database does not verify");
      return HEALED;
    },
  },
];

/** From before the first statement to after the last one, where each takes longer than usual, ms. */
const MIGRATING_MS = { min: 400, max: 4_000 };

/** A database in which changes of the schema take their time. */
async function createSlowDatabase(bed: Bed, database: string): Promise<void> {
  const { user, password } = bed.direct.postgres;
  await ensureDatabase(bed.postgres, { database, user, password });
  await bed.postgres.asSuperuser(database, async (session) => {
    await session.query(`
      CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM pg_sleep(0.03); END $$`);
    await session.query("CREATE EVENT TRIGGER slow ON ddl_command_end EXECUTE FUNCTION slow()");
  });
}

/** Faults of producers and of what they send. */
export const PRODUCER_FAULTS: readonly Fault[] = [
  ...PRODUCER_KILL_POINTS.map((point): Fault => ({
    name: `Producer killed: ${point}`,
    party: "Producer",
    holdMs: EVENT,
    inject: async ({ fleet }, random) => {
      const victim = random.pick(fleet.producers);
      const reached = await killAtPoint(victim, point, random);
      return { ...HEALED, countsFor: [`Producer killed: ${reached}`] };
    },
  })),
  {
    name: "Producer killed: at any time",
    party: "Producer",
    holdMs: EVENT,
    inject: async ({ fleet }, random) => {
      await Promise.all(fleet.producers.map(async ({ child }) => {
        await sleep(random.between(0, 500));
        child.signal("SIGKILL");
        await child.ended;
      }));
      return HEALED;
    },
  },
  {
    name: "Every message bad, from one more producer",
    party: "Producer",
    holdMs: { short: 10_000, long: 60_000 },
    inject: ({ fleet, rate }, random) => {
      const ratios = { repeats: 0, conflicts: 0, bad: 1 };
      const flood = fleet.addProducer({ seed: random.uint32(), rate: 2 * rate, ratios });
      return Promise.resolve({ heal: async () => void await fleet.retire(flood) });
    },
  },
];

/** Resolves, once the victim has ended, to the point at which it did. */
async function killAtPoint(victim: Member, point: string, random: Random): Promise<string> {
  const { child } = victim;
  let reached = point;
  const isRare = REBALANCE_POINTS.includes(point);
  child.arm(point, isRare ? 1 : 1 + random.uint32() % ARRIVALS_MAX);
  const givingUp = new AbortController();
  const late = sleep(REACHED_MS_MAX, undefined, { signal: givingUp.signal }).then(() => {
    reached = "at any time";
    child.signal("SIGKILL");
  }, () => {});
  await child.ended;
  givingUp.abort();
  await late;
  return reached;
}
