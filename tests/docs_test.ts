import assert from "node:assert/strict";
import { dirname, join, normalize } from "node:path";
import deno from "../deno.json" with { type: "json" };
import { VERSION } from "../lib/program.ts";
import { fileUrl } from "../tools/generate.ts";

/** What a person reads, and what names paths and tasks. */
const PAGES = ["README.md", "DESIGN.md", "CHANGELOG.md", ...namesIn("docs", /\.md$/)];
const COMMENTED = [
  "compose.yaml",
  "Dockerfile",
  "monitoring/alerts.yml",
  ...namesIn("kubernetes", /\.yaml$/),
  ...namesIn("security", /./),
];
const SOURCES = ["main_producer.ts", "main_consumer.ts", ...filesBelow("lib").filter(isSource)];
const ALL_FILES = [
  ...[...Deno.readDirSync(fileUrl("."))].filter(({ isFile }) => isFile).map(({ name }) => name),
  ...Object.keys(topDirectories()).flatMap(filesBelow),
];
const BASENAMES = new Set(ALL_FILES.map((path) => path.slice(path.lastIndexOf("/") + 1)));

/** Names of what is made when it is needed, or belongs to somebody else. */
const MADE = /^(dist|\.stack|node_modules)\b/;

Deno.test("the newest heading of CHANGELOG.md is this version", () => {
  assert.equal(/^## ([\d.]+)/m.exec(text("CHANGELOG.md"))?.[1], VERSION);
});

Deno.test("every deno task that a page or a text names exists", () => {
  const tasks = new Set(Object.keys(deno.tasks));
  const unknown = [...PAGES, ...COMMENTED, ...SOURCES].flatMap((path) =>
    [...text(path).matchAll(/deno task (?:-q )?([a-z][a-z:-]*)/g)]
      .filter(([, name]) => !tasks.has(name!.replace(/[:-]+$/, "")))
      .map(([found]) => `${path}: ${found}`)
  );
  assert.deepEqual(unknown, []);
});

Deno.test("every link of a page leads to a file, and to a heading in it", () => {
  const broken = PAGES.flatMap((page) =>
    [...text(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)]
      .filter(([, path, anchor]) => {
        const target = path === "" ? page : normalize(join(dirname(page), path!));
        return !exists(target) || (anchor !== undefined && !anchors(target).includes(anchor));
      })
      .map(([found]) => `${page}: ${found}`)
  );
  assert.deepEqual(broken, []);
});

Deno.test("every path that a page names exists", () => {
  const missing = PAGES.flatMap((page) =>
    [...text(page).matchAll(/`([\w.-]+(?:\/[\w.*-]*)*)`/g)]
      .map(([, path]) => path!)
      .filter((path) => isPath(path) && !MADE.test(path) && !isThere(path))
      .map((path) => `${page}: ${path}`)
  );
  assert.deepEqual(missing, []);
});

Deno.test("every file in DESIGN's map exists", () => {
  const map = /## The files\n+```\n([^]*?)```/.exec(text("DESIGN.md"))![1]!;
  const missing = [...map.matchAll(/[\w*]+\.(?:ts|sql)/g)]
    .map(([name]) => name)
    .filter((name) => !name.includes("*") && !BASENAMES.has(name));
  assert.deepEqual(missing, []);
});

/** Whether it can only be meant as a path: a known directory and a slash, or a file's ending. */
function isPath(name: string): boolean {
  const top = name.split("/")[0]!;
  return (name.includes("/") && top in topDirectories()) ||
    /^[\w/.-]+\.(ts|sql|md|yaml|svg|html|py|sh)$/.test(name);
}

/** A path from the top, or a file's name wherever it is. */
function isThere(path: string): boolean {
  return path.includes("*") || exists(path) || (!path.includes("/") && BASENAMES.has(path));
}

function topDirectories(): Readonly<Record<string, true>> {
  const names = [...Deno.readDirSync(fileUrl("."))]
    .filter(({ name, isDirectory }) =>
      isDirectory && (name === ".ci" || !/^[._]|^node_/.test(name))
    )
    .map(({ name }) => [name, true] as const);
  return Object.fromEntries(names);
}

function filesBelow(dir: string): string[] {
  return [...Deno.readDirSync(fileUrl(dir))].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesBelow(`${dir}/${name}`) : [`${dir}/${name}`]
  );
}

function namesIn(dir: string, pattern: RegExp): string[] {
  return filesBelow(dir).filter((path) => pattern.test(path));
}

function isSource(path: string): boolean {
  return path.endsWith(".ts");
}

function text(path: string): string {
  return Deno.readTextFileSync(fileUrl(path));
}

function exists(path: string): boolean {
  try {
    Deno.statSync(fileUrl(path));
    return true;
  } catch {
    return false;
  }
}

/** As GitHub makes them from headings. */
function anchors(page: string): string[] {
  return [...text(page).matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
    title!.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-")
  );
}
