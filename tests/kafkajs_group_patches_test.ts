import assert from "node:assert/strict";
import Broker from "kafkajs/src/broker/index.js";
import ConsumerGroup from "kafkajs/src/consumer/consumerGroup.js";
import Runner from "kafkajs/src/consumer/runner.js";
import ConnectionPool from "kafkajs/src/network/connectionPool.js";
import "../lib/kafka/kafkajs_group_patches.ts";

/** A question as it goes out: which one, over which connection, and how long its answer may take. */
interface Sent {
  readonly name: string;
  readonly connection: number;
  readonly timeoutMs: number | undefined;
}

/** What a broker answers; undefined: it waits for others. */
type Answer = (name: string) => unknown;

const TIMES = { sessionTimeout: 30_000, rebalanceTimeout: 15_000 };
const GROUP = { groupId: "g", generationId: 1, groupGenerationId: 1, memberId: "m" };

/** A broker of kafkajs whose connections go nowhere. */
function brokerWith(answer: Answer, sent: Sent[]): InstanceType<typeof Broker> {
  const nothing = (): void => {};
  const logger = { namespace: () => logger, debug: nothing };
  const connectionPool = new ConnectionPool({ host: "h", port: 1, logger });
  connectionPool.getConnection = (connection = 0) => ({
    send: async ({ request, requestTimeout }: {
      readonly request: { readonly apiName: string };
      readonly requestTimeout?: number;
    }) => {
      sent.push({ name: request.apiName, connection, timeoutMs: requestTimeout });
      return await answer(request.apiName);
    },
  });
  const broker = new Broker({ connectionPool, logger });
  broker.lookupRequest = (_: number, { protocol }: { protocol: (about: unknown) => unknown }) =>
    protocol({ version: 3 });
  return broker;
}

Deno.test("a member waits for its group longer than a session, and for nothing else", async () => {
  const sent: Sent[] = [];
  const broker = brokerWith(() => ({}), sent);
  await broker.joinGroup({ ...GROUP, ...TIMES, groupProtocols: [] });
  await broker.syncGroup({ ...GROUP, groupAssignment: [] });
  await broker.heartbeat(GROUP);
  assert.deepEqual(sent, [
    { name: "JoinGroup", connection: 0, timeoutMs: 35_000 },
    { name: "SyncGroup", connection: 0, timeoutMs: 35_000 },
    { name: "Heartbeat", connection: 0, timeoutMs: undefined },
  ]);
});

Deno.test("what the coordinator is asked does not wait for the group", async () => {
  const sent: Sent[] = [];
  const others = Promise.withResolvers<unknown>();
  const broker = brokerWith((name) => name === "SyncGroup" ? others.promise : {}, sent);
  await broker.joinGroup({ ...GROUP, ...TIMES, groupProtocols: [] });
  const synced = broker.syncGroup({ ...GROUP, groupAssignment: [] });
  await broker.leaveGroup(GROUP);
  others.resolve({});
  await synced;
  await broker.leaveGroup(GROUP);
  assert.deepEqual(
    sent.map(({ name, connection }) => [name, connection]),
    [["JoinGroup", 0], ["SyncGroup", 0], ["LeaveGroup", 1], ["LeaveGroup", 0]],
  );
});

Deno.test("a runner that is stopped while it joins leaves the group, and does not join again", async (t) => {
  const rows: [string, string | null, string][] = [
    ["it was a member before", "m", "m"],
    ["it is new, and the broker has named it", null, "new"],
  ];
  for (const [name, memberId, leaves] of rows) {
    await t.step(name, async () => {
      const gone: string[] = [];
      let asked = 0;
      const others = Promise.withResolvers<unknown>();
      const broker = brokerWith((question) => {
        if (question !== "JoinGroup") return {};
        const isUnnamed = memberId === null && ++asked === 1;
        if (!isUnnamed) return others.promise;
        throw Object.assign(new Error(), { name: "KafkaJSMemberIdRequired", memberId: "new" });
      }, []);
      broker.leaveGroup = (member: { readonly memberId: string }) => {
        gone.push(member.memberId);
        // So the broker answers whoever waits.
        others.reject(Object.assign(new Error("unknown"), { type: "UNKNOWN_MEMBER_ID" }));
        return Promise.resolve();
      };
      const group = newGroup(broker, memberId);
      const joined = group.joinAndSync();
      const runner = Object.assign(Object.create(Runner.prototype), { consumerGroup: group });
      // The question has gone out.
      for (let turns = 0; turns < 20; turns++) await Promise.resolve();
      await runner.stop();
      await assert.rejects(joined, { message: /left while joining/ });
      assert.deepEqual(gone, [leaves]);
    });
  }
});

function newGroup(broker: unknown, memberId: string | null): InstanceType<typeof ConsumerGroup> {
  const nothing = (): void => {};
  const logger = { namespace: () => logger, debug: nothing };
  const group = new ConsumerGroup({
    cluster: { findGroupCoordinator: () => Promise.resolve(broker) },
    groupId: "g",
    topics: [],
    topicConfigurations: {},
    assigners: [],
    logger,
    retry: { initialRetryTime: 1, retries: 3 },
    ...TIMES,
  });
  group.memberId = memberId;
  return group;
}
