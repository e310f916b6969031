/** `compose.yaml` against what the engines take, and against this project's settings and images. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { STOP_MARGIN_MS } from "../../lib/program.ts";
import { settingNames } from "../../lib/settings/names.ts";
import { readSettings } from "../../lib/settings/read.ts";
import { IMAGE_PROGRAMS } from "../../tools/images.ts";
import { MEMORY_MEGABYTES } from "../images/engine.ts";
import { readYaml } from "./python.ts";

const ROOT = join(import.meta.dirname!, "../..");

/** As much of a service as is looked at. */
interface Service {
  readonly image: string;
  readonly build?: { readonly target: string };
  readonly profiles?: readonly string[];
  readonly restart: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly env_file?: unknown;
  readonly ports?: readonly string[];
  readonly command?: readonly string[] | string;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test?: readonly string[] | string };
  readonly logging?: { readonly options: Readonly<Record<string, string>> };
  readonly mem_limit?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly stop_grace_period?: string;
  readonly shm_size?: string;
}

Deno.test("compose.yaml", async (t) => {
  const [compose] = await readYaml(join(ROOT, "compose.yaml"));
  const { services } = compose as { readonly services: Readonly<Record<string, Service>> };
  const all = Object.entries(services);
  const ours = all.filter(([_, { image }]) => image.startsWith("sensor-ledger-"));
  const once = all.filter(([_, { restart }]) => restart === "no");

  await t.step("what serves comes back after a crash, and keeps its log small", () => {
    assert.deepEqual(once.map(([name]) => name), ["topic", "migrate"]);
    for (const [name, { restart, logging }] of all) {
      assert.match(restart, /^(no|unless-stopped)$/, name);
      assert.deepEqual(Object.keys(logging!.options), ["max-size", "max-file"], name);
    }
  });
  await t.step("what runs once is waited for, or `up --wait` takes its end for a failure", () => {
    for (const [name] of once) {
      const waiting = all.filter(([_, { depends_on }]) =>
        depends_on?.[name]?.condition === "service_completed_successfully"
      );
      // A service of another profile is not there to wait.
      const { profiles } = services[name]!;
      assert(waiting.some(([_, each]) => String(each.profiles) === String(profiles)), name);
    }
  });
  await t.step("ports are published one to one: Podman takes no range for one port", () => {
    for (const [name, { ports = [] }] of all) {
      for (const port of ports) {
        assert.match(port, /^127\.0\.0\.1:(\d+|\$\{\w+:-\d+\}):\d+$/, name);
      }
    }
  });
  await t.step("each image is built once, and health is the image's affair", () => {
    const targets = ours.flatMap(([_, { build }]) => build === undefined ? [] : [build.target]);
    assert.deepEqual(targets.toSorted(), [...IMAGE_PROGRAMS].toSorted());
    assert(ours.every(([_, { healthcheck }]) => healthcheck?.test === undefined));
  });
  await t.step("no health check starts a Java", () => {
    assert.doesNotMatch(JSON.stringify(services.kafka!.healthcheck), /\.sh/);
  });
  await t.step("the topic says how long it keeps messages; PostgreSQL has memory to share", () => {
    assert.match(String(services.topic!.command), /--config=retention\.ms=\d+/);
    assert(Number.parseInt(services.postgres!.shm_size ?? "0") > 64);
  });
  for (const [name, service] of ours) {
    await t.step(`${name}: every setting reaches it, and nothing else is set`, () => {
      assert.deepEqual(service.env_file, [{ path: ".env", required: false }]);
      const names = Object.keys(service.environment);
      assert.deepEqual(names.filter((each) => !settingNames().includes(each)), []);
      // What is set here cannot be set in .env, unless it is taken from there.
      const fixed = names.filter((each) => !service.environment[each]!.startsWith(`\${${each}:-`));
      assert.deepEqual(fixed, [
        ...["KAFKA_BROKER", "POSTGRES_HOST", "POSTGRES_PORT", "REDIS_HOST", "REDIS_PORT"],
        ...["HTTP_HOST", "HTTP_PORT", "PRODUCER_HTTP_PORT", "LOG_FORMAT"],
      ]);
    });
    await t.step(`${name}: nobody, with the memory that the images are tested with`, () => {
      const { read_only, cap_drop, security_opt, mem_limit, stop_grace_period } = service;
      assert.deepEqual([read_only, cap_drop, security_opt], [
        true,
        ["ALL"],
        ["no-new-privileges:true"],
      ]);
      assert(Number.parseInt(mem_limit!) >= MEMORY_MEGABYTES);
      const { stop } = readSettings(["stop"], { env: () => undefined });
      const graceMs = Number.parseInt(stop_grace_period!) * 1_000;
      assert(graceMs > stop.deadlineMs + STOP_MARGIN_MS);
    });
  }
  await t.step("Prometheus finds every service of ours that serves", async () => {
    const [prometheus] = await readYaml(join(ROOT, "monitoring/prometheus.yml"));
    for (const [name, { restart }] of ours) {
      if (restart !== "no") assert(JSON.stringify(prometheus).includes(`"${name}"`), name);
    }
  });
});
