/**
 * The consumer as `main_consumer.ts run` runs it, whose calls to the database never return once it
 * has stored a batch. A program of its own, started by `watchdog_test.ts`.
 *
 * @module
 */
import { Command } from "commander";
import { runCommandLine } from "../../lib/command_line.ts";
import { type FlowPorts, runConsumer } from "../../lib/run_consumer.ts";

const migrations = `${import.meta.dirname}/../../migrations`;

function hangingAfterOneBatch({ member, store, cache }: FlowPorts): FlowPorts {
  let stored = 0;
  return {
    member,
    cache,
    store: {
      dataSetId: () => store.dataSetId(),
      readLedger: () => store.readLedger(),
      openLedgerLine: (topic, partition, first) => store.openLedgerLine(topic, partition, first),
      moveLedgerLine: (topic, partition, move) => store.moveLedgerLine(topic, partition, move),
      storeBatch: (batch, way) =>
        stored++ === 0 ? store.storeBatch(batch, way) : new Promise(() => {}),
      lastReadings: (after, limit) => store.lastReadings(after, limit),
      openDeadLetters: () => store.openDeadLetters(),
    },
  };
}

const cli = new Command("hanging_consumer");
cli.action(() => runConsumer({}, { migrations, wrap: hangingAfterOneBatch }));
await runCommandLine(cli);
