/**
 * A valid message for tests to vary, and a fixed now to judge it by.
 *
 * @module
 */
import type { ParseLimits } from "../lib/reading/reading.ts";

/** Limits as the settings have them by default, at 2026-11-24T10:00:10Z. */
export const SAMPLE_LIMITS: ParseLimits = {
  nowMs: Date.UTC(2026, 10, 24, 10, 0, 10),
  futureSkewSecondsMax: 3_600,
  pastDaysMax: 0,
};

/** A valid message as an object, some of its fields replaced or added. */
export function sampleFields(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    unique_reading_id: "3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4e",
    sensor_id: "0b7e6a52-9c1d-4e3f-8a2b-5c4d6e7f8091",
    sensor_type: "temperature",
    location: { latitude: 52.520008, longitude: 13.404954 },
    timestamp: "2026-11-24T10:00:00.123456+00:00",
    value: 21.57,
    unit: "C",
    status: "active",
    battery_level: 87,
    ...changes,
  };
}

/** The same as JSON text. */
export function sampleText(changes: Record<string, unknown> = {}): string {
  return JSON.stringify(sampleFields(changes));
}

/** UTF-8 bytes of a text. */
export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
