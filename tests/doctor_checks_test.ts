/** The judgements of `doctor`: facts in, findings out. */
import assert from "node:assert/strict";
import { clockFindings } from "../lib/doctor/clock_checks.ts";
import type { Finding, FindingState } from "../lib/doctor/finding.ts";
import { type KafkaContext, kafkaFindings } from "../lib/doctor/kafka_checks.ts";
import { postgresFindings } from "../lib/doctor/postgres_checks.ts";
import { redisFindings } from "../lib/doctor/redis_checks.ts";
import { misspeltFindings, settingsFindings } from "../lib/doctor/settings_checks.ts";
import type { Answer, GroupFacts, KafkaFacts, TopicFacts } from "../lib/kafka/kafka_facts.ts";
import type { Pooler } from "../lib/postgres/pooler.ts";
import type { PostgresServerFacts, SchemaFacts } from "../lib/postgres/postgres_facts.ts";
import type { RedisFacts } from "../lib/redis/redis_facts.ts";
import { readSettings } from "../lib/settings/read.ts";
import { GROUPS, type Settings } from "../lib/settings/table.ts";
import {
  GROUP,
  IDENTITY,
  KAFKA,
  lineAt,
  POSTGRES,
  REDIS,
  sightOf,
  TOPIC,
  TOPIC_SETTINGS,
} from "./doctor_facts.ts";

/** What the check named `check` must say; every other check must be ok. */
type Want = readonly [check: string, state: FindingState, says: RegExp];

function settingsOf(env: Readonly<Record<string, string>>): Settings {
  return readSettings(GROUPS, { env: (name) => env[name] });
}

const DEFAULTS = settingsOf({});

/** Asserts what is found wrong: this alone, or nothing. */
function assertFound(findings: readonly Finding[], want: Want | undefined): void {
  const wrong = findings.filter(({ state }) => state !== "ok");
  const [check, state, says] = want ?? [];
  assert.deepEqual(wrong.map((one) => [one.check, one.state]), want ? [[check, state]] : []);
  for (const one of wrong) assert.match(`${one.text}. ${one.cure}`, says!);
  const names = findings.map((one) => one.check);
  assert.equal(new Set(names).size, names.length, "each check has one line");
}

