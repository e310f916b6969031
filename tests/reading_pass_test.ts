import assert from "node:assert/strict";
import { readingOf } from "../fakes/reading_rows.ts";
import { createRandom, type Random } from "../lib/producer/random.ts";
import { simulate } from "../lib/producer/simulator.ts";
import { MESSAGE_BYTES_MAX, type ParseLimits, parseReading } from "../lib/reading/reading.ts";
import { ReadingColumns } from "../lib/reading/reading_columns.ts";
import { readInto } from "../lib/reading/reading_pass.ts";
import { planTraffic } from "../simulation/traffic.ts";
import { WORLD_START_MS } from "../simulation/virtual_time.ts";
import { FakeClock } from "./fake_clock.ts";
import { FUZZ_RUNS, FUZZ_SEED } from "./fuzz_settings.ts";
import { passTakes } from "./pass_agreement.ts";
import { SAMPLE_LIMITS, sampleFields, sampleText, utf8 } from "./sample_message.ts";

/** A member of a message, as it is written. */
interface Member {
  key: string;
  literal: string;
}

/** A message that can be changed in many ways before it is written. */
interface Draft {
  members: Member[];
  place: Member[];
  /** Between any two tokens. */
  space: string;
  /** True while the pass has to take it. */
  isPlain: boolean;
}

/** Characters at the borders of classes; those that are written plainly, and the others. */
const PLAIN_CHARACTERS = [..." !#/09:@AZ[]^`az{|}~.,_-", ..."\u00a0°µéß\u00ff\u0100\u07ff"];
const ODD_CHARACTERS = ["\u0001", "\n", "\u007f", "\u0080", "\u0085", "\u009f", "\u0800", "\u2028"];
ODD_CHARACTERS.push("\ufeff", "\uffff", "😀", '\\"', "\\\\", "\\n", "\\u0041", "\\u0000");
ODD_CHARACTERS.push("\\ud800", "\\ud83d\\ude00", "\\x", "\t", "e\u0301");

const ID_CHARACTERS = [..."AZaz09._:-"];
const SPACES = ["", "", " ", "\n  ", "\t", "\r\n", "    "];
const ODD_SPACES = ["\u00a0", "\v", "\f", "\u2003", "\0", "/**/", "\ufeff"];
const ODD_LITERALS = ["null", "true", "{}", "[]", '""', "[1]", '{"value":1}', "NaN", "", "1 2"];
const NUMBERS = ["0", "-0", "0.0", "-0.0", "1", "90", "-90", "180", "-180", "100", "0.5", "87.0"];
NUMBERS.push("123456789012345", "0.12345678901234", "99999.9999999999", "0.00000000000001");
const ODD_NUMBERS = ["1e400", "-1e400", "1e2", "1E2", "1e-2", "00", "-00", "01", "1.", ".5", "+1"];
ODD_NUMBERS.push(
  "--1",
  "-",
  "1..2",
  "1.2.3",
  "0x10",
  "1_0",
  "9007199254740993",
  "-9007199254740993",
);
ODD_NUMBERS.push("1234567890123456", "0.123456789012345678", "1".repeat(40), "0." + "0".repeat(30));
ODD_NUMBERS.push("-1", "101", "90.000001", "-90.000001", "180.000001", "99.5", "1e0", '"1"', "١");
const ZONES = ["Z", "z", "+00:00", "-00:00", "+05:30", "-15:59", "+15:59", "+14:00"];
const ODD_ZONES = ["", "+16:00", "-16:00", "+01:60", "+0100", "+1:00", "ZZ", " Z", "+01:00:00"];
const ODD_BYTES = [[0xc0, 0x80], [0xc1, 0xbf], [0xc2], [0xc2, 0x22], [0xc3, 0xc3], [0xdf, 0x7f]];
ODD_BYTES.push([0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xf5], [0xff]);
ODD_BYTES.push([0x80], [0xbf], [0xc2, 0x80], [0xc2, 0x9f], [0xc2, 0xa0], [0xdf, 0xbf], [0xe0]);

