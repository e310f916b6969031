/**
 * What can happen to PostgreSQL.
 *
 * @module
 */
import { systemClock } from "../lib/clock.ts";
import type { SuperuserSession } from "../tools/stack/postgres.ts";
import { startServer, stopServer } from "../tools/stack/server.ts";
import { takeBaseBackup } from "./base_backup.ts";
import type { Bed } from "./bed.ts";
import { EVENT, nothingToHeal, type ServerFault } from "./fault.ts";

/** Faults of PostgreSQL that are not faults of a link. */
export const POSTGRES_FAULTS: readonly ServerFault[] = [
  {
    name: "PostgreSQL killed and started",
    party: "PostgreSQL",
    holdMs: EVENT,
    inject: async ({ bed }) => {
      await stopServer(bed.postgres, "SIGQUIT");
      return { heal: () => start(bed) };
    },
  },
  {
    name: "PostgreSQL away",
    party: "PostgreSQL",
    holdMs: { short: 15_000, long: 120_000 },
    inject: async ({ bed }) => {
      await stopServer(bed.postgres);
      return { heal: () => start(bed) };
    },
  },
  {
    name: "PostgreSQL sessions ended",
    party: "PostgreSQL",
    holdMs: EVENT,
    inject: async ({ bed }) => {
      await inDatabase(bed, endSessions);
      return { heal: nothingToHeal };
    },
  },
  {
    name: "PostgreSQL's disk full",
    party: "PostgreSQL",
    holdMs: { short: 10_000, long: 60_000 },
    inject: async ({ bed }) => {
      await bed.disk.fill();
      return { heal: () => bed.disk.free() };
    },
  },
  {
    name: "PostgreSQL read-only",
    party: "PostgreSQL",
    holdMs: { short: 10_000, long: 60_000 },
    inject: async ({ bed }) => {
      await setReadOnly(bed, "on");
      return { heal: () => setReadOnly(bed, "off") };
    },
  },
  {
    name: "Ledger locked for longer than a statement may take",
    party: "PostgreSQL",
    holdMs: { short: 20_000, long: 60_000 },
    inject: async ({ bed }) => ({ heal: await lockLedger(bed) }),
  },
  {
    name: "PostgreSQL restored to an older base backup",
    party: "PostgreSQL",
    holdMs: EVENT,
    inject: async ({ bed }, random) => {
      const backup = await takeBaseBackup(bed);
      await systemClock.sleep(random.between(3_000, 8_000));
      await stopServer(bed.postgres, "SIGQUIT");
      return {
        heal: async () => {
          await backup.restore();
          await start(bed);
        },
      };
    },
  },
];

async function start({ postgres }: Bed): Promise<void> {
  await startServer(postgres);
}

async function inDatabase(
  { postgres, direct }: Bed,
  work: (session: SuperuserSession) => Promise<void>,
): Promise<void> {
  await postgres.asSuperuser(direct.postgres.database, work);
}

async function endSessions(session: SuperuserSession): Promise<void> {
  await session.query(`
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()`);
}

/** As after a failover: sessions end, and new ones cannot write. */
async function setReadOnly(bed: Bed, state: "on" | "off"): Promise<void> {
  const { database } = bed.direct.postgres;
  await inDatabase(bed, async (session) => {
    await session.query("SET default_transaction_read_only = off");
    await session.query(
      `ALTER DATABASE "${database}" SET default_transaction_read_only = ${state}`,
    );
    await endSessions(session);
  });
}

/** Resolves when the lock is held, to what lets it go. */
async function lockLedger(bed: Bed): Promise<() => Promise<void>> {
  const locked = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const holding = inDatabase(bed, async (session) => {
    await session.query("BEGIN");
    // Nobody can move it. Who watches can still read it.
    await session.query("LOCK TABLE ledger IN EXCLUSIVE MODE");
    locked.resolve();
    await released.promise;
    await session.query("ROLLBACK");
  });
  await Promise.race([locked.promise, holding]);
  return async () => {
    released.resolve();
    await holding;
  };
}