Deno.test("kafkaFindings() judges the topic", async (t) => {
  const setting = (name: string, value: string): Partial<TopicFacts> => ({
    settings: new Map([...TOPIC_SETTINGS, [name, value]]),
  });
  const copies = (replicas: number, inSync: number, minInSync = 2): Partial<TopicFacts> => ({
    ...setting("min.insync.replicas", String(minInSync)),
    partitions: [{ partition: 0, hasLeader: true, replicas, inSync }, TOPIC.partitions[1]!],
  });
  const cases: [name: string, change: Partial<TopicFacts>, want: Want | undefined][] = [
    ["healthy", {}, undefined],
    ["a partition without a leader", {
      partitions: [{ ...TOPIC.partitions[0]!, hasLeader: false }],
    }, ["partitions", "failure", /partitions 0 cannot be read or written: they have no leader/]],
    ["a partition whose leader is silent", {
      watermarks: new Map([[0, { offline: "broker 3 leads it and is silent" }]]),
    }, ["leaders", "failure", /partition 0: broker 3 leads it and is silent\. .*advertised/]],
    ["leaders out of reach", { watermarks: new Error("no address") }, [
      "leaders",
      "failure",
      /no address\. .*advertised\.listeners/,
    ]],
    ["a transaction that stays open", {
      heldBack: new Map([[1, { offset: 5, messages: 7 }], [2, { offset: 0, messages: 1 }]]),
    }, [
      "transactions",
      "warning",
      /partition 1: 7 messages wait .* offset 5; partition 2: .*--partition 1 --start-offset 5/,
    ]],
    ["brokers that know no topic ids", { identity: new Error("what?") }, [
      "topic id",
      "failure",
      /what\?.*2\.8/,
    ]],
    ["one copy", copies(1, 1, 1), ["replication", "warning", /one copy/]],
    ["one copy, and two are asked for", copies(1, 1, 2), ["replication", "warning", /one copy/]],
    ["too few copies in sync", copies(3, 1), ["replication", "failure", /refuse to write/]],
    ["a copy behind", copies(3, 2), ["replication", "warning", /a copy is behind/]],
    ["one copy acknowledges", copies(3, 3, 1), [
      "replication",
      "warning",
      /a single copy may acknowledge/,
    ]],
    ["all copies are needed", copies(2, 2, 2), ["replication", "warning", /any broker is down/]],
    ["compacted", setting("cleanup.policy", "compact,delete"), [
      "cleanup policy",
      "failure",
      /only the newest message/,
    ]],
    ["kept for hours", setting("retention.ms", "3600000"), ["retention", "warning", /^1h: /]],
    ["bounded by size", setting("retention.bytes", "1000000"), [
      "retention size",
      "warning",
      /burst can push out/,
    ]],
    ["kept for longer than readings may be old", setting("retention.ms", "-1"), [
      "age limit",
      "warning",
      /forever, and MAX_PAST_DAYS=3650/,
    ]],
    ["producers' clocks", setting("message.timestamp.type", "CreateTime"), [
      "message time",
      "warning",
      /producers' clocks/,
    ]],
    ["small messages", setting("max.message.bytes", "500000"), [
      "message size",
      "warning",
      /less than PRODUCER_BATCH_BYTES_MAX=524288/,
    ]],
    ["unclean election", setting("unclean.leader.election.enable", "true"), [
      "leader election",
      "warning",
      /can be lost/,
    ]],
    ["settings refused", { settings: new Error("no right") }, [
      "topic settings",
      "warning",
      /no right.*DESCRIBE_CONFIGS/,
    ]],
    ["settings not told", { settings: new Map() }, [
      "topic settings",
      "warning",
      /DESCRIBE_CONFIGS/,
    ]],
  ];
  const ledger = [lineAt(0, 95), lineAt(1, 5)];
  for (const [name, change, want] of cases) {
    await t.step(name, () => {
      const facts = {
        ...KAFKA,
        topic: { ...TOPIC, ...change },
        group: { ...GROUP, sight: sightOf(1) },
      };
      assertFound(kafkaFindings(facts, { settings: DEFAULTS, ledger }), want);
    });
  }
});

Deno.test("kafkaFindings() says to what retention compares", async (t) => {
  const cases: [env: Record<string, string>, retention: string, says: RegExp][] = [
    [{}, "604800000", /^7d, so retain .*older than REDIS_TTL_SECONDS=3600/],
    [{ REDIS_TTL_SECONDS: "604800" }, "604800000", /^7d, .*Redis remembers readings as long/],
    [{ MAX_PAST_DAYS: "0" }, "-1", /^forever, so retain deletes nothing/],
  ];
  for (const [env, retention, says] of cases) {
    await t.step(String(says), () => {
      const settings = new Map([...TOPIC_SETTINGS, ["retention.ms", retention]]);
      const facts = { ...KAFKA, topic: { ...TOPIC, settings } };
      const ledger = [lineAt(0, 95), lineAt(1, 5)];
      const findings = kafkaFindings(facts, { settings: settingsOf(env), ledger });
      assertFound(findings, undefined);
      assert.match(findings.find(({ check }) => check === "retention")!.text, says);
    });
  }
});

const WITH_STRANGER: GroupFacts["sight"] = {
  ...sightOf(1),
  members: [
    { name: "sensor-ledger-consumer at 127.0.0.1", kind: "ours", partitions: [0] },
    { name: "rdkafka at 127.0.0.9", kind: "stranger", partitions: [1] },
  ],
};

