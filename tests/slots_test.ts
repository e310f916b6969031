import assert from "node:assert/strict";
import { Slots } from "../lib/consumer/slots.ts";

Deno.test("Slots give each slot a tool of its own, in the order of coming, and use it again", async () => {
  let made = 0;
  const slots = new Slots(2, () => ({ name: `tool ${++made}` }));
  const used: string[] = [];
  const ends: (() => void)[] = [];
  const work = (name: string): Promise<void> =>
    slots.use(async (tool) => {
      used.push(`${name} ${tool.name}`);
      await new Promise<void>((resolve) => ends.push(resolve));
    });
  const works = [work("a"), work("b"), work("c"), work("d")];
  assert.deepEqual(used, ["a tool 1", "b tool 2"]);
  ends[1]!();
  await works[1];
  ends[0]!();
  await works[0];
  assert.deepEqual(used.slice(2), ["c tool 2", "d tool 1"]);
  for (const end of ends) end();
  await Promise.all(works);
  assert.equal(made, 2);
});

Deno.test("Slots are free again after work that failed", async () => {
  const slots = new Slots(1, () => ({}));
  await assert.rejects(slots.use(() => Promise.reject(new Error("no"))), { message: "no" });
  assert.equal(await slots.use(() => Promise.resolve(7)), 7);
});
