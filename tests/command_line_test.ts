import assert from "node:assert/strict";
import { InvalidArgumentError } from "commander";
import { someOf, whole } from "../lib/command_line.ts";

/** The programs behind the tasks, and flags that each of them must refuse. */
const WRONG: readonly (readonly [program: string, args: string, text: RegExp])[] = [
  ["main_producer.ts", "--cuont 5", /unknown option '--cuont'.*Did you mean --count\?/],
  ["main_producer.ts", "--count", /argument missing/],
  ["main_producer.ts", "--count many", /'many' is invalid\. It must be a whole number/],
  ["main_producer.ts", "readings.ndjson", /too many arguments/],
  ["main_consumer.ts", "--until", /unknown option '--until'/],
  ["main_consumer.ts", "verfiy", /unknown command 'verfiy'/],
  ["main_consumer.ts", "migrate now", /too many arguments/],
  ["main_consumer.ts", "dead-letters lst", /unknown command 'lst'.*Did you mean list\?/],
  ["main_consumer.ts", "rewind", /required option '--to <place>'/],
  ["main_health.ts", "database", /Allowed choices are consumer, producer/],
  ["tools/stack.ts", "down --only reddis", /It must be one of kafka, postgres, redis/],
  ["tools/stack.ts", "up --redis-port 70000", /whole number from 1 to 65535/],
  ["tools/stack.ts", "restart", /unknown command 'restart'/],
  ["tools/with_stack.ts", "", /missing required argument 'command'/],
  ["tools/with_stack.ts", "--keep -- true", /unknown option '--keep'/],
  ["tools/demo.ts", "--rate", /argument missing/],
  ["tools/bench.ts", "--only speed", /It must be one of drain, /],
  ["tools/compile.ts", "--chekc", /Did you mean --check\?/],
  ["tools/images.ts", "--push", /unknown option .--push./],
  ["tools/permissions.ts", "", /missing required argument 'set'/],
  ["tools/permissions.ts", "all", /Allowed choices are produce, consume/],
  ["tools/generate.ts", "README.md", /too many arguments/],
  ["simulation/simulate.ts", "--seeds -1", /'-1' is invalid|argument missing/],
  ["simulation/simulate.ts", "--seed 1 --bug xyzzy", /There is no such bug/],
  ["campaign/prove.ts", "--only (", /It must be a regular expression/],
  ["campaign/prove.ts", "--only nothing-like-it --no-bounds", /there is no such fault/],
];

/** A wrong flag must be refused before anything is read: no settings, no file, no server. */
async function run(program: string, args: string): Promise<Deno.CommandOutput> {
  return await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-A", program, ...args.split(" ").filter((arg) => arg !== "")],
    env: { TOPIC_NAME: "no topic: a blank is not allowed" },
  }).output();
}

Deno.test("every program refuses a wrong flag by exit code 2 and one line", async (t) => {
  const outputs = await Promise.all(WRONG.map(([program, args]) => run(program, args)));
  for (const [at, [program, args, text]] of WRONG.entries()) {
    await t.step(`${program} ${args}`, () => {
      const { code, stdout, stderr } = outputs[at]!;
      const said = new TextDecoder().decode(stderr);
      assert.match(said, text);
      assert.equal(code, 2, said);
      assert.equal(new TextDecoder().decode(stdout), "");
      assert.match(said, /^[^\n]+\n$/);
    });
  }
});

Deno.test("whole() takes plain whole numbers within its bounds", () => {
  for (const text of ["1", "65535"]) assert.equal(whole(1, 65_535)(text), Number(text));
  for (const text of ["0", "65536", "1.5", "-1", "0x10", "1e3", "", " 1", "99999999999999999"]) {
    assert.throws(() => whole(1, 65_535)(text), InvalidArgumentError);
  }
});

Deno.test("someOf() takes names with commas between them", () => {
  assert.deepEqual(someOf(["kafka", "redis"])("redis, kafka"), ["redis", "kafka"]);
  for (const text of ["", "kafka,", "postgres"]) {
    assert.throws(() => someOf(["kafka", "redis"])(text), InvalidArgumentError);
  }
});