Deno.test("kafkaFindings() judges the group and the lag", async (t) => {
  type Change = { group?: Partial<GroupFacts>; topic?: Answer<TopicFacts> };
  const ledger = [lineAt(0, 95), lineAt(1, 5)];
  const cases: [string, Change, KafkaContext["ledger"], Want | undefined][] = [
    ["healthy", {}, ledger, undefined],
    ["nobody", { group: { sight: sightOf(0) } }, ledger, undefined],
    [
      "another program's",
      { group: { sight: { ...sightOf(2), protocolType: "connect" } } },
      ledger,
      [
        "group",
        "failure",
        /belongs to another kind of program, "connect"/,
      ],
    ],
    [
      "rebalancing",
      { group: { sight: { ...sightOf(2), isSettled: false, state: "PreparingRebalance" } } },
      ledger,
      [
        "group",
        "warning",
        /rebalancing/,
      ],
    ],
    ["more members than partitions", { group: { sight: sightOf(5) } }, ledger, [
      "group",
      "warning",
      /5 members and 2 partitions: 3 without work/,
    ]],
    ["a stranger", { group: { sight: WITH_STRANGER } }, ledger, [
      "group",
      "failure",
      /\(rdkafka at 127\.0\.0\.9\)\. No consumer stores partitions 1\. Stop it, or choose another/,
    ]],
    [
      "offsets that a tool has set",
      { group: { sight: sightOf(0), committedByOthers: new Map([[0, 95], [1, 0]]) } },
      ledger,
      ["group offsets", "warning", /partition 1 to 0\)\. They have no effect.*deno task rewind/],
    ],
    ["no topic", { topic: new Error("there is none") }, ledger, [
      "topic",
      "failure",
      /there is none/,
    ]],
    ["waiting for long", {}, [lineAt(0, 49), lineAt(1, 5)], [
      "lag",
      "warning",
      /51 messages are waiting, in partitions 0 for more than half/,
    ]],
    [
      "waiting for long, by another program's offset",
      { group: { committedByOthers: new Map([[0, 20]]) } },
      [],
      ["lag", "warning", /85 messages are waiting, in partitions 0/],
    ],
    [
      "made again: another program's offset counts no more",
      { group: { committedByOthers: new Map([[0, 95]]) } },
      [{ ...lineAt(0, 7), topic: { ...IDENTITY, topicId: "before" } }],
      ["lag", "warning", /95 messages are waiting, in partitions 0/],
    ],
    ["the log has lost its end", { group: { sight: sightOf(0) } }, [lineAt(0, 101), lineAt(1, 5)], [
      "lag",
      "failure",
      /partitions 0 end before the ledger/,
    ]],
    ["the ledger moved on meanwhile", {}, [lineAt(0, 101), lineAt(1, 5)], undefined],
    ["deleted before it was stored", {}, [lineAt(0, 4), lineAt(1, 5)], [
      "lag",
      "failure",
      /deleted 6 messages that were not stored/,
    ]],
    ["a ledger that is not told", {}, new Error("no table"), undefined],
  ];
  for (const [name, { group, topic = TOPIC }, lines, want] of cases) {
    await t.step(name, () => {
      const facts: KafkaFacts = { ...KAFKA, topic, group: { ...GROUP, ...group } };
      assertFound(kafkaFindings(facts, { settings: DEFAULTS, ledger: lines }), want);
    });
  }
  await t.step("a group that is not told", () => {
    const facts = { ...KAFKA, group: new Error("no right") };
    assertFound(kafkaFindings(facts, { settings: DEFAULTS, ledger }), [
      "group",
      "failure",
      /no right/,
    ]);
  });
  await t.step("the lag is the ledger's", () => {
    const found = kafkaFindings(KAFKA, { settings: DEFAULTS, ledger });
    assert.match(found.at(-1)!.text, /^5 messages are waiting/);
  });
});