/** One message of the fuzz. */
class Maker {
  readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.random.unit() * n < 1;
  }

  below(end: number): number {
    return Math.floor(this.random.unit() * end);
  }

  digits(length: number): string {
    return Array.from({ length }, () => this.below(10)).join("");
  }

  draft(): Draft {
    const { random } = this;
    const members = [
      { key: "unique_reading_id", literal: `"${this.id()}"` },
      { key: "sensor_id", literal: this.text(ID_CHARACTERS) },
      { key: "sensor_type", literal: this.text(PLAIN_CHARACTERS) },
      { key: "location", literal: "" },
      { key: "timestamp", literal: `"${this.time()}"` },
      { key: "value", literal: this.number(1e9) },
      { key: "unit", literal: this.text(PLAIN_CHARACTERS) },
      { key: "status", literal: this.text(PLAIN_CHARACTERS) },
      { key: "battery_level", literal: `${this.below(101)}` },
    ];
    const place = [
      { key: "latitude", literal: this.number(90) },
      { key: "longitude", literal: this.number(180) },
    ];
    return { members, place, space: random.pick(SPACES), isPlain: true };
  }

  id(): string {
    const hex = Array.from({ length: 32 }, () => this.random.pick([..."0123456789abcdefABCDEF"]));
    return hex.join("").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  text(characters: readonly string[]): string {
    const length = this.random.pick([1, 2, 3, 8, 63, 64]);
    return `"${Array.from({ length }, () => this.random.pick(characters)).join("")}"`;
  }

  /** A plain number within the bounds. */
  number(bound: number): string {
    const known = this.random.pick(NUMBERS);
    if (this.oneIn(4) && Math.abs(Number(known)) <= bound) return known;
    const whole = String(this.below(bound));
    const fraction = this.digits(this.below(15 - whole.length + 1));
    return (this.oneIn(2) ? "-" : "") + whole + (fraction === "" ? "" : `.${fraction}`);
  }

  /** A time that exists, within the limits. */
  time(): string {
    const ms = Date.UTC(1700, 0, 1) +
      this.random.unit() * (WIDE_LIMITS.nowMs - Date.UTC(1700, 0, 1));
    const day = this.oneIn(10)
      ? this.random.pick(["2024-02-29", "2000-02-29", "2023-12-31", "1970-01-01", "2025-02-28"])
      : new Date(ms).toISOString().slice(0, 10);
    const digits = this.below(10);
    const second = new Date(ms).toISOString().slice(11, 19);
    const fraction = digits === 0 ? "" : `.${this.digits(digits)}`;
    return day + this.random.pick(["T", "t"]) + second + fraction + this.random.pick(ZONES);
  }

  /** Changes a draft so that the pass need not take it any more. */
  spoil(draft: Draft): void {
    draft.isPlain = false;
    const members = this.oneIn(5) ? draft.place : draft.members;
    const member = this.random.pick(members);
    switch (this.below(9)) {
      case 0:
        members.splice(members.indexOf(member), 1);
        break;
      case 1:
        members.push(this.oneIn(2) ? { ...member } : { ...this.random.pick(draft.place) });
        break;
      case 2:
        member.key = this.random.pick([
          member.key.toUpperCase(),
          `${member.key} `,
          member.key.slice(1),
          member.key.replace(/^./, (first) => `\\u00${first.charCodeAt(0).toString(16)}`),
          member.key.replace("e", "é"),
          this.random.pick(draft.members).key,
          "",
        ]);
        break;
      case 3:
        members.push({ key: this.random.pick(["x", "__proto__", "Unit"]), literal: "1" });
        break;
      case 4:
        member.literal = this.random.pick([...ODD_LITERALS, ...ODD_NUMBERS, ...NUMBERS]);
        break;
      case 5:
        member.literal = this.random.pick(ODD_NUMBERS);
        break;
      case 6:
        this.spoilTime(draft.members);
        break;
      case 7:
        this.spoilText(member);
        break;
      case 8:
        draft.space = this.random.pick(ODD_SPACES);
        break;
    }
  }

  spoilTime(members: readonly Member[]): void {
    const member = members.find(({ key }) => key === "timestamp");
    if (member === undefined) return;
    const two = (end: number): string => String(this.below(end)).padStart(2, "0");
    const year = this.random.pick(["0000", "0001", "1684", "1900", "2023", "2024", "2026", "2255"]);
    const zone = this.random.pick(this.oneIn(2) ? ZONES : ODD_ZONES);
    const fraction = this.oneIn(2) ? "" : `.${this.digits(this.below(12))}`;
    const date = `${year}-${this.random.pick(["02", two(14)])}-${
      this.random.pick(["29", two(33)])
    }`;
    const hour = `${two(25)}:${two(61)}:${two(61)}`;
    member.literal = `"${date}${this.random.pick(["T", "t", " "])}${hour}${fraction}${zone}"`;
  }

  spoilText(member: Member): void {
    const { literal } = member;
    const at = 1 + this.below(Math.max(1, literal.length - 1));
    const odd = this.random.pick([...ODD_CHARACTERS, "x".repeat(60)]);
    member.literal = literal.slice(0, at) + odd + literal.slice(this.oneIn(2) ? at : at + 1);
  }

  write({ members, place, space }: Draft): Uint8Array {
    const object = (list: readonly Member[]): string => {
      const texts = list.map(({ key, literal }) => `"${key}"${space}:${space}${literal}`);
      return `{${space}${texts.join(`${space},${space}`)}${space}}`;
    };
    const whole = members.map((member) =>
      member.key === "location" && member.literal === ""
        ? { ...member, literal: object(place) }
        : member
    );
    return utf8(space + object(whole) + space);
  }

  /** Changes bytes: flips, cuts, doubles or inserts some, or moves the end. */
  mutate(bytes: Uint8Array): Uint8Array {
    const at = this.below(bytes.length);
    const [head, rest] = [bytes.subarray(0, at), bytes.subarray(at)];
    const length = 1 + this.below(this.oneIn(2) ? 3 : 40);
    switch (this.below(6)) {
      case 0:
        return Uint8Array.from([...head, this.below(256), ...rest.subarray(1)]);
      case 1:
        return Uint8Array.from([...head, bytes[at]! ^ (1 << this.below(8)), ...rest.subarray(1)]);
      case 2:
        return Uint8Array.from([...head, ...rest.subarray(length)]);
      case 3:
        return Uint8Array.from([...head, ...rest.subarray(0, length), ...rest]);
      case 4:
        return Uint8Array.from([...head, ...this.random.pick(ODD_BYTES), ...rest]);
      default:
        return this.oneIn(2) ? head : Uint8Array.from([0xef, 0xbb, 0xbf, ...bytes]);
    }
  }
}

