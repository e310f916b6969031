/**
 * The consumers and producers of a campaign. Like a supervisor, it starts a program again that has
 * ended; unlike one, it may have ended it itself.
 *
 * @module
 */
import { join } from "node:path";
import { Child, type ChildEnd, type ChildSpec } from "./child.ts";
import type { ProducerTask } from "./producer_program.ts";

/** Environment variables of a program. */
export type Settings = Readonly<Record<string, string>>;

/** After this long without a heartbeat a consumer's partitions go to the others, ms. */
export const SESSION_MS = 10_000;

/** What all programs of a campaign have in common beside the servers. */
const SETTINGS = {
  // One port cannot serve four pages.
  HTTP_PORT: "0",
  KAFKA_SESSION_TIMEOUT_MS: String(SESSION_MS),
  // Fewer and larger sends, for each waits for the disk.
  PRODUCER_LINGER_MS: "50",
  LOG_FORMAT: "json",
  LOG_LEVEL: "debug",
} as const;

/** A program that is always started again. */
export class Member {
  readonly #spec: ChildSpec;
  readonly #onEnd: (member: Member, end: ChildEnd) => void;
  #child: Child;
  #isRetired = false;

  /** Starts it. */
  constructor(
    /** What it is called in reports. */
    readonly name: string,
    spec: ChildSpec,
    onEnd: (member: Member, end: ChildEnd) => void,
  ) {
    this.#spec = spec;
    this.#onEnd = onEnd;
    this.#child = this.#start();
  }

  /** The process that runs now. */
  get child(): Child {
    return this.#child;
  }

  /** Ends it for good: asks it to stop, and waits. */
  async retire(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<ChildEnd> {
    this.#isRetired = true;
    this.#child.signal("SIGCONT");
    this.#child.signal(signal);
    return await this.#child.ended;
  }

  #start(): Child {
    const child = new Child(this.#spec);
    void child.ended.then((end) => {
      this.#onEnd(this, end);
      if (!this.#isRetired) this.#child = this.#start();
    });
    return child;
  }
}

/** An end that nobody asked for. */
export interface OddEnd {
  /** Who ended. */
  readonly name: string;
  /** When, ms since 1970. */
  readonly atMs: number;
  /** How. */
  readonly end: ChildEnd;
  /** The last error in its log; empty: it said nothing. */
  readonly said: string;
}

/** All programs of a campaign. */
export class Fleet implements AsyncDisposable {
  readonly #dir: string;
  readonly #settings: Settings;
  readonly #acknowledged = new Map<string, number>();
  /** Consumers that run, by age. */
  readonly consumers: Member[] = [];
  /** Producers that run, by age. */
  readonly producers: Member[] = [];
  /** Ends with a code other than 0 that were no kill. */
  readonly oddEnds: OddEnd[] = [];
  /** When consumers were ended by SIGKILL, ms since 1970. */
  readonly consumersKilledAtMs: number[] = [];
  /** How many processes were ended by SIGKILL, on their own at a point or from here. */
  kills = 0;
  #started = 0;

  /**
   * Nothing runs yet.
   *
   * @param dir takes logs and journals
   * @param settings with which the programs find the servers
   */
  constructor(dir: string, settings: Settings) {
    this.#dir = dir;
    this.#settings = { ...settings, ...SETTINGS };
  }

  /** Messages that were acknowledged to any producer so far. */
  get acknowledged(): number {
    return this.#acknowledged.values().reduce((sum, count) => sum + count, 0);
  }

  /** Starts one more consumer. */
  addConsumer(): Member {
    const name = `consumer-${++this.#started}`;
    const member = new Member(name, {
      file: "campaign/consumer_program.ts",
      args: [],
      env: this.#settings,
      logFile: this.#logFile(name),
    }, (...ended) => this.#onEnd(...ended));
    this.consumers.push(member);
    return member;
  }

  /** Starts one more producer. */
  addProducer(task: Omit<ProducerTask, "journal">): Member {
    const name = `producer-${++this.#started}`;
    const member = new Member(name, {
      file: "campaign/producer_program.ts",
      args: [JSON.stringify({ ...task, journal: join(this.#dir, `${name}.journal`) })],
      env: this.#settings,
      logFile: this.#logFile(name),
      onLine: (line) => this.#acknowledged.set(name, Number(line)),
    }, (...ended) => this.#onEnd(...ended));
    this.producers.push(member);
    return member;
  }

  /** Stops a member for good. */
  async retire(member: Member, signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<ChildEnd> {
    for (const list of [this.consumers, this.producers]) {
      const index = list.indexOf(member);
      if (index >= 0) list.splice(index, 1);
    }
    return await member.retire(signal);
  }

  /** Stops all consumers for good. */
  async retireConsumers(): Promise<void> {
    await Promise.all([...this.consumers].map((consumer) => this.retire(consumer)));
  }

  /** Stops all producers for good, once they have sent what they had taken. */
  async retireProducers(): Promise<void> {
    await Promise.all([...this.producers].map((producer) => this.retire(producer)));
  }

  /** Makes the tables, of the campaign's database or of the one that these settings name. */
  async migrate(settings: Settings = {}): Promise<void> {
    const { code } = await this.command(["migrate"], settings).ended;
    if (code !== 0) throw new Error(`Cannot migrate: exit code ${code}, see ${this.#dir}`);
  }

  /** Starts a command of the consumer. */
  command(
    args: readonly string[],
    settings: Settings,
    onLine?: (line: string) => void,
  ): Child {
    return new Child({
      file: "main_consumer.ts",
      args,
      env: { ...this.#settings, ...settings },
      logFile: join(this.#dir, "commands.log"),
      ...onLine !== undefined && { onLine },
    });
  }

  /** What `verify` finds wrong. */
  async verify(): Promise<readonly string[]> {
    const lines: string[] = [];
    const { code } = await this.command(["verify", "--json"], {}, (line) => lines.push(line)).ended;
    const report: { ok: boolean; problems: string[] } = JSON.parse(lines.join("\n"));
    const isTrue = report.ok === (code === 0) && report.ok === (report.problems.length === 0);
    return isTrue ? report.problems : [...report.problems, `verify ended with exit code ${code}`];
  }

  /** Paths of all journals that were begun. */
  async journals(): Promise<readonly string[]> {
    const names = await Array.fromAsync(Deno.readDir(this.#dir), ({ name }) => name);
    return names.filter((name) => name.endsWith(".journal")).sort()
      .map((name) => join(this.#dir, name));
  }

  /** Kills all that runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.consumers, ...this.producers];
    await Promise.all(all.map((member) => this.retire(member, "SIGKILL")));
  }

  #logFile(name: string): string {
    return join(this.#dir, `${name}.log`);
  }

  #onEnd(member: Member, end: ChildEnd): void {
    const { name } = member;
    if (end.signal === "SIGKILL") {
      this.kills++;
      if (this.consumers.includes(member)) this.consumersKilledAtMs.push(Date.now());
    } // One that was asked to stop while it came up, and had nothing to put in order yet.
    else if (end.signal === "SIGTERM") return;
    else if (end.code !== 0) {
      this.oddEnds.push({ name, atMs: Date.now(), end, said: lastError(this.#logFile(name)) });
    }
  }
}

function lastError(logFile: string): string {
  const lines = Deno.readTextFileSync(logFile).split("\n");
  const line = lines.findLast((each) => each.includes('"level":"error"'));
  if (line === undefined) return "";
  const { message, what }: { message: string; what?: string } = JSON.parse(line);
  return what === undefined ? message : `${message} (${what})`;
}