Deno.test("postgresFindings() judges server and tables", async (t) => {
  type Change = Partial<PostgresServerFacts> & Partial<SchemaFacts>;
  const cases: [name: string, change: Change, want: Want | undefined][] = [
    ["healthy", {}, undefined],
    ["too old", { versionMajor: 12 }, ["version", "failure", /too old/]],
    ["not tested", { versionMajor: 14 }, ["version", "warning", /not tested/]],
    ["a standby", { isStandby: true }, ["writable", "failure", /standby/]],
    ["read-only", { isReadOnly: true }, ["writable", "failure", /read_only=on/]],
    ["a superuser", { isSuperuser: true }, ["role", "warning", /superuser.*postgres_roles/]],
    ["few connections left", { connections: 91 }, [
      "connections",
      "warning",
      /91 of 97 taken, a consumer takes up to 7/,
    ]],
    ["just enough connections", { connections: 90 }, undefined],
    ["few connections for the role", { roleConnectionsMax: 6 }, [
      "connections",
      "failure",
      /may have 6/,
    ]],
    ["no schema", { schema: null, searchPath: "iot" }, [
      "schema",
      "failure",
      /search_path \(iot\) names no schema.*POSTGRES_SCHEMA/,
    ]],
    ["no Unicode", { encoding: "LATIN1" }, ["encoding", "failure", /LATIN1/]],
    ["no fsync", { hasFsync: false }, ["durability", "failure", /^fsync off/]],
    ["no full pages", { hasFullPageWrites: false }, [
      "durability",
      "failure",
      /^full_page_writes off/,
    ]],
    ["commits that wait for one disk", { synchronousCommit: "local" }, undefined],
    ["missing rights", { missingRights: ["INSERT on ledger", "SELECT on ledger"] }, [
      "rights",
      "failure",
      /lacks INSERT on ledger, SELECT on ledger/,
    ]],
    ["missing key", { missingKeys: ["sensor_events (unique_reading_id)"] }, [
      "unique keys",
      "failure",
      /sensor_events \(unique_reading_id\)/,
    ]],
    ["a table without a log", { unloggedTables: ["ledger"] }, [
      "crash safety",
      "failure",
      /empties ledger/,
    ]],
    ["trigger off", { renewsDataSet: false }, ["data set", "failure", /renew_data_set/]],
  ];
  for (const [name, change, want] of cases) {
    await t.step(name, () => {
      const facts = {
        ...POSTGRES,
        server: { ...POSTGRES.server, ...change },
        schema: { ...POSTGRES.schema, ...change },
      };
      assertFound(
        postgresFindings(facts, {
          settings: DEFAULTS,
          pooler: "none",
          pending: [],
          readFault: null,
        }),
        want,
      );
    });
  }
  const nothing = { ...POSTGRES, schema: { ...POSTGRES.schema, renewsDataSet: false } };
  await t.step("pending migrations, and nothing about tables that are not there", () => {
    assertFound(
      postgresFindings(nothing, {
        settings: DEFAULTS,
        pooler: "none",
        pending: ["1.sql", "2.sql"],
        readFault: null,
      }),
      [
        "migrations",
        "failure",
        /2 pending: 1\.sql, 2\.sql\. Run: deno task migrate/,
      ],
    );
  });
  await t.step("another past", () => {
    const pending = new Error("a newer version has been here");
    assertFound(
      postgresFindings(nothing, { settings: DEFAULTS, pooler: "none", pending, readFault: null }),
      [
        "migrations",
        "failure",
        /newer version/,
      ],
    );
  });
  await t.step("a missing key is told also while migrations are pending", () => {
    const schema = { ...POSTGRES.schema, missingKeys: ["ledger (topic)"] };
    const found = postgresFindings({ ...POSTGRES, schema }, {
      settings: DEFAULTS,
      pooler: "none",
      pending: ["3"],
      readFault: null,
    });
    assert.deepEqual(
      found.filter(({ state }) => state === "failure").map(({ check }) => check),
      ["migrations", "unique keys"],
    );
    assert(!found.some(({ check }) => ["rights", "crash safety", "data set"].includes(check)));
  });
  const withReader = settingsOf({ POSTGRES_READ_USER: "r", POSTGRES_READ_PASSWORD: "p" });
  await t.step("a read role that may not read", () => {
    const readFault = new Error("permission denied");
    const context = { settings: withReader, pooler: "none" as const, pending: [], readFault };
    assertFound(postgresFindings(POSTGRES, context), [
      "read role",
      "failure",
      /permission denied.*POSTGRES_READ_USER/,
    ]);
    assertFound(postgresFindings(POSTGRES, { ...context, readFault: null }), undefined);
  });
  await t.step("a read role takes the dashboard's connections", () => {
    const limited = { ...POSTGRES, server: { ...POSTGRES.server, roleConnectionsMax: 4 } };
    const context = { settings: withReader, pooler: "none" as const, pending: [], readFault: null };
    assertFound(postgresFindings(limited, context), undefined);
  });
  const withPooler = (pooler: Pooler | Error): readonly Finding[] =>
    postgresFindings(POSTGRES, { settings: DEFAULTS, pooler, pending: [], readFault: null });
  await t.step("a pooler", () => {
    assertFound(withPooler("session"), undefined);
    assertFound(withPooler("transaction"), undefined);
    const found = withPooler("transaction").find(({ check }) => check === "pooler");
    assert.equal(found?.text, "a pooler lends its connections for one transaction at a time");
    assertFound(withPooler("statement"), [
      "pooler",
      "failure",
      /one statement at a time. .*pool_mode/,
    ]);
    assertFound(withPooler(new Error("too many")), [
      "pooler",
      "warning",
      /cannot tell whether there is one: too many/,
    ]);
  });
  await t.step("sizes", () => {
    const found = postgresFindings(POSTGRES, {
      settings: DEFAULTS,
      pooler: "none",
      pending: [],
      readFault: null,
    });
    const disk = found.find(({ check }) => check === "disk");
    assert.match(disk?.text ?? "", /^the database takes 3 GiB, readings 2\.5 GiB of it/);
  });
});

