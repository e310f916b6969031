import assert from "node:assert/strict";
import { JournalWriter, readJournal } from "../../campaign/journal.ts";
import { generate, MIXED } from "../../campaign/generated_messages.ts";

const MESSAGES = generate(20, MIXED, 7).map((message, number) => ({ ...message, number }));

async function inFile(test: (path: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await test(`${dir}/producer.journal`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("readJournal() gives back what was noted, to the byte", () =>
  inFile(async (path) => {
    using journal = new JournalWriter(path);
    journal.noteSent(MESSAGES);
    journal.noteAcknowledged([3, 5]);
    const noted = await readJournal(path);
    assert.deepEqual(
      noted.map(({ number, key, value, truth }) => ({ number, key, value, truth })),
      MESSAGES.map(({ number, key, value, truth }) => ({ number, key, value, truth })),
    );
    const acknowledged = noted.filter((message) => message.acknowledgedAtMs !== undefined);
    assert.deepEqual(acknowledged.map(({ number }) => number), [3, 5]);
  }));

Deno.test("readJournal() leaves out a line that a kill has cut, and reads what came after it", () =>
  inFile(async (path) => {
    {
      using journal = new JournalWriter(path);
      journal.noteSent(MESSAGES.slice(0, 1));
    }
    await Deno.writeTextFile(path, '{"atMs":1,"sent":[{"num', { append: true });
    {
      using journal = new JournalWriter(path);
      journal.noteSent(MESSAGES.slice(1, 2));
    }
    assert.deepEqual((await readJournal(path)).map(({ number }) => number), [0, 1]);
  }));

Deno.test("readJournal() keeps the time of the first sending", () =>
  inFile(async (path) => {
    const [message] = MESSAGES;
    const form = { number: 0, key: null, value: null, truth: { kind: "bad", reason: "tombstone" } };
    const lines = [{ atMs: 10, sent: [form] }, { atMs: 20, sent: [form] }];
    await Deno.writeTextFile(path, lines.map((line) => JSON.stringify(line)).join("\n"));
    assert.equal(message!.number, 0);
    assert.deepEqual((await readJournal(path)).map(({ sentAtMs }) => sentAtMs), [10]);
  }));

Deno.test("readJournal() refuses an acknowledgement of what was never sent", () =>
  inFile(async (path) => {
    using journal = new JournalWriter(path);
    journal.noteAcknowledged([1]);
    await assert.rejects(readJournal(path), /1 was never sent/);
  }));

Deno.test("readJournal() takes an absent file for an empty one", () =>
  inFile(async (path) => {
    assert.deepEqual(await readJournal(path), []);
  }));
