/**
 * The commands for a bad day: `dead-letters`, `rewind`, `rebuild-last` and `retain`. Their flags,
 * what they open, and what they print; the work is done by the other files of this folder.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createReadStream } from "node:fs";
import process from "node:process";
import { systemClock } from "../clock.ts";
import type { CommandLine } from "../command_line.ts";
import { ConfigurationError, describeError } from "../errors.ts";
import type { OpenGroupMember } from "../kafka/kafkajs_group_member.ts";
import { type Repaired, repairLastValues } from "../consumer/last_values.ts";
import type { PostgresStore } from "../postgres/client.ts";
import {
  countDeadLetters,
  discardDeadLetters,
  readDeadLetter,
  readDeadLetters,
} from "../postgres/dead_letters.ts";
import { asciiJson, printable } from "../printable.ts";
import { EXIT, openProgram, type Program } from "../program.ts";
import {
  canRewrite,
  endLive,
  isOutputClosed,
  outputColumns,
  print,
  printJson,
  printText,
  showLive,
  tell,
} from "../standard_streams.ts";
import { MESSAGE_BYTES_MAX } from "../reading/reading.ts";
import { openCache, type RedisCache } from "../redis/client.ts";
import {
  examine,
  type FilterFlags,
  letterJson,
  LIST_LETTERS_MAX,
  LIST_PAYLOAD_BYTES,
  listText,
  outcomeText,
  parseFilter,
  parseLetterId,
  parseSelection,
  showText,
} from "./dead_letters.ts";
import { deadLetterPages, replayDeadLetter, type ReplayOutcome } from "./replay.ts";
import { BATCH_ROWS_MAX, parseAge, retain, retainText } from "./retain.ts";
import { isMove, parseRewindTarget, planRewind, rewind, rewindText } from "./rewind.ts";
import { counted } from "../quantities.ts";

/** How a command reaches the servers. */
export interface Opening {
  /** Opens the store. Nothing connects before the first call. */
  readonly store: (program: Program<"postgres">) => PostgresStore;
  /** Connects to the brokers without joining the group. */
  readonly member: (program: Program<"kafka">) => Promise<OpenGroupMember>;
}

/** Adds the commands to the consumer's command line. */
export function addOperations(cli: CommandLine, opening: Opening): void {
  addDeadLetters(cli, opening);
  cli.command("rewind")
    .description("go back in the topic and read it again; only while no consumer is running")
    .requiredOption("--to <place>", "beginning, a date or a time, or an offset")
    .option("--partition <number>", "only this partition (default: all)")
    .option("--dry-run", "show what would be done")
    .option("--json", "print JSON")
    .action((flags) => runRewind(flags, opening));
  cli.command("rebuild-last")
    .description("refill the last values in Redis from PostgreSQL")
    .action(() => runRebuildLast(opening));
  cli.command("retain")
    .description("delete old rows, in batches with pauses")
    .option("--older-than <window>", "readings older than this: 90d, 12h")
    .option("--dead-letters-older-than <window>", "resolved dead letters older than this")
    .option("--batch <rows>", `rows per batch, 1 to ${BATCH_ROWS_MAX}`, "10000")
    .option("--dry-run", "count, but delete nothing")
    .option("--json", "print JSON")
    .action((flags) => runRetain(flags, opening));
}

function addDeadLetters(cli: CommandLine, opening: Opening): void {
  const letters = cli.command("dead-letters")
    .description("list bad messages, replay them, or discard them");
  const chosen = (name: string, description: string): CommandLine =>
    letters.command(name).description(description)
      .option("--reason <reason>", "only those with this reason")
      .option("--since <time>", "only those stored at or after this date or time")
      .option("--until <time>", "only those stored before this date or time")
      .option("--sensor <id>", "only those of this sensor, as far as the message names one");
  chosen("list", "list open dead letters, newest first")
    .option("--all", "include resolved ones")
    .option("--limit <count>", `how many at most, 1 to ${LIST_LETTERS_MAX}`, "50")
    .option("--before <id>", "only those older than this one")
    .option("--json", "print a JSON array")
    .action((flags) => runList(flags, opening));
  letters.command("show").argument("<id>")
    .description("show one in full, and what a replay would do")
    .option("--json", "print JSON")
    .action((id, flags) => runShow(id, flags, opening));
  chosen("replay", "parse again and store what is valid now; exit code 1 if any stays open")
    .argument("[ids...]")
    .option(
      "--edit <file>",
      "with one id: use the message in this file instead (- for standard input)",
    )
    .option("--dry-run", "show what would be done")
    .option("--json", "print one JSON object per line")
    .action((ids, flags) => runReplay(ids, flags, opening));
  chosen("export", "print dead letters as JSON, one per line, oldest first")
    .option("--all", "include resolved ones")
    .action((flags) => runExport(flags, opening));
  chosen("discard", "mark as discarded; the rows are kept")
    .argument("[ids...]")
    .requiredOption("--reason-text <text>", "why, for the record")
    .option("--dry-run", "show what would be done")
    .action((ids, flags) => runDiscard(ids, flags, opening));
}

