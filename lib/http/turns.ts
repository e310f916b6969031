/**
 * A bound on how many requests are worked on at a time. Each begins in a turn of the event loop of its
 * own, so that between two of them the flow goes on, whoever asks how much.
 *
 * @module
 */
import { nextTurn } from "../slices.ts";
import { type HttpAnswer, HttpError, type HttpHandler } from "./exchange.ts";

/** Requests worked on at the same time. Most of their time they wait for a server. */
export const ACTIVE_MAX = 16;

/** Requests that wait for their turn: one of each viewer, see `STREAMS_MAX`. */
export const WAITING_MAX = 100;

/** Gives requests their turns. */
export class Turns {
  readonly #waiting: (() => void)[] = [];
  #active = 0;

  /**
   * Makes a handler that waits for its turn with requests whose path begins so, and knows no others.
   * A stream has had its turn when it begins.
   *
   * @throws {HttpError} 503 from the handler if too many wait already.
   */
  taken(path: string, handler: HttpHandler): HttpHandler {
    return async (request): Promise<HttpAnswer | undefined> => {
      if (!request.path.startsWith(path)) return undefined;
      await this.#begin();
      try {
        await nextTurn();
        // Whoever has gone while it waited is not worked for.
        if (request.signal.aborted) throw new HttpError(503, "the client is gone");
        return await handler(request);
      } finally {
        this.#end();
      }
    };
  }

  async #begin(): Promise<void> {
    if (this.#active < ACTIVE_MAX) {
      this.#active++;
      return;
    }
    if (this.#waiting.length >= WAITING_MAX) {
      throw new HttpError(503, "too many requests at once; try again in a second");
    }
    // The turn is handed over: nobody who comes later takes it.
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #end(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#active--;
    else next();
  }
}
