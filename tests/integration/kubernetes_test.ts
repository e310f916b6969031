/**
 * The example for Kubernetes without a cluster: against the schemas of Kubernetes, which come with a
 * package, and against this project's own settings, pages and image.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { VERSION } from "../../lib/program.ts";
import { STOP_MARGIN_MS } from "../../lib/program.ts";
import { settingNames } from "../../lib/settings/names.ts";
import { readSettings } from "../../lib/settings/read.ts";
import { GROUPS } from "../../lib/settings/table.ts";
import { runProgram } from "../../tools/stack/program.ts";
import { only, parseDockerfile } from "../dockerfile.ts";
import { deploymentCheckers, readYaml } from "./python.ts";

const ROOT = join(import.meta.dirname!, "../..");
const DIR = join(ROOT, "kubernetes");
const FILES = ["consumer.yaml", "migrate.yaml", "scaling.yaml", "secrets.example.yaml"];

/** As much of a container as is looked at. */
interface Container {
  readonly image: string;
  readonly args: readonly string[];
  readonly env?: readonly EnvironmentVariable[];
  readonly envFrom?: readonly { readonly configMapRef: { readonly name: string } }[];
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
}

interface EnvironmentVariable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly configMapKeyRef: { readonly name: string; readonly key: string };
  };
}

interface Probe {
  readonly httpGet: { readonly path: string };
}

/** As much of a resource as is looked at. */
interface Resource {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly stringData?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly selector: { readonly matchLabels: unknown };
    readonly scaleTargetRef: { readonly kind: string; readonly name: string };
    readonly minReplicas: number;
    readonly maxReplicas: number;
    readonly metrics: readonly {
      readonly external: { readonly metric: { readonly name: string } };
    }[];
    readonly template: {
      readonly metadata: { readonly labels: unknown };
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly enableServiceLinks?: boolean;
        readonly securityContext: Readonly<Record<string, unknown>>;
        readonly containers: readonly Container[];
        readonly volumes: readonly { readonly secret: { readonly secretName: string } }[];
      };
    };
  };
}

