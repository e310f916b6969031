/**
 * Reads what stands behind the `?`, strictly: a parameter that nobody knows, that comes twice or
 * is out of bounds is a refusal that names it.
 *
 * @module
 */
import { HttpError } from "./exchange.ts";

/** The parameters of one request. */
export class Parameters {
  readonly #query: URLSearchParams;

  /**
   * Looks at the names alone.
   *
   * @param known All names that may be there.
   * @throws {HttpError} 400 if there is another one, or one twice.
   */
  constructor(query: URLSearchParams, known: readonly string[]) {
    this.#query = query;
    for (const name of query.keys()) {
      if (!known.includes(name)) {
        throw new HttpError(400, `unknown parameter ${shown(name)}; known: ${known.join(", ")}`);
      }
      if (query.getAll(name).length > 1) throw new HttpError(400, `${name} is given twice`);
    }
  }

  /** A text of at most `lengthMax` UTF-16 units; undefined: absent or empty. */
  text(name: string, lengthMax: number): string | undefined {
    const value = this.#query.get(name) ?? "";
    if (value.length > lengthMax) {
      throw new HttpError(400, `${name} must have at most ${lengthMax} characters`);
    }
    return value === "" ? undefined : value;
  }

  /** A whole number, `fallback` if it is absent. */
  whole(name: string, bounds: { fallback: number; min: number; max: number }): number {
    const { fallback, min, max } = bounds;
    const text = this.text(name, 20);
    if (text === undefined) return fallback;
    const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new HttpError(400, `${name} must be a whole number from ${min} to ${max}`);
  }

  /** One of `values`, or undefined if it is absent. */
  choice<Value extends string>(name: string, values: readonly Value[]): Value | undefined {
    const text = this.text(name, 100);
    const value = values.find((each) => each === text);
    if (text !== undefined && value === undefined) {
      throw new HttpError(400, `${name} must be one of ${values.join(", ")}`);
    }
    return value;
  }

  /** A time: ISO 8601, or milliseconds since 1970. `fallbackMs` if it is absent. */
  timeMs(name: string, fallbackMs: number): number {
    const text = this.text(name, 40);
    if (text === undefined) return fallbackMs;
    // A plus sign that was not escaped comes as a space.
    const iso = text.replace(/ (?=\d{2}:\d{2}$)/, "+");
    const ms = /^\d{1,15}$/.test(text)
      ? Number(text)
      : /^\d{4}-\d{2}-\d{2}(T[\d:.]+(Z|[+-]\d{2}:\d{2}))?$/.test(iso)
      ? Date.parse(iso)
      : NaN;
    if (ms >= 0 && ms <= TIME_MS_MAX) return ms;
    throw new HttpError(400, `${name} must be a time such as 2026-11-24T10:00:00Z`);
  }
}

/** The end of the year 9999. */
const TIME_MS_MAX = Date.UTC(10_000, 0) - 1;

function shown(name: string): string {
  return JSON.stringify(name.slice(0, 40));
}
