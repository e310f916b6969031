/**
 * Server-Sent Events: every viewer gets each new state, made once for all of them.
 *
 * @module
 */
import { type HttpAnswer, HttpError } from "./exchange.ts";

/** Viewers at the same time. */
export const STREAMS_MAX = 100;

/** How soon a browser connects again, ms. */
const RECONNECT_MS = 2_000;

/** Hands events to the viewers. A viewer that is slow misses some and gets the newest. */
export class EventStreams {
  readonly #viewers = new Set<Viewer>();

  /** How many watch. */
  get size(): number {
    return this.#viewers.size;
  }

  /** Sends an event to everybody. It is made only if somebody watches. */
  send(makeData: () => unknown): void {
    if (this.#viewers.size === 0) return;
    const text = eventText(makeData());
    for (const viewer of this.#viewers) viewer.offer(text);
  }

  /** Events from now on, until the signal aborts. */
  async *watch(signal: AbortSignal): AsyncGenerator<string> {
    const viewer = new Viewer();
    const leave = (): void => viewer.end();
    signal.addEventListener("abort", leave);
    this.#viewers.add(viewer);
    try {
      yield `retry: ${RECONNECT_MS}\n\n`;
      while (!signal.aborted) {
        const text = await viewer.next();
        if (text === undefined) return;
        yield text;
      }
    } finally {
      signal.removeEventListener("abort", leave);
      this.#viewers.delete(viewer);
    }
  }

  /** Ends all streams: the server is about to close. */
  close(): void {
    for (const viewer of this.#viewers) viewer.end();
  }
}

/** Holds the newest event until the viewer takes it. */
class Viewer {
  #newest: string | undefined;
  #ended = false;
  #wake: (() => void) | undefined;

  offer(text: string): void {
    this.#newest = text;
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async next(): Promise<string | undefined> {
    if (this.#newest === undefined && !this.#ended) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    const text = this.#newest;
    this.#newest = undefined;
    return this.#ended ? undefined : text;
  }
}

/** JSON has no line ends outside of strings, and escapes those inside. */
function eventText(data: unknown): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

/**
 * The answer to who wants to watch.
 *
 * @throws {HttpError} 503 if too many do.
 */
export function eventStreamAnswer(streams: EventStreams, signal: AbortSignal): HttpAnswer {
  if (streams.size >= STREAMS_MAX) throw new HttpError(503, "too many viewers");
  return {
    status: 200,
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      // A proxy that collects the answer would hold the events back.
      "x-accel-buffering": "no",
    },
    body: streams.watch(signal),
  };
}
