/**
 * A cluster of three brokers of the test's own, and topics of which each partition has one copy: with
 * its broker a partition loses its leader.
 *
 * @module
 */
import { Kafka, logLevel } from "kafkajs";
// So that metadata without a leader are read here, too.
import "../../lib/kafka/kafkajs_patches.ts";
import { freePorts } from "../../tools/stack/free_ports.ts";
import { startServer, stopServer } from "../../tools/stack/server.ts";
import { type Stack, startStack } from "../../tools/stack/stack.ts";
import { pass } from "./processes.ts";

/** A silent broker loses its partitions after 9 s; one that starts gets them after some seconds. */
const LEADER_MS_MAX = 90_000;

/** Three brokers, until they are disposed of. */
export class ThreeBrokers implements AsyncDisposable {
  /** Their addresses, as `KAFKA_BROKER` takes them. */
  readonly addresses: string;
  readonly #stack: Stack;
  readonly #kafka: Kafka;

  private constructor(stack: Stack) {
    this.#stack = stack;
    this.addresses = stack.settings.KAFKA_BROKER!;
    const brokers = this.addresses.split(",");
    this.#kafka = new Kafka({ brokers, clientId: "test", logLevel: logLevel.NOTHING });
  }

  /** Starts them. */
  static async start(): Promise<ThreeBrokers> {
    const dir = await Deno.makeTempDir();
    return new ThreeBrokers(
      await startStack({ dir, ports: freePorts(), only: ["kafka"], brokers: 3 }),
    );
  }

  /** Makes a topic; the only copy of partition n is on the broker with the n-th of these node ids. */
  async createTopic(nodeIds: readonly number[]): Promise<string> {
    const topic = `single-copies-${crypto.randomUUID()}`;
    const replicaAssignment = nodeIds.map((id, partition) => ({ partition, replicas: [id] }));
    const configEntries = [{ name: "min.insync.replicas", value: "1" }];
    await this.#asAdmin((admin) =>
      admin.createTopics({ topics: [{ topic, replicaAssignment, configEntries }] })
    );
    for (let partition = 0; partition < nodeIds.length; partition++) {
      await this.#untilLed(topic, partition, "there");
    }
    return topic;
  }

  /** Kills a broker or starts it, and waits until the others have noticed it by this partition. */
  async setBroker(
    nodeId: number,
    state: "there" | "killed",
    { topic, partition }: { readonly topic: string; readonly partition: number },
  ): Promise<void> {
    const broker = this.#stack.servers.kafka[nodeId - 1]!;
    if (state === "killed") await stopServer(broker, "SIGKILL");
    else await startServer(broker);
    await this.#untilLed(topic, partition, state === "killed" ? "none" : "there");
  }

  async #untilLed(topic: string, partition: number, want: "there" | "none"): Promise<void> {
    const startMs = performance.now();
    while (performance.now() - startMs < LEADER_MS_MAX) {
      const led = await this.#asAdmin(async (admin) => {
        const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
        const found = topics[0]!.partitions.find((one) => one.partitionId === partition);
        return found !== undefined && found.leader >= 0 ? "there" : "none";
      }).catch(() => undefined);
      if (led === want) return;
      await pass(200);
    }
    throw new Error(`Cannot see that the leader of partition ${partition} is ${want}`);
  }

  async #asAdmin<T>(work: (admin: ReturnType<Kafka["admin"]>) => Promise<T>): Promise<T> {
    const admin = this.#kafka.admin({ retry: { retries: 2 } });
    try {
      await admin.connect();
      return await work(admin);
    } finally {
      await admin.disconnect().catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.remove();
  }
}