function held(owner: string | null, lease: string | null): RedisFacts["lastValues"] {
  return { owner, lease, refusedKey: null };
}

Deno.test("redisFindings() judges the server", async (t) => {
  const allkeys = { evictionPolicy: "allkeys-lru" };
  const cases: [name: string, change: Partial<RedisFacts>, want: Want | undefined][] = [
    ["healthy", {}, undefined],
    ["volatile", { evictionPolicy: "volatile-lru" }, undefined],
    ["evicts everything", { ...allkeys, evictedKeys: 12 }, [
      "eviction",
      "failure",
      /last values.*12 keys.*rebuild-last/,
    ]],
    ["would evict everything", { ...allkeys, memoryBytesMax: 0 }, [
      "eviction",
      "warning",
      /once maxmemory is set/,
    ]],
    ["a replica", { role: "slave" }, ["kind", "failure", /replica/]],
    ["last values of a data set that is gone", { lastValues: held("gone", null) }, [
      "last values",
      "warning",
      /data set, gone, which has no consumer/,
    ]],
    ["last values of a neighbour", { lastValues: held("theirs", "theirs") }, [
      "last values",
      "failure",
      /another data set, theirs, .*ours, data-set, are not written.*REDIS_PREFIX/,
    ]],
    ["a neighbour that clears them", { lastValues: held(null, "theirs") }, [
      "last values",
      "failure",
      /another data set, theirs/,
    ]],
    ["last values of nobody", { lastValues: held(null, null) }, undefined],
    ["a key of another program", {
      lastValues: { ...REDIS.lastValues, refusedKey: "last:s-88" },
    }, ["keys", "warning", /last:s-88 belongs to another program.*REDIS_PREFIX/]],
    ["full", { memoryBytes: 95 * 1_024 ** 2 }, ["memory", "warning", /refuses to write/]],
    ["full, and evicts", { memoryBytes: 95 * 1_024 ** 2, evictionPolicy: "volatile-ttl" }, [
      "memory",
      "warning",
      /evicts keys/,
    ]],
    ["unbounded", { memoryBytesMax: 0 }, undefined],
  ];
  for (const [name, change, want] of cases) {
    await t.step(name, () => {
      assertFound(
        redisFindings({ ...REDIS, ...change }, { settings: DEFAULTS, dataSetId: "data-set" }),
        want,
      );
    });
  }
});

Deno.test("misspeltFindings() names what has no effect, and what was meant", () => {
  assert.deepEqual(misspeltFindings([]), []);
  const [finding] = misspeltFindings([{ name: "TOPC_NAME", meant: "TOPIC_NAME" }]);
  assert.equal(finding?.state, "warning");
  assert.match(finding.text, /^TOPC_NAME is not a setting/);
  assert.match(finding.cure, /TOPIC_NAME/);
});

