/**
 * A program of the campaign as a child process: started, signalled, armed, and seen to end. What it
 * says goes to a file.
 *
 * @module
 */
const ROOT = `${import.meta.dirname}/..`;

/** Where Deno finds itself and its cache. */
const INHERITED = ["PATH", "HOME", "DENO_DIR", "XDG_CACHE_HOME", "TMPDIR"];

/** How a child ended. */
export interface ChildEnd {
  /** 128 and the signal's number if a signal ended it. */
  readonly code: number;
  /** The signal that ended it; null: it ended on its own. */
  readonly signal: string | null;
}

/** What to start. */
export interface ChildSpec {
  /** Path of the program from the project's directory. */
  readonly file: string;
  /** Its arguments. */
  readonly args: readonly string[];
  /** Its settings. */
  readonly env: Readonly<Record<string, string>>;
  /** Where its standard error, and its standard output if nobody listens, is appended. */
  readonly logFile: string;
  /** Receives each line of standard output. */
  readonly onLine?: (line: string) => void;
}

/** A child that was started. */
export class Child {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  #runs = true;
  /** Settles when it has ended and everything that it wrote was taken. */
  readonly ended: Promise<ChildEnd>;

  /** Starts it. */
  constructor({ file, args, env, logFile, onLine }: ChildSpec) {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "--no-prompt", "-A", file, ...args],
      cwd: ROOT,
      clearEnv: true,
      env: { ...inherited(), ...env },
      // Ctrl-C in our terminal is for the campaign, which ends them in its own time.
      detached: true,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#process.stdin.getWriter();
    const log = Deno.openSync(logFile, { create: true, append: true });
    const takeLog = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
      for await (const bytes of stream) log.writeSync(bytes);
    };
    const { stdout, stderr, status } = this.#process;
    const output = onLine === undefined ? takeLog(stdout) : readLines(stdout, onLine);
    this.ended = Promise.all([status, output, takeLog(stderr)]).then(([{ code, signal }]) => {
      this.#runs = false;
      log.close();
      return { code, signal };
    });
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.pid;
  }

  /** False once it has ended. */
  get runs(): boolean {
    return this.#runs;
  }

  /** Sends a signal, unless it has ended. */
  signal(signal: "SIGTERM" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    try {
      this.#process.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /** Has it end itself when it reaches `point` for the `times`-th time from now on. */
  arm(point: string, times: number): void {
    // It may have ended meanwhile, which is seen elsewhere.
    this.#input.write(new TextEncoder().encode(`${point}:${times}\n`)).catch(() => {});
  }

  /** Its memory now, MB. */
  async residentMb(): Promise<number> {
    const text = await Deno.readTextFile(`/proc/${this.pid}/status`).catch(() => "");
    return Number(text.match(/VmRSS:\s*(\d+) kB/)?.[1] ?? 0) / 1_024;
  }
}

/** What a child may see of this environment: no setting comes from there. */
export function inherited(): Record<string, string> {
  return Object.fromEntries(
    INHERITED.map((name) => [name, Deno.env.get(name) ?? ""]).filter(([, value]) => value !== ""),
  );
}

async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    lines.forEach(onLine);
  }
}
