/**
 * Named points at which a program of the campaign ends itself with SIGKILL: on both sides of every
 * call that leaves the process. They sit around the ports, and inside a copy in the driver
 * (`copy_points.ts`), so the product carries none of them.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { GroupMember } from "../lib/kafka/group_member.ts";
import type { Store, StoreOutcome } from "../lib/postgres/store.ts";
import type { TopicWriter } from "../lib/kafka/topic_writer.ts";
import type { Cache } from "../lib/redis/cache.ts";

/** Where a consumer can be killed inside a copy, see `copy_points.ts`. */
export const COPY_KILL_POINTS = [
  "half of a copy sent",
  "copy sent and not finished",
  "copy committed and not answered",
] as const;

/** Where a consumer can be killed, in the order in which a batch comes by. */
export const CONSUMER_KILL_POINTS = [
  "partitions assigned",
  "ledger read",
  "messages fetched",
  "messages parsed",
  "marks read",
  "statement sent",
  ...COPY_KILL_POINTS,
  "statement answered",
  "marks and last values sent",
  "marks and last values answered",
  "commit sent",
  "commit answered",
] as const;

/** One of {@linkcode CONSUMER_KILL_POINTS}. */
export type ConsumerKillPoint = typeof CONSUMER_KILL_POINTS[number];

/** Where a consumer can be killed that was asked to stop. */
export const STOP_KILL_POINTS = ["stop begun", "group left"] as const;

/** Where a producer can be killed, in the order in which a send comes by. */
export const PRODUCER_KILL_POINTS = ["send noted", "send begun", "send acknowledged"] as const;

/** Any of the points. */
export type KillPoint =
  | ConsumerKillPoint
  | typeof STOP_KILL_POINTS[number]
  | typeof PRODUCER_KILL_POINTS[number];

/** How long a call is given to leave the process before the process ends, ms. */
export const LEAVES_MS = 3;

/** Ends the process at the point that is armed. */
export class KillSwitch {
  readonly #end: () => void;
  readonly #callLeaves: () => Promise<void>;
  #point: string | undefined;
  #times = 0;

  /**
   * Nothing is armed.
   *
   * @param end does not return, outside of tests
   * @param callLeaves waits until the bytes of a call have left the process
   */
  constructor(end: () => void, callLeaves: () => Promise<void> = () => sleep(LEAVES_MS)) {
    this.#end = end;
    this.#callLeaves = callLeaves;
  }

  /** The process ends when `point` is reached for the `times`-th time from now on. */
  arm(point: string, times: number): void {
    this.#point = point;
    this.#times = times;
  }

  /** Whether the process shall end at this point, now or at a later arrival. */
  isArmed(point: KillPoint): boolean {
    return this.#point === point;
  }

  /** Whether the process ends when it next comes by this point. */
  isDue(point: KillPoint): boolean {
    return this.#point === point && this.#times <= 1;
  }