async function runList(
  flags: FilterFlags & { all?: true; limit: string; before?: string; json?: true },
  opening: Opening,
): Promise<void> {
  const filter = parseFilter(flags, flags.all ? "all" : "open");
  const limit = wholeNumber("--limit", flags.limit, LIST_LETTERS_MAX);
  const afterId = flags.before === undefined ? undefined : parseLetterId(flags.before);
  await using store = opening.store(openProgram(["postgres"]));
  const letters = await readDeadLetters(store.pool, filter, {
    order: "newest",
    afterId,
    limit,
    ...(!flags.json && { payloadBytesMax: LIST_PAYLOAD_BYTES }),
  });
  if (flags.json) return await printJson(letters.map(letterJson));
  if (letters.length === 0) return await printText("no dead letters");
  await printText(listText(letters, outputColumns()));
  if (letters.length < limit) return;
  const count = await countDeadLetters(store.pool, filter);
  await printText(`\n${count} in all; older ones: --before ${letters.at(-1)?.id}`);
}

async function runShow(text: string, flags: { json?: true }, opening: Opening): Promise<void> {
  const id = parseLetterId(text);
  const program = openProgram(["postgres", "limits"]);
  await using store = opening.store(program);
  const letter = await readDeadLetter(store.pool, id);
  if (letter === undefined) return fail(`Cannot find dead letter ${id}`);
  const found = await examine(letter, store.pool, {
    nowMs: systemClock.now(),
    ...program.settings.limits,
  });
  if (!flags.json) return await printText(showText(found, outputColumns()));
  const { today, conflict } = found;
  await printJson({
    ...letterJson(letter),
    today: outcomeJson(today),
    ...(conflict !== undefined && { stored: conflict.stored, sent: conflict.sent }),
  });
}

async function runReplay(
  texts: readonly string[],
  flags: FilterFlags & { edit?: string; dryRun?: true; json?: true },
  opening: Opening,
): Promise<void> {
  const filter = parseSelection(texts, flags);
  if (flags.edit !== undefined && filter.ids?.length !== 1) {
    throw new ConfigurationError(
      "Cannot use --edit: it replaces the message of one dead letter. Give exactly one id",
    );
  }
  const edited = flags.edit === undefined ? undefined : await readEdited(flags.edit);
  const program = openProgram(["postgres", "redis", "limits"]);
  const { settings, log, signal } = program;
  await using store = opening.store(program);
  await using cache = await openReachableCache(program);
  const counts = new Map<ReplayOutcome["kind"], number>();
  const missing = new Set(filter.ids);
  const tell = async (id: number, outcome: ReplayOutcome): Promise<void> => {
    missing.delete(id);
    counts.set(outcome.kind, (counts.get(outcome.kind) ?? 0) + 1);
    if (flags.json) await print(asciiJson({ id, ...outcomeJson(outcome) }));
    else await printText(`${id}  ${outcomeText(outcome)}`);
  };
  const parts = {
    pool: store.pool,
    store,
    cache,
    clock: systemClock,
    limits: settings.limits,
    log,
  };
  const mode = flags.dryRun ? "try" : "do";
  for await (const page of deadLetterPages(store.pool, filter)) {
    for (const letter of page) {
      if (signal.aborted) return fail("Stopped before the end");
      await tell(letter.id, await replayDeadLetter(letter, parts, { mode, edited }));
    }
  }
  for (const id of missing) await tell(id, { kind: "absent" });
  if (!flags.json) await printText(countsText(counts, flags));
  const stay = ["conflict", "rejected", "absent"] as const;
  if (stay.some((kind) => counts.has(kind))) process.exitCode = EXIT.failed;
}

