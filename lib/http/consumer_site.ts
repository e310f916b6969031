/**
 * Everything that a consumer shows of itself: dashboard, read API, metrics, health. It looks from
 * alongside the flow, on connections of its own.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { ConfigurationError, TransientError } from "../errors.ts";
import type { Log } from "../log.ts";
import { ConsumerMetrics, METRICS_CONTENT_TYPE } from "../metrics.ts";
import { liveness, readiness } from "../monitor/health.ts";
import { type LiveStatus, liveStatus } from "../monitor/live_status.ts";
import { Monitor, type MonitorParts } from "../monitor/monitor.ts";
import { SensorDirectory } from "../monitor/sensor_directory.ts";
import { Sparklines } from "../monitor/sparklines.ts";
import { FlowStatistics } from "../monitor/statistics.ts";
import type { FlowObserver } from "../consumer/observer.ts";
import { storeOn } from "../postgres/client.ts";
import { openPages } from "../postgres/pages.ts";
import { openPool, type SqlPool } from "../postgres/pool.ts";
import type { Cache, LastValueReader } from "../redis/cache.ts";
import { openCache } from "../redis/client.ts";
import type { Settings } from "../settings/table.ts";
import { guarded } from "./access.ts";
import { apiHandler } from "./api.ts";
import { EventStreams } from "./event_stream.ts";
import { pageHandler } from "./page.ts";
import { healthHandler, metricsHandler } from "./probes.ts";
import { type HttpSettings, openHttpServer } from "./server.ts";
import { Turns } from "./turns.ts";

/** Where the site is, and for whom. */
export interface ConsumerSiteSettings extends HttpSettings {
  /** Required for every endpoint except health; undefined: no token is required. */
  readonly token?: string | undefined;
}

/** What the site looks at. Opening and closing it is the caller's. */
export interface ConsumerSiteParts {
  /** The flow's own: it is only asked. */
  readonly member: MonitorParts["member"];
  /** The flow's own: they are only looked at. */
  readonly breakers: MonitorParts["breakers"];
  /** Redis, on a connection that the flow does not use. */
  readonly cache: Pick<Cache, "marks"> & LastValueReader;
  /** The database, on connections that the flow does not use. */
  readonly pools: SitePools;
  /** Is notified of servers that do not answer. */
  readonly troubles?: MonitorParts["troubles"];
  /** Paces everything. */
  readonly clock: Clock;
  /** Hears of faults. */
  readonly log: Log;
}

/** Connections of readers: many of them must not keep the monitor waiting. */
export interface SitePools {
  /** For the looks of the monitor. */
  readonly monitor: SqlPool;
  /** For whoever asks. */
  readonly readers: SqlPool;
}

/** A site that is served. */
export interface ConsumerSite extends AsyncDisposable {
  /** Where it is. */
  readonly url: string;
  /** To be told of the flow's steps. */
  readonly observer: FlowObserver;
  /** The state of the flow, as the dashboard has it. */
  status(): LiveStatus;
  /** Ends everything. */
  close(): Promise<void>;
}

/** A reader's statement is ended after this time, ms. */
export const READER_STATEMENT_MS_MAX = 2_000;
const READER_CONNECTIONS = 2;

/**
 * The site of a consumer on real servers, on connections that it opens for itself. It waits for none of
 * them.
 *
 * @returns undefined if it is switched off, and also if its address cannot be had: that is said in
 * the log, for a second consumer on a computer must not stop for want of a page.
 */
