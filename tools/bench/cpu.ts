/**
 * What a measurement costs: the CPU time of each server, all its processes included, while it ran.
 * It says more than a rate on a machine that others use, too: it hardly depends on them.
 *
 * @module
 */
import { serverPid } from "../stack/server.ts";
import type { Bed } from "./bed.ts";

/** Linux counts CPU time in ticks of 10 ms, whatever the kernel's own timer. */
const TICKS_PER_SECOND = 100;

/** The servers, as they are called in what is printed. */
export const SERVERS = ["PostgreSQL", "Redis", "Kafka"] as const;

/** CPU seconds of each server. */
export type ServersCpu = Readonly<Record<typeof SERVERS[number], number>>;

/** Fields of a process's `stat`, by their names in proc(5). */
interface Times {
  /** Of the process itself, in ticks: user mode and kernel. */
  readonly ownTicks: number;
  /** Of its children that have ended, in ticks. */
  readonly endedTicks: number;
}

/** Runs `work`, and says what each server has used meanwhile. */
export async function withServersCpu<T>(
  bed: Bed,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly cpuSeconds: ServersCpu }> {
  const pids = await pidsOf(bed);
  const before = pids.map(cpuSecondsOfAll);
  const result = await work();
  const used = pids.map((pid, index) => cpuSecondsOfAll(pid) - before[index]!);
  const [postgres, redis, kafka] = used as [number, number, number];
  return { result, cpuSeconds: { PostgreSQL: postgres, Redis: redis, Kafka: kafka } };
}

function pidsOf({ servers }: Bed): Promise<number[]> {
  const { postgres, redis, kafka } = servers;
  return Promise.all([postgres, redis, kafka].map(async (server) => {
    const pid = await serverPid(server);
    if (pid === undefined) throw new Error(`Cannot measure: ${server.name} does not run`);
    return pid;
  }));
}

/**
 * CPU time of a process, of those of its children that have ended and of those that run, seconds.
 * Children before their parent: one that ends in between must not be missing from both.
 */
export function cpuSecondsOfAll(pid: number): number {
  const children = readText(`/proc/${pid}/task/${pid}/children`).trim();
  const ofChildren = children === "" ? [] : children.split(" ").map(Number).map(cpuSecondsOfAll);
  const times = timesOf(readText(`/proc/${pid}/stat`));
  const ticks = times === undefined ? 0 : times.ownTicks + times.endedTicks;
  return ofChildren.reduce((sum, each) => sum + each, ticks / TICKS_PER_SECOND);
}

/** CPU time of one process, in seconds; undefined if the text is not a process's `stat`. */
export function cpuSecondsOf(stat: string): number | undefined {
  const times = timesOf(stat);
  return times && times.ownTicks / TICKS_PER_SECOND;
}

function timesOf(stat: string): Times | undefined {
  // The second field is the program's name, in parentheses, and can hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
  // Fields 14 to 17: utime, stime, cutime, cstime.
  const [user, kernel, endedUser, endedKernel] = fields.slice(11, 15);
  if (endedKernel === undefined) return undefined;
  return { ownTicks: user! + kernel!, endedTicks: endedUser! + endedKernel };
}

/** Empty if the process has ended. */
function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
