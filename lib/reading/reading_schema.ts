/**
 * The schema of a message: the one source of the type `Reading`, of the compiled validator and of
 * `docs/reading.schema.json`. Here, too, is said why a value does not match it.
 *
 * @module
 */
import Type, { type Static, type TSchema } from "typebox";
import { Compile } from "typebox/compile";
import Format from "typebox/format";
import { reject, type Rejection } from "./rejection.ts";
import { parseTimestamp } from "./timestamp.ts";
import { isUuid } from "./uuid.ts";

/** Largest length of `sensor_id`, `sensor_type`, `unit` and `status`, in characters. */
export const TEXT_CHARACTERS_MAX = 64;

/** A text without control characters and without halves of surrogate pairs. */
const TEXT_PATTERN = `^[^\\u0000-\\u001f\\u007f-\\u009f\\ud800-\\udfff]{1,${TEXT_CHARACTERS_MAX}}$`;

/** How much of an offending text a detail shows, in UTF-16 units. */
const SHOWN_LENGTH_MAX = 80;

/** What a message must look like. Fields that are not named here are ignored. */
const schema = Type.Object({
  unique_reading_id: Type.String({
    description: "Names the reading; a second message with the same id is a duplicate. " +
      "A UUID of any version; letter case does not matter.",
    format: "uuid",
    examples: ["019ab4f0-8c1e-7b3a-9d52-6f0e4c2a7b18"],
  }),
  sensor_id: Type.String({
    description: "Names the sensor; letter case matters.",
    pattern: `^[A-Za-z0-9._:-]{1,${TEXT_CHARACTERS_MAX}}$`,
    examples: ["1f0c6a7e-52b4-4d6f-8f0b-9a3c1f2e7d60", "roof:north.2"],
  }),
  sensor_type: Type.String({
    description: "What the sensor measures.",
    pattern: TEXT_PATTERN,
    examples: ["temperature", "humidity", "pressure", "light", "motion", "co2"],
  }),
  location: Type.Object({
    latitude: Type.Number({
      description: "Degrees north of the equator.",
      minimum: -90,
      maximum: 90,
      examples: [52.520008],
    }),
    longitude: Type.Number({
      description: "Degrees east of Greenwich.",
      minimum: -180,
      maximum: 180,
      examples: [13.404954],
    }),
  }, { description: "Where the sensor is." }),
  timestamp: Type.String({
    description: "When the value was measured: RFC 3339 with a zone below 16 hours, at most nine " +
      "digits of a second, of which six are kept. No second 60, no year 0.",
    format: "date-time",
    examples: ["2026-11-24T10:00:00.123456+00:00", "2026-11-24T11:00:00+01:00"],
  }),
  value: Type.Number({
    description: "What was measured, in the unit named by `unit`, as a double. A number without " +
      "fraction and exponent must lie within 2^53, where doubles are exact.",
    examples: [21.57],
  }),
  unit: Type.String({
    description: "The unit of `value`.",
    pattern: TEXT_PATTERN,
    examples: ["C", "%", "hPa", "lux", "bool", "ppm"],
  }),
  status: Type.String({
    description: "The state of the sensor.",
    pattern: TEXT_PATTERN,
    examples: ["active", "inactive", "error"],
  }),
  battery_level: Type.Integer({
    description: "Charge of the battery in percent.",
    minimum: 0,
    maximum: 100,
    examples: [87],
  }),
});

// Compile() binds the formats that exist when it runs, so these lines come first.
Format.Set("uuid", isUuid);
Format.Set("date-time", (text) => typeof parseTimestamp(text) === "object");

const validator = Compile(schema);

/**
 * The fields of a message that matches the schema, as they came.
 *
 * @internal
 */
export type MessageFields = Static<typeof schema>;

/** True if a parsed JSON value matches the schema. */
export function matchesSchema(value: unknown): value is MessageFields {
  return validator.Check(value);
}

/**
 * How a field is kept: `id` as 16 bytes, `text` as UTF-8, `number` and `integer` as doubles, `time` as
 * microseconds since 1970.
 */
export type FieldKind = "id" | "text" | "number" | "integer" | "time";

/** One field of a reading, for whoever handles all of them alike. */
export interface ReadingField {
  /** Names from the outermost object to the field. */
  readonly path: readonly string[];
  /** Its column in `sensor_events`. */
  readonly column: string;
  /** How it is kept. */
  readonly kind: FieldKind;
  /** What a text must match, a regular expression; undefined: none. */
  readonly pattern: string | undefined;
  /** The least number; undefined: none. */
  readonly minimum: number | undefined;
  /** The largest number; undefined: none. */
  readonly maximum: number | undefined;
}

/** All fields, in the order of the schema. A field's index here is its index everywhere. */
export const READING_FIELDS: readonly ReadingField[] = fieldsOf(schema, []);

/** The index of `sensor_id` in {@linkcode READING_FIELDS}. */
export const SENSOR_ID: number = READING_FIELDS.findIndex(({ column }) => column === "sensor_id");

