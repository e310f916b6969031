/**
 * `deno task permissions`: prints the flags that narrow a program to what its settings name, for the
 * sets of `deno.json` cannot know the hosts.
 *
 *     deno run -q --env-file -P=consume $(deno task -q permissions consume) main_consumer.ts run
 *
 * A broker tells its clients the addresses of all brokers, and those are connected to. So
 * `KAFKA_BROKER` must list all of them, as the brokers call themselves (`advertised.listeners`).
 *
 * @module
 */
import { Argument, Command } from "commander";
import { runCommandLine } from "../lib/command_line.ts";
import { ConfigurationError } from "../lib/errors.ts";
import { fileSettingNames } from "../lib/settings/names.ts";
import { readSettings, type Source } from "../lib/settings/read.ts";
import { type Group, GROUPS, PRODUCER_GROUPS, type Settings } from "../lib/settings/table.ts";
import { print } from "../lib/standard_streams.ts";

/** The sets of `deno.json` that belong to a program. */
export type PermissionSet = "produce" | "consume";

/** The settings that are read with each. */
export const SET_GROUPS: Readonly<Record<PermissionSet, readonly Group[]>> = {
  produce: PRODUCER_GROUPS,
  consume: GROUPS,
};

/** What the flags are made from. */
export interface PermissionSource extends Source {
  /** Further files that the program is to read. */
  readonly files?: readonly string[];
}

/**
 * The flags of `deno run`, each in the place of the same permission of the set.
 *
 * @throws {ConfigurationError} if a setting is wrong, or if a path holds a comma or a space:
 * Deno or the shell would take it for two.
 */
export function permissionFlags(
  set: PermissionSet,
  { files = [], ...source }: PermissionSource,
): readonly string[] {
  const settings: Partial<Settings> & Settings<"kafka" | "producer" | "http"> = set === "produce"
    ? readSettings(PRODUCER_GROUPS, source)
    : readSettings(GROUPS, source);
  const { kafka, producer, http, consumer, postgres, redis } = settings;
  const listen = (consumer ?? producer).httpPort;
  const sockets = postgres?.host.startsWith("/")
    ? [`${postgres.host}/.s.PGSQL.${postgres.port}`]
    : [];
  const hosts = [
    ...kafka.brokers,
    ...(kafka.oauthTokenUrl === undefined ? [] : [tokenServer(kafka.oauthTokenUrl)]),
    ...sockets.map((path) => `unix:${path}`),
    ...(postgres === undefined || sockets.length > 0 ? [] : [address(postgres)]),
    ...(redis === undefined ? [] : [address(redis)]),
    ...(listen === 0 ? [] : [address({ host: http.host, port: listen })]),
  ];
  const paths = [
    ...(set === "consume" ? ["./migrations"] : []),
    ...fileSettingNames(SET_GROUPS[set]).map((name) => source.env(name) ?? "")
      .filter((path) => path !== ""),
    ...sockets,
    ...files,
  ];
  const unfit = paths.find((path) => /[,\s]/.test(path));
  if (unfit !== undefined) {
    throw new ConfigurationError(`Cannot name ${unfit} in a flag: it has a comma or a space`);
  }
  return [
    // What is missing is an error that names it, and no question that stops the program.
    "--no-prompt",
    `--allow-net=${hosts.join(",")}`,
    // Without a path the flag would allow all of them.
    paths.length === 0 ? "--deny-read" : `--allow-read=${paths.join(",")}`,
    // To connect to a socket counts as all three. Other sockets than that are not to be written.
    ...(sockets.length > 0
      ? [`--allow-write=${sockets.join(",")}`]
      : set === "consume"
      ? ["--deny-write"]
      : []),
  ];
}

function tokenServer(text: string): string {
  const { hostname, port, protocol } = new URL(text);
  return `${hostname}:${port || (protocol === "https:" ? 443 : 80)}`;
}

function address({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

async function printFlags(set: PermissionSet, files: readonly string[]): Promise<void> {
  const flags = permissionFlags(set, {
    env: (name) => Deno.env.get(name),
    readFile: Deno.readTextFileSync,
    files,
  });
  await print(flags.join(" "));
}

if (import.meta.main) {
  await runCommandLine(
    new Command("permissions")
      .description("Print the flags that narrow a program to what its settings name.")
      .addArgument(new Argument("<set>", "whose").choices(["produce", "consume"]))
      .argument("[files...]", "further files that the program is to read")
      .action(printFlags),
  );
}
