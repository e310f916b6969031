/**
 * Reads a Dockerfile as far as ours goes.
 *
 * @module
 */

/** One instruction, its lines joined. */
export interface Instruction {
  /** Upper case: `COPY`. */
  readonly name: string;
  /** What follows it. */
  readonly rest: string;
}

/** One `FROM` and what follows it. */
export interface Stage {
  readonly name: string;
  /** An image, or the name of an earlier stage. */
  readonly from: string;
  readonly instructions: readonly Instruction[];
}

/** What a `COPY` copies; from the context if `stage` is undefined. */
export interface Copy {
  readonly stage: string | undefined;
  readonly sources: readonly string[];
  readonly target: string;
}

/** The stages in their order. */
export function parseDockerfile(text: string): readonly Stage[] {
  const lines = text.split("\n").filter((line) => !/^\s*#/.test(line)).join("\n")
    .replaceAll(/\\\n\s*/g, "").split("\n").filter((line) => line.trim() !== "");
  const stages: (Stage & { readonly instructions: Instruction[] })[] = [];
  for (const line of lines) {
    const [, name = "", rest = ""] = line.match(/^([A-Z]+)\s+(.*)$/) ?? [];
    if (name === "FROM") {
      const [, from = "", stage = ""] = rest.match(/^(\S+) AS (\S+)$/) ?? [];
      stages.push({ name: stage, from, instructions: [] });
    } else {
      stages.at(-1)!.instructions.push({ name, rest });
    }
  }
  return stages;
}

/** The stage's only instruction of a name. */
export function only(stage: Stage, name: string): string {
  const found = stage.instructions.filter((one) => one.name === name);
  if (found.length !== 1) throw new Error(`${found.length} ${name} in ${stage.name}`);
  return found[0]!.rest;
}

/** The words of `… ["a", "b"]`. */
export function wordsOf(rest: string): readonly string[] {
  return JSON.parse(rest.slice(rest.indexOf("[")));
}

/** The copies of a stage, in order. */
export function copiesOf(stage: Stage): readonly Copy[] {
  return stage.instructions.filter(({ name }) => name === "COPY").map(({ rest }) => copyOf(rest));
}

/** What follows a `COPY`. */
export function copyOf(rest: string): Copy {
  const words = rest.split(/\s+/);
  const stage = words[0]?.match(/^--from=(\S+)$/)?.[1];
  const paths = stage === undefined ? words : words.slice(1);
  return { stage, sources: paths.slice(0, -1), target: paths.at(-1)! };
}