/** Redis may be away; then last values are told later, by `rebuild-last`. */
async function openReachableCache({ settings, log }: Program<"redis">): Promise<RedisCache> {
  const cache = openCache(settings.redis, { clock: systemClock, log });
  await cache.connected().catch((error) => {
    log.warn("Redis does not answer; rebuild-last will update the last values later", {
      cause: describeError(error),
    });
  });
  return cache;
}

async function readEdited(path: string): Promise<Uint8Array> {
  const isStandard = path === "-";
  if (isStandard && process.stdin.isTTY) tell("type the message, then Ctrl-D");
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    // A file's synchronous reading fails on a pipe that is set not to wait.
    for await (const chunk of isStandard ? process.stdin : createReadStream(path)) {
      bytes += chunk.length;
      if (bytes > MESSAGE_BYTES_MAX) {
        throw new Error(`it is longer than ${MESSAGE_BYTES_MAX} bytes, the most of a reading`);
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    throw new ConfigurationError(`Cannot read the edited message from ${path}`, { cause: error });
  }
}

function countsText(counts: ReadonlyMap<string, number>, flags: { dryRun?: true }): string {
  const parts = [...counts].map(([kind, count]) => `${count} ${kind}`);
  if (parts.length === 0) return "nothing to replay";
  return flags.dryRun ? `would be: ${parts.join(", ")}; nothing was changed` : parts.join(", ");
}

function outcomeJson(outcome: ReplayOutcome): Readonly<Record<string, unknown>> {
  if (outcome.kind === "rejected") {
    const { reason, detail } = outcome.rejection;
    return { outcome: outcome.kind, reason, detail };
  }
  const { kind, ...rest } = outcome;
  return { outcome: kind, ...rest };
}

async function runExport(
  flags: FilterFlags & { all?: true },
  opening: Opening,
): Promise<void> {
  const filter = parseFilter(flags, flags.all ? "all" : "open");
  const program = openProgram(["postgres"]);
  await using store = opening.store(program);
  for await (const page of deadLetterPages(store.pool, filter)) {
    if (program.signal.aborted) return fail("Stopped before the end");
    await print(page.map((letter) => asciiJson(letterJson(letter))).join("\n"));
    if (isOutputClosed()) return;
  }
}

async function runDiscard(
  texts: readonly string[],
  flags: FilterFlags & { reasonText: string; dryRun?: true },
  opening: Opening,
): Promise<void> {
  const filter = parseSelection(texts, flags);
  const why = flags.reasonText.trim();
  if (why === "") throw new ConfigurationError("Cannot discard without a --reason-text");
  const program = openProgram(["postgres"]);
  await using store = opening.store(program);
  const missing = new Set(filter.ids);
  let discarded = 0;
  for await (const page of deadLetterPages(store.pool, filter)) {
    if (program.signal.aborted) break;
    const open = page.filter(({ resolution }) => resolution === null).map(({ id }) => id);
    discarded += flags.dryRun ? open.length : await discardDeadLetters(store.pool, open, why);
    for (const { id } of page) missing.delete(id);
  }
  await printText(flags.dryRun ? `would discard ${discarded}` : `discarded ${discarded}`);
  if (program.signal.aborted) return fail("Stopped before the end");
  if (missing.size > 0) fail(`Cannot find dead letter ${[...missing].join(", ")}`);
}

async function runRewind(
  flags: { to: string; partition?: string; dryRun?: true; json?: true },
  opening: Opening,
): Promise<void> {
  const target = parseRewindTarget(flags.to);
  const partition = flags.partition === undefined
    ? undefined
    : wholeNumber("--partition", flags.partition, PARTITION_MAX, 0);
  const program = openProgram(["postgres", "kafka"]);
  await using store = opening.store(program);
  await using member = await opening.member(program);
  const plan = await planRewind({ member, store }, { target, partition });
  if (!flags.dryRun) await rewind(plan, store);
  if (flags.json) return await printJson(plan);
  await printText(rewindText(plan, outputColumns()));
  const moves = plan.steps.filter(isMove).length;
  if (moves === 0) await printText("nothing to rewind");
  else {await printText(
      flags.dryRun ? "nothing was changed" : `rewound ${counted(moves, "partition")}`,
    );}
}

/** Kafka numbers partitions with 31 bits. */
const PARTITION_MAX = 2 ** 31 - 1;

async function runRebuildLast(opening: Opening): Promise<void> {
  const program = openProgram(["postgres", "redis"]);
  const { settings, log, signal } = program;
  await using store = opening.store(program);
  await using cache = openCache(settings.redis, { clock: systemClock, log });
  await cache.connected();
  const progress = openProgress(program);
  const repaired = await repairLastValues(
    {
      store,
      cache,
      clock: systemClock,
      onProgress: (count) => progress.show(counted(count, "sensor")),
    },
    { dataSetId: await store.dataSetId() },
    signal,
  );
  await progress.clear();
  if (repaired.kind === "foreign") throw neighbourError(repaired);
  const { sensors } = repaired;
  if (signal.aborted) {
    return fail(`Stopped after ${counted(sensors, "sensor")}; run it again for the rest`);
  }
  await printText(`checked the last values of ${counted(sensors, "sensor")}`);
}

function neighbourError({ dataSetId, leaseMs }: Extract<Repaired, { kind: "foreign" }>): Error {
  return new ConfigurationError(
    `Cannot write last values: Redis holds those of another data set, ${dataSetId}, which had ` +
      "a consumer a moment ago. Give each data set its own REDIS_PREFIX or REDIS_DATABASE; if that " +
      `data set is no longer used, try again in ${Math.ceil(leaseMs / 1_000)} s`,
  );
}

async function runRetain(
  flags: {
    olderThan?: string;
    deadLettersOlderThan?: string;
    batch: string;
    dryRun?: true;
    json?: true;
  },
  opening: Opening,
): Promise<void> {
  const windows = {
    readingsOlderThanMs: ageOf("--older-than", flags.olderThan),
    deadLettersOlderThanMs: ageOf("--dead-letters-older-than", flags.deadLettersOlderThan),
  };
  if (windows.readingsOlderThanMs === undefined && windows.deadLettersOlderThanMs === undefined) {
    throw new ConfigurationError("Give --older-than, --dead-letters-older-than, or both");
  }
  const batchRowsMax = wholeNumber("--batch", flags.batch, BATCH_ROWS_MAX);
  const program = openProgram(["postgres", "kafka"]);
  await using store = opening.store(program);
  await using member = await opening.member(program);
  const progress = openProgress(program);
  const mode = flags.dryRun ? "count" : "delete";
  const summary = await retain({ pool: store.pool, member, clock: systemClock }, {
    ...windows,
    batchRowsMax,
    mode,
    signal: program.signal,
    onProgress: ({ readings, deadLetters, percent }) =>
      progress.show(
        `${percent} %: ${counted(readings, "reading")}, ${counted(deadLetters, "dead letter")}`,
      ),
  });
  await progress.clear();
  if (flags.json) await printJson(summary);
  else await printText(retainText(summary, mode));
  if (!summary.isComplete) process.exitCode = EXIT.failed;
}

function ageOf(flag: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseAge(flag, text);
}

/** @throws {ConfigurationError} if the text is not a whole number within the bounds. */
function wholeNumber(flag: string, text: string, max: number, min = 1): number {
  const number = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  if (number >= min && number <= max) return number;
  throw new ConfigurationError(
    `Cannot use ${flag} "${printable(text)}": give a whole number from ${min} to ${max}`,
  );
}

function fail(text: string): void {
  tell(text);
  process.exitCode = EXIT.failed;
}

/** How often the log gets a line where there is no terminal, ms. */
const LOG_MS = 10_000;

/** Shows how far a long command is: a line that moves on a terminal, else a log line now and then. */
interface Progress {
  show(text: string): void;
  /** Takes the moving line away. */
  clear(): Promise<void>;
}

function openProgress({ log }: Program): Progress {
  if (canRewrite()) return { show: showLive, clear: endLive };
  let loggedMs = systemClock.elapsedMs();
  return {
    show: (text) => {
      if (systemClock.elapsedMs() - loggedMs < LOG_MS) return;
      loggedMs = systemClock.elapsedMs();
      log.info("progress", { done: text });
    },
    clear: () => Promise.resolve(),
  };
}
