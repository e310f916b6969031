/**
 * The contract: what a message must look like to be a reading, and how bytes become one.
 *
 * @module
 */
import type { Rejection } from "./rejection.ts";

/** One sensor reading with the field names of the message. */
export interface Reading {
  /** UUID, lower case. */
  readonly unique_reading_id: string;
  readonly sensor_id: string;
  readonly sensor_type: string;
  readonly location: { readonly latitude: number; readonly longitude: number };
  /** RFC 3339 with zone, at most six digits of a second. */
  readonly timestamp: string;
  readonly value: number;
  readonly unit: string;
  readonly status: string;
  readonly battery_level: number;
}

/** A valid message: the reading, and what the steps after parsing need of it. */
export interface ParsedReading {
  readonly kind: "reading";
  readonly reading: Reading;
  /** Event time in microseconds since 1970. */
  readonly eventTimeUs: number;
  /** The message as it came, decoded. */
  readonly text: string;
}

/** Bounds that come from settings. */
export interface ParseLimits {
  /** Wall time, ms since 1970. */
  readonly nowMs: number;
  readonly futureSkewSecondsMax: number;
  /** 0: no bound. */
  readonly pastDaysMax: number;
}

export declare function parseReading(
  bytes: Uint8Array | null,
  limits: ParseLimits,
): ParsedReading | Rejection;
