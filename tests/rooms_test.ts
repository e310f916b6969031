/** Who may import whom. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { fileUrl } from "../tools/generate.ts";

const PRODUCT = ["main_producer.ts", "main_consumer.ts", "main_health.ts", ...sourcesBelow("lib")];

Deno.test("the product imports nothing that only proves it", () => {
  assert.deepEqual(importsOutside(PRODUCT, /^(lib|dashboard|migrations)\/|^deno\.json$/), []);
});

Deno.test("fakes import nothing but the product and each other", () => {
  assert.deepEqual(importsOutside(sourcesBelow("fakes"), /^(lib|fakes)\//), []);
});

/** Imports that lead elsewhere, as `file: path`. */
function importsOutside(files: readonly string[], allowed: RegExp): string[] {
  assert.ok(files.length > 0);
  return files.flatMap((file) =>
    [...Deno.readTextFileSync(fileUrl(file)).matchAll(/(?:from|import) ?\(?"(\.[^"]*)"/g)]
      .map(([, path]) => join(dirname(file), path!))
      .filter((path) => !allowed.test(path))
      .map((path) => `${file}: ${path}`)
  );
}

function sourcesBelow(dir: string): string[] {
  return [...Deno.readDirSync(fileUrl(dir))].flatMap(({ name, isDirectory }) => {
    if (isDirectory) return sourcesBelow(`${dir}/${name}`);
    return name.endsWith(".ts") ? [`${dir}/${name}`] : [];
  });
}