Deno.test("settingsFindings() names contradictions", async (t) => {
  const cases: [name: string, env: Record<string, string>, want: Want | undefined][] = [
    ["none by default", {}, undefined],
    ["fewer connections than batches", { POSTGRES_POOL_MAX: "2" }, [
      "connections",
      "warning",
      /POSTGRES_POOL_MAX=2 .* BATCHES_CONCURRENT=3/,
    ]],
    ["a batch that Redis cannot take in time", {
      REDIS_BUDGET_MS: "49",
      BATCH_MESSAGES_MAX: "10000",
    }, ["Redis budget", "warning", /REDIS_BUDGET_MS=49 .*Allow 50 ms/]],
    ["a short budget for small batches", {
      REDIS_BUDGET_MS: "10",
      BATCH_MESSAGES_MAX: "2000",
    }, undefined],
    ["marks that die too soon", { REDIS_TTL_SECONDS: "9" }, [
      "marks",
      "warning",
      /REDIS_TTL_SECONDS=9 .*KAFKA_SESSION_TIMEOUT_MS=10000/,
    ]],
    ["a password in the clear", {
      KAFKA_SASL_MECHANISM: "plain",
      KAFKA_USER: "u",
      KAFKA_PASSWORD: "p",
    }, ["Kafka login", "warning", /KAFKA_TLS=disable/]],
    ["pages for everybody", { HTTP_HOST: "0.0.0.0" }, ["pages", "warning", /no HTTP_TOKEN/]],
    ["pages for whoever has the token", {
      HTTP_HOST: "0.0.0.0",
      HTTP_TOKEN: "0123456789abcdef",
    }, undefined],
    ["no pages", { HTTP_HOST: "0.0.0.0", HTTP_PORT: "0" }, undefined],
    ["a password that is proved", {
      KAFKA_SASL_MECHANISM: "scram-sha-512",
      KAFKA_USER: "u",
      KAFKA_PASSWORD: "p",
    }, undefined],
  ];
  for (const [name, env, want] of cases) {
    await t.step(name, () => assertFound(settingsFindings(settingsOf(env)), want));
  }
});

Deno.test("clockFindings() judges differences as far as they are certain", async (t) => {
  const at = (aheadMs: number, toleranceMs = 1): { aheadMs: number; toleranceMs: number } => ({
    aheadMs,
    toleranceMs,
  });
  type Times = Parameters<typeof clockFindings>[0];
  const cases: [name: string, times: Times, want: Want | undefined][] = [
    ["in step", { postgres: at(5), redis: at(-5) }, undefined],
    ["one server alone", { redis: at(3) }, undefined],
    ["a slow answer proves nothing", { postgres: at(2_500, 600) }, undefined],
    ["PostgreSQL is ahead", { postgres: at(2_500), redis: at(900) }, [
      "difference",
      "warning",
      /PostgreSQL and this computer differ by 2\.5 s/,
    ]],
    ["the servers differ", { postgres: at(1_500), redis: at(-1_500) }, [
      "difference",
      "warning",
      /PostgreSQL and Redis differ by 3\.0 s/,
    ]],
    ["Redis is an hour behind", { postgres: at(0), redis: at(-3_700_000) }, [
      "difference",
      "failure",
      /valid readings can become dead letters/,
    ]],
  ];
  for (const [name, times, want] of cases) {
    await t.step(name, () => assertFound(clockFindings(times, DEFAULTS), want));
  }
  await t.step("the allowed skew decides what is wrong", () => {
    const strict = settingsOf({ MAX_FUTURE_SKEW_SECONDS: "0" });
    const [found] = clockFindings({ postgres: at(61_000) }, strict);
    assert.equal(found?.state, "failure");
    assert.equal(clockFindings({ postgres: at(59_000) }, strict)[0]?.state, "warning");
  });
  await t.step("nothing is said without a clock", () => {
    assert.deepEqual(clockFindings({}, DEFAULTS), []);
  });
});