  /** To be called at each point. */
  reached(point: KillPoint): void {
    if (this.#point === point && --this.#times <= 0) this.#end();
  }

  /** Makes a call, with a point once it has left the process and one once it was answered. */
  async around<Answer>(
    sent: KillPoint,
    call: () => Promise<Answer>,
    answered: KillPoint,
  ): Promise<Answer> {
    const answer = call();
    if (this.#point === sent) {
      // The other half of the call's meaning: the server has it.
      answer.catch(() => {});
      await this.#callLeaves();
      this.reached(sent);
    }
    const value = await answer;
    this.reached(answered);
    return value;
  }
}

/** Receives what the loop asks of its member, for whoever looks for a fault afterwards. */
export type Trace = (what: string, fields: Readonly<Record<string, unknown>>) => void;

/** The same member, with points where it hands something over, commits and stops. */
export function memberWithPoints(
  member: GroupMember,
  kill: KillSwitch,
  trace: Trace,
): GroupMember {
  return {
    start: (handlers) =>
      member.start({
        assigned: (partitions) => {
          handlers.assigned(partitions);
          kill.reached("partitions assigned");
        },
        batch: (batch) => {
          const { partition, fetchedOffset, nextOffset } = batch;
          trace("fetched", { partition, fetchedOffset, nextOffset });
          if (batch.messages.length > 0) kill.reached("messages fetched");
          return handlers.batch(batch).finally(() => trace("taken", { partition, nextOffset }));
        },
        refused: (error) => handlers.refused(error),
        crashed: (error) => handlers.crashed(error),
      }),
    pause: (partitions) => {
      trace("pause", { partitions });
      member.pause(partitions);
    },
    resume: (partitions) => {
      trace("resume", { partitions });
      member.resume(partitions);
    },
    seek: (partition, offset) => {
      trace("seek", { partition, offset });
      member.seek(partition, offset);
    },
    identity: async () => {
      trace("identity asked", {});
      const identity = await member.identity();
      trace("identity answered", {});
      return identity;
    },
    watermarks: async () => {
      trace("watermarks asked", {});
      const watermarks = await member.watermarks();
      trace("watermarks answered", {});
      return watermarks;
    },
    epochEnds: (epochs) => member.epochEnds(epochs),
    heldBack: () => member.heldBack(),
    committedByOthers: () => member.committedByOthers(),
    group: () => member.group(),
    offsetsAtTime: (timestampMs) => member.offsetsAtTime(timestampMs),
    commit: (nextOffsets) =>
      kill.around("commit sent", () => member.commit(nextOffsets), "commit answered"),
    stop: async () => {
      kill.reached("stop begun");
      await member.stop();
      kill.reached("group left");
    },
  };
}

/** The same store, with points around the calls of a batch and of placing. */
export function storeWithPoints(store: Store, kill: KillSwitch, trace: Trace): Store {
  return {
    dataSetId: () => store.dataSetId(),
    readLedger: async () => {
      const lines = await store.readLedger();
      kill.reached("ledger read");
      return lines;
    },
    openLedgerLine: (topic, partition, first) => store.openLedgerLine(topic, partition, first),
    moveLedgerLine: (topic, partition, move) => store.moveLedgerLine(topic, partition, move),
    storeBatch: async (batch, way) => {
      const call = (): Promise<StoreOutcome> => store.storeBatch(batch, way);
      const outcome = await kill.around("statement sent", call, "statement answered");
      const { partition, nextOffset } = batch;
      trace("stored", { partition, nextOffset, way, outcome: outcome.kind });
      return outcome;
    },
    lastReadings: (afterSensorId, limit) => store.lastReadings(afterSensorId, limit),
    openDeadLetters: () => store.openDeadLetters(),
  };
}

/** The same cache, with points around the two calls of a batch. */
export function cacheWithPoints(cache: Cache, kill: KillSwitch): Cache {
  return {
    marks: async (ids) => {
      // Parsing lies between the fetch and this call, and leaves the process nowhere.
      kill.reached("messages parsed");
      const marks = await cache.marks(ids);
      kill.reached("marks read");
      return marks;
    },
    remember: (marks, last) =>
      kill.around(
        "marks and last values sent",
        () => cache.remember(marks, last),
        "marks and last values answered",
      ),
    setLastComplete: (dataSetId) => cache.setLastComplete(dataSetId),
    claimLastValues: (claimant) => cache.claimLastValues(claimant),
    lastValue: (sensorId) => cache.lastValue(sensorId),
  };
}

/** The same writer, with points around a send. What comes before it is the caller's. */
export function writerWithPoints(writer: TopicWriter, kill: KillSwitch): TopicWriter {
  return {
    partitions: writer.partitions,
    send: (partition, messages) =>
      kill.around("send begun", () => writer.send(partition, messages), "send acknowledged"),
    close: () => writer.close(),
  };
}

/** Ends this process as `kill -9` would. */
export function endAtOnce(): void {
  Deno.kill(Deno.pid, "SIGKILL");
}

/**
 * Arms the switch with each line of standard input, a point and a number: `commit sent:3`. At the
 * end of the input, the process that gave it is gone, and this one ends, too.
 */
export async function armFromInput(kill: KillSwitch): Promise<void> {
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const [point = "", times = "1"] = line.split(":");
      kill.arm(point, Number(times));
    }
  }
  endAtOnce();
}