/** Every event time since 1684 is taken. */
const WIDE_LIMITS = { ...SAMPLE_LIMITS, futureSkewSecondsMax: 86_400 };

Deno.test("readInto() takes what parseReading() takes, to the bit, or leaves it alone", async (t) => {
  const random = createRandom(FUZZ_SEED);
  const maker = new Maker(random);
  const counts = { plain: 0, plainTaken: 0, other: 0, otherTaken: 0 };
  await t.step(`${FUZZ_RUNS} messages, seed ${FUZZ_SEED}`, () => {
    for (let run = 0; run < FUZZ_RUNS; run++) {
      const draft = maker.draft();
      if (maker.oneIn(4)) draft.members.sort(() => random.unit() - 0.5);
      if (maker.oneIn(4)) draft.place.reverse();
      for (let spoils = maker.below(3); spoils > 0; spoils--) maker.spoil(draft);
      let bytes = maker.write(draft);
      let isPlain = draft.isPlain;
      if (maker.oneIn(3)) {
        bytes = maker.mutate(bytes);
        isPlain = false;
      }
      const isTaken = passTakes(bytes, maker.oneIn(8) ? SAMPLE_LIMITS : WIDE_LIMITS);
      counts[isPlain ? "plain" : "other"]++;
      if (isTaken) counts[isPlain ? "plainTaken" : "otherTaken"]++;
      else assert.ok(!isPlain, `not taken: ${utf8Text(bytes)}`);
    }
  });
  const { plain, other, otherTaken } = counts;
  await t.step(`it took all ${plain} plain ones, and ${otherTaken} of ${other} others`, () => {
    assert.ok(plain > FUZZ_RUNS / 10 && otherTaken > other / 50 && otherTaken < other / 2);
  });
});

Deno.test("readInto() and parseReading() agree on a message with any one byte changed", () => {
  const message = utf8(sampleText({ unit: "°C" }));
  const others = [...utf8('"\\{}[],: \n\0\x1f\x7f09-.eE+tTzZagAG/_'), 0x80, 0xa0, 0xc2, 0xe2, 0xff];
  for (const [at, byte] of message.entries()) {
    const [head, rest] = [message.subarray(0, at), message.subarray(at + 1)];
    passTakes(Uint8Array.from([...head, ...rest]), SAMPLE_LIMITS);
    for (const other of others) {
      passTakes(message.with(at, other), SAMPLE_LIMITS);
      passTakes(Uint8Array.from([...head, other, byte, ...rest]), SAMPLE_LIMITS);
    }
  }
});

