import assert from "node:assert/strict";
import { EVENT, type Fault, nothingToHeal } from "../../campaign/fault.ts";
import { drawSchedule } from "../../campaign/schedule.ts";
import { createRandom } from "../../lib/producer/random.ts";

const FAULTS = ["a", "b", "c", "d"].map(faultOf);
const POINTS = ["p", "q", "r", "s", "t"];

function faultOf(name: string): Fault {
  const inject = (): ReturnType<Fault["inject"]> => Promise.resolve({ heal: nothingToHeal });
  return { name, party: "Redis", holdMs: EVENT, inject };
}

function draw(seed: number): readonly string[] {
  return drawSchedule({
    faults: FAULTS,
    points: POINTS,
    pointKillsMin: 30,
    killedAt: (points) => faultOf(points.join("+")),
  }, createRandom(seed)).map(({ name }) => name);
}

Deno.test("drawSchedule() has each fault once and enough kills, each point about equally often", () => {
  const names = draw(1);
  for (const { name } of FAULTS) assert.equal(names.filter((each) => each === name).length, 1);
  const killed = names.filter((name) => name.includes("+")).flatMap((name) => name.split("+"));
  assert.ok(killed.length >= 30, `${killed.length} kills`);
  for (const point of POINTS) {
    const times = killed.filter((each) => each === point).length;
    assert.ok(times >= 5 && times <= 7, `${point} ${times} times`);
  }
});

Deno.test("drawSchedule() draws the same order from the same seed, and another from another", () => {
  assert.deepEqual(draw(1), draw(1));
  assert.notDeepEqual(draw(1), draw(2));
});