export async function serveConsumer(
  settings: Settings<"http" | "consumer" | "postgres" | "redis">,
  parts: Omit<ConsumerSiteParts, "cache" | "pools">,
): Promise<ConsumerSite | undefined> {
  const { postgres, redis } = settings;
  const http = { ...settings.http, port: settings.consumer.httpPort };
  if (http.port === 0) return undefined;
  await using opened = new AsyncDisposableStack();
  const pools = opened.use(openSitePools(postgres));
  const cache = opened.use(openCache(redis, parts));
  try {
    const site = opened.use(await openConsumerSite(http, { ...parts, pools, cache }));
    const kept = opened.move();
    const close = (): Promise<void> => kept.disposeAsync();
    return { ...site, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    parts.log.warn("there is no dashboard", { error });
    return undefined;
  }
}

/** Last values of ours, or an error as if Redis were away: then they are asked of PostgreSQL. */
function ownOnly(cache: LastValueReader, neighbour: () => string | undefined): LastValueReader {
  const refuse = async <T>(read: () => Promise<T>): Promise<T> => {
    if (neighbour() === undefined) return await read();
    throw new TransientError("Cannot read last values: Redis holds those of another data set");
  };
  return {
    lastTimes: (range) => refuse(() => cache.lastTimes(range)),
    lastTexts: (sensorIds) => refuse(() => cache.lastTexts(sensorIds)),
  };
}

/** Opens the connections of readers. Nothing connects before the first request. */
function openSitePools(settings: Settings["postgres"]): SitePools & AsyncDisposable {
  const monitor = openReaderPool(settings, 1);
  const readers = openReaderPool(settings, READER_CONNECTIONS);
  return {
    monitor,
    readers,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([monitor.close(), readers.close()]);
    },
  };
}

function openReaderPool(settings: Settings["postgres"], poolMax: number): SqlPool {
  const { user, password, readUser = user, readPassword = password } = settings;
  return openPool({
    ...settings,
    user: readUser,
    password: readPassword,
    access: "read_only",
    poolMax,
    statementTimeoutMs: READER_STATEMENT_MS_MAX,
  });
}

/**
 * Tries the role of readers, if there is one: a wrong password that the flow does not use is best seen
 * when it starts.
 *
 * @throws {ConfigurationError} if it cannot log in. All else is left to whoever looks at the pages.
 */
export async function requireReader(settings: Settings["postgres"]): Promise<void> {
  if (settings.readUser === undefined) return;
  const pool = openReaderPool(settings, 1);
  const query = { action: "log in as POSTGRES_READ_USER", text: "SELECT FROM ledger LIMIT 0" };
  try {
    await pool.query(query);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) return;
    const text = "Check POSTGRES_READ_USER, POSTGRES_READ_PASSWORD and the role's rights";
    throw new ConfigurationError(text, { cause: error });
  } finally {
    await pool.close();
  }
}

/**
 * Starts to look and to serve.
 *
 * @throws {ConfigurationError} if the address cannot be had.
 */
export async function openConsumerSite(
  settings: ConsumerSiteSettings,
  parts: ConsumerSiteParts,
): Promise<ConsumerSite> {
  const { cache, pools, clock } = parts;
  const metrics = new ConsumerMetrics();
  const statistics = new FlowStatistics({ clock, onStored: (report) => metrics.stored(report) });
  const pages = openPages(pools.readers);
  const tables = openPages(pools.monitor);
  const neighbour = (): string | undefined => statistics.neighbour;
  const monitor = new Monitor({ ...parts, tables, statistics });
  const streams = new EventStreams();
  const shown = { statistics, monitor, clock };
  const status = (): LiveStatus => liveStatus(shown);
  metrics.register(shown);
  monitor.onLook(() => streams.send(status));
  const turns = new Turns();
  // A crowd of viewers does not keep Prometheus waiting.
  const scrapes = new Turns();
  const server = await openHttpServer(settings, {
    ...parts,
    handlers: [
      // Supervisors ask without a token, and learn nothing of the readings.
      healthHandler({
        liveness: () => liveness(statistics),
        readiness: () => {
          const { servers, offline, heldBack } = monitor;
          return readiness({ statistics, servers, offline, heldBack, clock });
        },
      }),
      ...[
        pageHandler,
        turns.taken(
          "/api/",
          apiHandler({
            status,
            directory: new SensorDirectory({
              cache: ownOnly(cache, neighbour),
              store: storeOn(pools.readers),
              clock,
            }),
            sparklines: new Sparklines(pages, clock),
            pages,
            streams,
            clock,
          }),
        ),
        scrapes.taken(
          "/metrics",
          metricsHandler({ contentType: METRICS_CONTENT_TYPE, text: () => metrics.text() }),
        ),
      ].map((handler) => guarded(handler, settings.token)),
    ],
  });
  const stop = new AbortController();
  const looking = monitor.run(stop.signal);
  const close = async (): Promise<void> => {
    stop.abort();
    streams.close();
    await Promise.all([looking, server.close()]);
  };
  return { url: server.url, observer: statistics, status, close, [Symbol.asyncDispose]: close };
}
