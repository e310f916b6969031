/**
 * Who looks at a consumer while it works: a person with the dashboard, Prometheus, and clients that
 * hold connections open and ask for nothing.
 *
 * @module
 */
import { connect, type Socket } from "node:net";
import { systemClock } from "../../lib/clock.ts";

/** How often Prometheus asks, and how often the page asks for its sensors, ms. */
const SCRAPE_MS = 1_000;
const SENSORS_MS = 2_000;

/** A tenth of the slow clients sends one more byte of its question this often, ms. */
const TRICKLE_MS = 100;
const TRICKLE_PARTS = 10;

const RETRY_MS = 100;

/** How often a supervisor asks for the health, ms. */
const HEALTH_MS = 100;

/** Visitors that are there until they are disposed of. */
export interface Visitors extends AsyncDisposable {
  /** How many pieces of answers they got, or how many connections they held at once at most. */
  readonly count: number;
}

/**
 * One dashboard with its stream of states and its table of sensors, and Prometheus more often
 * than usual.
 *
 * @param origin Where the consumer serves: `http://127.0.0.1:8000`. It may start later.
 */
export function openDashboard(origin: string): Visitors {
  const leave = new AbortController();
  const { signal } = leave;
  let count = 0;
  const ask = async (path: string): Promise<void> => {
    const response = await fetch(`${origin}${path}`, { signal });
    for await (const _ of response.body ?? []) count++;
  };
  const again = async (path: string, everyMs: number): Promise<void> => {
    while (!signal.aborted) {
      // It is not there yet, or not any more.
      const isAnswered = await ask(path).then(() => true, () => false);
      await systemClock.sleep(isAnswered ? everyMs : RETRY_MS, signal);
    }
  };
  const asking = Promise.all([
    again("/api/events", RETRY_MS),
    again("/api/sensors?limit=20", SENSORS_MS),
    again("/api/dead-letters?limit=8", SENSORS_MS),
    again("/metrics", SCRAPE_MS),
  ]);
  return {
    get count() {
      return count;
    },
    [Symbol.asyncDispose]: async () => {
      leave.abort();
      await asking;
    },
  };
}

/** Readers that ask all at once, again and again, and what a supervisor saw beside them. */
export interface Readers extends Visitors {
  /** Longest wait for `/healthz`, ms. */
  readonly healthMsMax: number;
}

/**
 * Readers that ask for sensors all at once, as often as the page does, and one supervisor that asks for
 * the health.
 *
 * @param readers How many at the same time.
 */
export function openReaders(origin: string, readers: number): Readers {
  const leave = new AbortController();
  const { signal } = leave;
  let count = 0;
  let healthMsMax = 0;
  const ask = async (path: string): Promise<void> => {
    const response = await fetch(`${origin}${path}`, { signal });
    await response.body?.cancel();
    if (response.ok) count++;
  };
  const again = async (work: () => Promise<void>, everyMs: number): Promise<void> => {
    while (!signal.aborted) {
      await work().catch(() => {});
      await systemClock.sleep(everyMs, signal);
    }
  };
  const burst = async (): Promise<void> => {
    const questions = Array.from({ length: readers }, () => ask("/api/sensors?limit=1"));
    await Promise.allSettled(questions);
  };
  const supervise = async (): Promise<void> => {
    const startMs = performance.now();
    await ask("/healthz");
    healthMsMax = Math.max(healthMsMax, performance.now() - startMs);
  };
  const asking = Promise.all([
    again(supervise, HEALTH_MS),
    again(burst, SENSORS_MS),
  ]);
  return {
    get count() {
      return count;
    },
    get healthMsMax() {
      return healthMsMax;
    },
    [Symbol.asyncDispose]: async () => {
      leave.abort();
      await asking;
    },
  };
}

/**
 * Clients that begin a request, send a byte of it now and then, and connect again when they are
 * thrown out.
 *
 * @param clients How many at the same time.
 */
export function holdConnections(port: number, clients: number): Visitors {
  const sockets = new Set<Socket>();
  const dial = (): void => {
    const socket = connect(port, "127.0.0.1");
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("connect", () => socket.write("GET /api/status HTTP/1.1\r\nhost: a\r\nx-slow: "));
    socket.on("close", () => sockets.delete(socket));
    socket.resume();
  };
  let [count, part] = [0, 0];
  const timer = setInterval(() => {
    const open = [...sockets].filter(({ readyState }) => readyState === "open");
    count = Math.max(count, open.length);
    part = (part + 1) % TRICKLE_PARTS;
    for (const [index, socket] of open.entries()) {
      if (index % TRICKLE_PARTS === part) socket.write("x");
    }
    while (sockets.size < clients) dial();
  }, TRICKLE_MS);
  return {
    get count() {
      return count;
    },
    [Symbol.asyncDispose]: () => {
      clearInterval(timer);
      for (const socket of sockets) socket.destroy();
      return Promise.resolve();
    },
  };
}