Deno.test("readInto() takes every reading of the simulator and of the simulation", async (t) => {
  const clock = new FakeClock(SAMPLE_LIMITS.nowMs);
  const ratios = { bad: 0.1, late: 0.1, duplicate: 0.1, conflict: 0.1 };
  const simulated = simulate({ clock, seed: FUZZ_SEED, sensors: 100, ratios }).take(3_000);
  const plan = {
    messages: 3_000,
    spanMs: 12_000,
    sensors: 20,
    mix: { repeats: 0.1, conflicts: 0.1, late: 0.1, bad: 0.1 },
  };
  const sources: readonly (readonly [string, Iterable<Uint8Array | null>, ParseLimits])[] = [
    ["simulator", simulated.map(({ value }) => value), SAMPLE_LIMITS],
    [
      "simulation",
      planTraffic(plan, createRandom(FUZZ_SEED)).map(({ message }) => message.value),
      { ...SAMPLE_LIMITS, nowMs: WORLD_START_MS + plan.spanMs },
    ],
  ];
  for (const [name, messages, limits] of sources) {
    await t.step(`${name}, seed ${FUZZ_SEED}`, () => {
      let taken = 0;
      for (const bytes of messages) {
        if (bytes === null) continue;
        const isTaken = passTakes(bytes, limits);
        if (isTaken) taken++;
        // Some of what the simulator breaks is a reading all the same: fields more than we know.
        else assert.ok(parseReading(bytes, limits).kind === "rejection", utf8Text(bytes));
      }
      assert.ok(taken > 2_500, `${taken} of 3000`);
    });
  }
});

Deno.test("readInto() keeps to the limits of size and time", async (t) => {
  const space = (bytes: number): string => sampleText().padStart(bytes);
  const at = (timestamp: string): string => sampleText({ timestamp });
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["as large as may be", space(MESSAGE_BYTES_MAX), true],
    ["a byte more", space(MESSAGE_BYTES_MAX + 1), false],
    ["as late as may be", at("2026-11-24T11:00:10Z"), true],
    ["a microsecond later", at("2026-11-24T11:00:10.000001Z"), false],
    ["as old as may be", at("2026-11-14T10:00:10Z"), true],
    ["a microsecond older", at("2026-11-14T10:00:09.999999Z"), false],
  ];
  for (const [name, text, isTaken] of cases) {
    await t.step(name, () => {
      const limits = { ...SAMPLE_LIMITS, pastDaysMax: 10 };
      assert.equal(passTakes(utf8(text), limits), isTaken);
      assert.equal(parseReading(utf8(text), limits).kind === "reading", isTaken);
    });
  }
});

Deno.test("readInto() knows texts of one and two bytes a character", async (t) => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["a degree sign", "°C", true],
    ["64 characters of two bytes", "é".repeat(64), true],
    ["65 characters of two bytes", "é".repeat(65), false],
    ["the last of two bytes", "\u07ff", true],
    ["the first of three bytes", "\u0800", false],
    ["a control character of two bytes", "\u009f", false],
    ["an escape", '"', false],
  ];
  for (const [name, unit, isTaken] of cases) {
    await t.step(name, () => {
      assert.equal(passTakes(utf8(sampleText({ unit })), SAMPLE_LIMITS), isTaken);
    });
  }
  await t.step("not in an id of a sensor", () => {
    assert.ok(!passTakes(utf8(sampleText({ sensor_id: "é" })), SAMPLE_LIMITS));
  });
});

Deno.test("a row says nothing of the message before it", () => {
  const columns = new ReadingColumns(1);
  columns.begin(new Uint8Array());
  const parsed = parseReading(utf8(sampleText({ unit: "\u{1F600}" })), SAMPLE_LIMITS);
  assert.ok(parsed.kind === "reading");
  columns.put(0, parsed);
  const bytes = utf8(sampleText());
  columns.begin(bytes);
  assert.ok(readInto(columns, 0, bytes, 0, bytes.length, SAMPLE_LIMITS));
  assert.deepEqual(readingOf(columns, 0), sampleFields());
});

function utf8Text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