function fieldsOf(field: TSchema, path: readonly string[]): readonly ReadingField[] {
  if (Type.IsObject(field)) {
    const inner: Readonly<Record<string, TSchema>> = field.properties;
    return Object.entries(inner).flatMap(([name, next]) => fieldsOf(next, [...path, name]));
  }
  const { pattern, minimum, maximum } = field as Partial<ReadingField>;
  return [{ path, column: path.at(-1) ?? "", kind: kindOf(field), pattern, minimum, maximum }];
}

function kindOf(field: TSchema): FieldKind {
  if (Type.IsInteger(field)) return "integer";
  if (Type.IsNumber(field)) return "number";
  const { format } = field as { readonly format?: string };
  if (format === "uuid") return "id";
  return format === "date-time" ? "time" : "text";
}

/** The schema as a JSON Schema document, draft 2020-12. */
export function schemaDocument(): Readonly<Record<string, unknown>> {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Sensor reading",
    description: "One message of the topic: a JSON object in UTF-8 of at most 64 KiB. No object " +
      "in it has the same key twice, and nothing nests deeper than 32 levels.",
    ...schema,
    examples: [{
      unique_reading_id: "019ab4f0-8c1e-7b3a-9d52-6f0e4c2a7b18",
      sensor_id: "1f0c6a7e-52b4-4d6f-8f0b-9a3c1f2e7d60",
      sensor_type: "temperature",
      location: { latitude: 52.520008, longitude: 13.404954 },
      timestamp: "2026-11-24T10:00:00.123456+00:00",
      value: 21.57,
      unit: "C",
      status: "active",
      battery_level: 87,
    }],
  };
}

/**
 * Why a parsed JSON value does not match the schema: the first rule that it breaks, in the order of
 * the schema's fields. Missing fields come before the faults of others.
 */
export function rejectSchemaFault(value: unknown): Rejection {
  const fault = validator.Errors(value)[0];
  const path = fault?.instancePath.split("/").slice(1) ?? [];
  const field = path.join(".");
  const found = path.reduce<unknown>(
    (outer, key) => (outer as Record<string, unknown>)[key],
    value,
  );
  switch (fault?.keyword) {
    case "required":
      return reject("missing", [...path, fault.params.requiredProperties.join(", ")].join("."));
    case "minimum":
    case "maximum":
      return rejectNumber(field, `${fault.params.comparison} ${fault.params.limit}`, found);
    case "pattern":
    case "format":
      return rejectText(field, String(found));
    case "type":
      return rejectType(field, String(fault.params.type), found);
    default:
      return reject("type", `${field}: ${fault?.message ?? "does not match the schema"}`);
  }
}

function rejectType(field: string, expected: string, found: unknown): Rejection {
  if (field === "") return reject("not_object", `expected an object, found ${show(found)}`);
  // Infinity is no "number" here and 3.5 no "integer", yet both are numbers in JSON.
  const isNumeric = expected === "number" || expected === "integer";
  if (isNumeric && typeof found === "number") return rejectNumber(field, expected, found);
  return reject("type", `${field}: expected ${expected}, found ${show(found)}`);
}

/** A number outside its bounds, with a fraction where none may be, or too large for a double. */
function rejectNumber(field: string, expected: string, found: unknown): Rejection {
  const reason = Number.isFinite(found) ? "range" : "not_finite";
  return reject(reason, `${field}: expected ${expected}, found ${show(found)}`);
}

function rejectText(field: string, text: string): Rejection {
  const found = `found ${show(text)}`;
  if (text.includes("\0")) return reject("nul", `${field}: expected no U+0000, ${found}`);
  if (!text.isWellFormed()) {
    return reject("ill_formed", `${field}: expected whole surrogate pairs, ${found}`);
  }
  if (/\p{Cc}/u.test(text)) {
    return reject("control_character", `${field}: expected no control characters, ${found}`);
  }
  if (field === "timestamp") return rejectTimestamp(field, text);
  if (field === "unique_reading_id") return reject("id", `${field}: expected a UUID, ${found}`);
  const length = `1 to ${TEXT_CHARACTERS_MAX}`;
  if (field === "sensor_id") {
    return reject("id", `${field}: expected ${length} of A-Z a-z 0-9 . _ : -, ${found}`);
  }
  return reject("range", `${field}: expected ${length} characters, ${found}`);
}

function rejectTimestamp(field: string, text: string): Rejection {
  return parseTimestamp(text) === "timestamp_date"
    ? reject("timestamp_date", `${field}: expected a date and time that exist, found ${show(text)}`)
    : reject("timestamp_format", `${field}: expected RFC 3339 with a zone, found ${show(text)}`);
}

function show(value: unknown): string {
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object" && value !== null) return "an object";
  if (typeof value !== "string") return String(value);
  const isLong = value.length > SHOWN_LENGTH_MAX;
  return JSON.stringify(value.slice(0, SHOWN_LENGTH_MAX)) + (isLong ? "..." : "");
}
