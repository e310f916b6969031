/**
 * Taking over from the earlier program while its messages, its rows, its keys and its offsets are
 * there: the scripts of `tests/take_over/` behave like it.
 */
import assert from "node:assert/strict";
import { runScript } from "./python.ts";
import { RealPipeline } from "./real_pipeline.ts";

/** A message as the earlier producer writes it. */
interface EarlierMessage {
  readonly unique_reading_id: string;
  readonly sensor_id: string;
  readonly sensor_type: string;
  readonly location: { readonly latitude: number; readonly longitude: number };
  readonly timestamp: string;
  readonly value: number;
  readonly unit: string;
  readonly status: string;
  readonly battery_level: number;
}

/** What `reader.py` prints. */
interface ReaderAnswer {
  readonly events: readonly Readonly<Record<string, unknown>>[];
  readonly duplicates: readonly unknown[];
  readonly last: EarlierMessage;
}

/** How many messages the earlier consumer stores before it is stopped. */
const STORED_BEFORE = 120;

Deno.test("main_consumer.ts takes over from the earlier program", async (t) => {
  await using pipeline = await RealPipeline.open();
  await pipeline.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
  const { env, topic, group } = pipeline;
  const brokers = env.KAFKA_BROKER!;
  const redisPort = env.REDIS_PORT!;
  const postgres = {
    PGHOST: env.POSTGRES_HOST!,
    PGPORT: env.POSTGRES_PORT!,
    PGDATABASE: env.POSTGRES_DB!,
    PGUSER: env.POSTGRES_USER!,
    PGPASSWORD: env.POSTGRES_PASSWORD!,
  };
  const write = async (count: number): Promise<readonly EarlierMessage[]> => {
    const lines = await runScript("writer.py", [brokers, topic, String(count)]);
    return lines.trimEnd().split("\n").map((line) => JSON.parse(line));
  };
  const read = async (sensor: string): Promise<ReaderAnswer> =>
    JSON.parse(await runScript("reader.py", [redisPort, sensor], postgres));

  const messages = [...await write(200)];
  const args = [brokers, topic, group, redisPort, String(STORED_BEFORE)];
  await runScript("consumer.py", args, postgres);
  const before = await pipeline.query("SELECT * FROM sensor_events");
  const committed = await pipeline.admin.fetchOffsets({ groupId: group, topics: [topic] });
  await pipeline.query(`
    INSERT INTO sensor_events (unique_reading_id, sensor_id, sensor_type, timestamp)
    VALUES ('reading-7', 'roof', 'temperature', now())`);

  await t.step("migrate upgrades the database and says what became of the rows", async () => {
    const { stdout } = await pipeline.run("migrate");
    const total = before.length + 1;
    assert.match(stdout, new RegExp(`^took over ${before.length} of ${total} rows`, "m"));
    assert.match(
      stdout,
      /^kept aside in take_over_rejected, 1 in all:\n {2}1: unique_reading_id/m,
    );
  });

  await t.step("reading goes on at the group's offsets", async () => {
    await pipeline.run("run", "--until-end");
    const lines = await pipeline.query(
      "SELECT kafka_partition, first_offset FROM ledger ORDER BY kafka_partition",
    );
    const wanted = committed[0]!.partitions.toSorted((a, b) => a.partition - b.partition);
    assert.deepEqual(
      lines.map(({ kafka_partition, first_offset }) => [kafka_partition, first_offset]),
      wanted.map(({ partition, offset }) => [partition, String(Math.max(0, Number(offset)))]),
    );
  });

  await t.step("the earlier producer's messages flow on", async () => {
    messages.push(...await write(40));
    await pipeline.run("run", "--until-end");
  });

  await t.step("every id is a row, with what one of its messages says", async () => {
    const byId = Map.groupBy(messages, (message) => message.unique_reading_id);
    const { events } = await read(String(before[0]!.sensor_id));
    assert.equal(events.length, byId.size);
    for (const event of events) {
      const candidates = byId.get(String(event.unique_reading_id)) ?? [];
      assert(candidates.some((message) => says(event, message)), JSON.stringify(event));
    }
  });

  await t.step("what contradicts a row is a dead letter, in place of nothing", async () => {
    const dead = await pipeline.query("SELECT reason, count(*)::int FROM dead_letters GROUP BY 1");
    const [line] = await pipeline.query(
      "SELECT sum(inserted)::int AS rows, sum(dead_letters)::int AS dead FROM ledger",
    );
    assert.deepEqual(dead, [{ reason: "id_conflict", count: line!.dead }]);
    assert.equal(Number(line!.rows) + Number(line!.dead), messages.length - STORED_BEFORE);
  });

  await t.step("the earlier reader's queries and keys answer", async () => {
    const isRow = (message: EarlierMessage): boolean =>
      before.some((row) => row.sensor_id === message.sensor_id);
    const isSaidOnce = ({ unique_reading_id: id }: EarlierMessage): boolean =>
      messages.filter((other) => other.unique_reading_id === id).length === 1;
    const young = messages.slice(-40).find(isSaidOnce)!;
    for (const message of [young, ...messages.filter(isRow).slice(0, 3)]) {
      const { duplicates, last } = await read(message.sensor_id);
      assert.deepEqual(duplicates, []);
      assert.deepEqual(last, message);
    }
  });

  await t.step("verify finds every row and every offset accounted for", async () => {
    const report = await pipeline.verify();
    assert.deepEqual(report.problems, []);
  });
});

function says(event: Readonly<Record<string, unknown>>, message: EarlierMessage): boolean {
  const { location, timestamp, ...rest } = message;
  const fields = { ...rest, ...location };
  // Python prints the time with a space, and leaves the fraction out where it is zero.
  const time = String(event.timestamp).replace(" ", "T");
  return time === timestamp &&
    Object.entries(fields).every(([name, value]) => event[name] === value);
}
