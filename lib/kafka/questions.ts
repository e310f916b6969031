/**
 * What all who ask the brokers have in common.
 *
 * @module
 */
import { systemClock } from "../clock.ts";
import type { Log } from "../log.ts";
import { withTimeLimit } from "../time_limit.ts";
import { classifyKafkaError, type KafkaAdmin } from "./connection.ts";

/** Tries of a question before its asker hears that nobody answers. */
export const ASK_RETRIES = 2;

/** Tells the group's offsets that this program committed from those of another one. */
export const COMMIT_METADATA = "sensor-ledger";

/** The protocol's number for a topic where settings are asked for. */
const TOPIC_RESOURCE = 2;

/** Asks, and gives what goes wrong its class, see {@linkcode classifyKafkaError}. */
export async function ask<T>(action: string, question: () => Promise<T>): Promise<T> {
  try {
    return await question();
  } catch (error) {
    throw classifyKafkaError(action, error);
  }
}

/** Those of these settings of a topic that the brokers reveal, as they are in force. */
export async function readTopicSettings(
  admin: KafkaAdmin,
  topic: string,
  configNames: string[],
): Promise<ReadonlyMap<string, string>> {
  const resource = { type: TOPIC_RESOURCE, name: topic, configNames };
  const { resources } = await ask(
    "read the topic's settings",
    () => admin.describeConfigs({ includeSynonyms: false, resources: [resource] }),
  );
  return new Map(
    resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]),
  );
}

/** Closes connections, or gives up on brokers that do not answer. */
export async function closeAll(
  clients: readonly { disconnect(): Promise<void> }[],
  { log, limitMs }: { readonly log: Log; readonly limitMs: number },
): Promise<void> {
  const closing = Promise.allSettled(clients.map((client) => client.disconnect())).then(() => {});
  await withTimeLimit(() => closing, { clock: systemClock, limitMs }).catch((error) => {
    log.debug("closing the connections to Kafka", { error });
  });
}