Deno.test("kubernetes/ fits the schemas of Kubernetes", async (t) => {
  const checkers = await deploymentCheckers();
  const check = async (file: string): Promise<void> => {
    const said = await runProgram([join(checkers, "kubernetes-validate"), "--strict", file]);
    // What it does not know, it lets pass.
    if (/^WARN/m.test(said)) throw new Error(said);
  };
  for (const file of FILES) await t.step(file, () => check(join(DIR, file)));

  const mistakes: [name: string, file: string, from: string, to: string, says: RegExp][] = [
    ["a field misspelt", "consumer.yaml", "maxSurge:", "maxSurgge:", /maxSurgge.*unexpected/],
    [
      "a wrong type",
      "consumer.yaml",
      "containerPort: 8000",
      "containerPort: http",
      /'http' is not/,
    ],
    ["a number for a text", "consumer.yaml", 'HTTP_PORT: "8000"', "HTTP_PORT: 8000", /8000 is not/],
    ["a kind that there is not", "scaling.yaml", "v2", "v1beta9", /Couldn't find schema/],
    ["a field missing", "scaling.yaml", "maxReplicas: 6", "", /'maxReplicas' is a required/],
    [
      "a field in the wrong place",
      "migrate.yaml",
      "backoffLimit: 3",
      "image: x",
      /image.*unexpect/,
    ],
  ];
  const dir = await Deno.makeTempDir();
  for (const [name, file, from, to, says] of mistakes) {
    await t.step(`${name}: refused`, async () => {
      const text = await Deno.readTextFile(join(DIR, file));
      assert(text.includes(from));
      const path = join(dir, file);
      await Deno.writeTextFile(path, text.replace(from, to));
      await assert.rejects(check(path), { name: "Error", message: says });
    });
  }
  await Deno.remove(dir, { recursive: true });
});

Deno.test("kubernetes/ fits this project", async (t) => {
  const resources = (await Promise.all(FILES.map(read))).flat();
  const find = (kind: string, name: string): Resource => {
    const found = resources.filter((one) => one.kind === kind && one.metadata.name === name);
    assert.equal(found.length, 1, `${kind} ${name}`);
    return found[0]!;
  };
  const consumer = find("Deployment", "sensor-ledger-consumer").spec!;
  const settings = find("ConfigMap", "sensor-ledger").data!;
  const workloads = [["consumer", consumer, "run"], [
    "migrate",
    find("Job", "sensor-ledger-migrate").spec!,
    "migrate",
  ]] as const;

  for (const [name, { template }, command] of workloads) {
    const { securityContext, containers, volumes } = template.spec;
    const [container] = containers;
    assert(container !== undefined && containers.length === 1);

    await t.step(`${name}: its settings are ours, and its files are mounted`, () => {
      const env = environmentOf(container, settings, find);
      assert.deepEqual(Object.keys(env).filter((each) => !settingNames().includes(each)), []);
      const secrets = find("Secret", volumes[0]!.secret.secretName).stringData!;
      const { mountPath } = container.volumeMounts[0]!;
      const parsed = readSettings(GROUPS, {
        env: (each) => env[each],
        readFile: (path) => {
          assert(path.startsWith(`${mountPath}/`), path);
          const content = secrets[path.slice(mountPath.length + 1)];
          assert(content !== undefined, `${path} is in no secret`);
          return content;
        },
      });
      assert.equal(parsed.postgres.tls, "verify-full");
      const graceMs = (template.spec.terminationGracePeriodSeconds ?? 30) * 1_000;
      assert(graceMs > parsed.stop.deadlineMs + STOP_MARGIN_MS);
    });

    await t.step(`${name}: nobody, who changes nothing`, async () => {
      const stages = parseDockerfile(await Deno.readTextFile(join(ROOT, "Dockerfile")));
      const user = only(stages.find((stage) => stage.name === "base")!, "USER");
      const { runAsNonRoot, runAsUser, runAsGroup, fsGroup } = securityContext;
      assert.deepEqual([runAsNonRoot, `${runAsUser}:${runAsGroup}`, fsGroup], [
        true,
        user,
        runAsGroup,
      ]);
      assert.deepEqual(container.securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      assert.equal(container.image, `sensor-ledger-consumer:${VERSION}`);
      assert.deepEqual(container.args, [command]);
    });
  }

  await t.step("no Service sets a variable that is a setting of ours", () => {
    assert(workloads.every(([_, { template }]) => template.spec.enableServiceLinks === false));
  });

  await t.step("no value of the ConfigMap is a secret", () => {
    assert.deepEqual(
      Object.keys(settings).filter((name) => /PASSWORD$|TOKEN$|URL$/.test(name)),
      [],
    );
  });

  await t.step("the probes ask for pages that there are", () => {
    const { startupProbe, livenessProbe, readinessProbe } = consumer.template.spec.containers[0]!;
    const paths = [startupProbe, livenessProbe, readinessProbe].map((each) => each?.httpGet.path);
    assert.deepEqual(paths, ["/healthz", "/healthz", "/readyz"]);
  });

  await t.step("the parts name each other", () => {
    const { labels } = consumer.template.metadata;
    assert.deepEqual(consumer.selector.matchLabels, labels);
    const budget = find("PodDisruptionBudget", "sensor-ledger-consumer").spec!;
    assert.deepEqual(budget.selector.matchLabels, labels);
    const scaling = find("HorizontalPodAutoscaler", "sensor-ledger-consumer").spec!;
    const { kind, name } = scaling.scaleTargetRef;
    find(kind, name);
    assert(scaling.minReplicas <= scaling.maxReplicas);
  });

  await t.step("scaled by a metric that there is", async () => {
    const scaling = find("HorizontalPodAutoscaler", "sensor-ledger-consumer").spec!;
    const name = scaling.metrics[0]!.external.metric.name;
    const metrics = await Deno.readTextFile(join(ROOT, "lib/metrics.ts"));
    assert(metrics.includes(`"${name}"`), name);
  });
});

async function read(file: string): Promise<readonly Resource[]> {
  return await readYaml(join(DIR, file)) as readonly Resource[];
}

/** The variables that a container starts with. */
function environmentOf(
  { env = [], envFrom = [] }: Container,
  settings: Readonly<Record<string, string>>,
  find: (kind: string, name: string) => Resource,
): Readonly<Record<string, string>> {
  const all: Record<string, string> = {};
  for (const { configMapRef } of envFrom) {
    Object.assign(all, find("ConfigMap", configMapRef.name).data);
  }
  for (const { name, value, valueFrom } of env) {
    all[name] = value ?? settings[valueFrom!.configMapKeyRef.key] ?? "";
  }
  return all;
}
