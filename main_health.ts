/**
 * The health check of the images: asks the program in this container for `/healthz`, at the address
 * that the settings name. Exit code 0: it is well, or serves nothing (`HTTP_PORT=0`); 1: it is not,
 * or does not answer.
 *
 * @module
 */
import process from "node:process";
import { Argument, Command } from "commander";
import { systemClock } from "./lib/clock.ts";
import { runCommandLine } from "./lib/command_line.ts";
import { checkHealth } from "./lib/http/health_check.ts";
import { EXIT, openProgram, VERSION } from "./lib/program.ts";
import { print } from "./lib/standard_streams.ts";

const cli = new Command("health")
  .description("Asks a program on this computer whether it is well. Exit code 1 if not.")
  .version(VERSION)
  .addArgument(new Argument("<program>").choices(["consumer", "producer"]))
  .action(check);

await runCommandLine(cli);

async function check(program: "consumer" | "producer"): Promise<void> {
  const { settings } = openProgram(["http", program]);
  const address = { host: settings.http.host, port: settings[program].httpPort };
  const answer = await checkHealth(address, systemClock);
  await print(answer.text);
  if (!answer.ok) process.exitCode = EXIT.failed;
}
