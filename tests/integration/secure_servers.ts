/**
 * Servers that are as strict as they can be: Kafka with TLS, SASL and ACLs, PostgreSQL with TLS and
 * the roles of `security/`, Redis with TLS and the users of `security/`.
 *
 * Kafka and Redis are servers of the test's own; PostgreSQL is that of the private stack, with TLS
 * switched on and a database of the test's own.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
// @ts-types="@types/pg"
import pg from "pg";
import {
  kafkaClassPath,
  kafkaServer,
  newClusterId,
  runKafkaTool,
} from "../../tools/stack/kafka.ts";
import type { PostgresServer, SuperuserSession } from "../../tools/stack/postgres.ts";
import { runProgram } from "../../tools/stack/program.ts";
import { type Server, startServer, stopServer } from "../../tools/stack/server.ts";
import { type Certificates, makeCertificates } from "./certificates.ts";
import { PrivateRedis } from "./private_redis.ts";
import type { Environment } from "./processes.ts";
import { testServers } from "./test_stack.ts";

/** The topic and the group that the ACLs speak of. */
export const TOPIC = "guarded";
export const GROUP = "guarded-group";

/** Passwords, each found nowhere else. */
export const PASSWORDS = {
  producer: "planted-kafka-producer",
  consumer: "planted-kafka/consumer@1",
  postgres: "planted-postgres/%?#1",
  reader: "planted-reader",
  redis: "planted-redis:1",
  http: "planted-http-token",
} as const;

const SECURITY = join(import.meta.dirname!, "../../security");

/** Strict servers, until they are disposed of. */
export class SecureServers implements AsyncDisposable {
  readonly certificates: Certificates;
  readonly redis: PrivateRedis;
  /** Name of the database. */
  readonly database = `guarded_${crypto.randomUUID().replaceAll("-", "")}`;
  /** The brokers' port for people who administer them. */
  readonly adminBroker: string;
  readonly #dir: string;
  readonly #kafka: Server;
  readonly #kafkaPort: number;
  readonly #redisPort: number;
  readonly #postgres: PostgresServer;

  private constructor(
    dir: string,
    parts: {
      certificates: Certificates;
      redis: PrivateRedis;
      redisPort: number;
      postgres: PostgresServer;
    },
  ) {
    this.#dir = dir;
    this.certificates = parts.certificates;
    this.redis = parts.redis;
    this.#redisPort = parts.redisPort;
    this.#postgres = parts.postgres;
    const [port, controllerPort, securePort] = [freePort(), freePort(), freePort()];
    this.#kafkaPort = securePort;
    this.adminBroker = `127.0.0.1:${port}`;
    const place = { nodeId: 1, dir: join(dir, "kafka"), port, controllerPort };
    const settings = brokerSettings({ port, controllerPort, securePort }, parts.certificates);
    const broker = { ...place, settings };
    this.#kafka = kafkaServer({ id: newClusterId(), brokers: [broker] }, broker);
  }

  /** Starts everything and gives the rights that `security/` says. */
  static async start(): Promise<SecureServers> {
    const dir = await Deno.makeTempDir();
    const [postgres] = (await testServers()).postgres;
    const certificates = await makeCertificates(dir);
    const redisPort = freePort();
    const redis = await startRedis(dir, redisPort, certificates);
    const parts = { certificates, redis, redisPort, postgres: postgres! };
    const servers = new SecureServers(dir, parts);
    try {
      await startServer(servers.#kafka);
      await servers.#prepareKafka();
      await servers.#preparePostgres();
    } catch (error) {
      await servers[Symbol.asyncDispose]();
      throw error;
    }
    return servers;
  }

  /** What a program needs that logs in as a user of Kafka, and to the other servers as the app. */
  env(user: "producer" | "consumer"): Environment {
    const { ca } = this.certificates;
    return {
      KAFKA_BROKER: `127.0.0.1:${this.#kafkaPort}`,
      KAFKA_TLS: "verify-full",
      KAFKA_TLS_CA: ca,
      KAFKA_SASL_MECHANISM: "scram-sha-512",
      KAFKA_USER: user,
      KAFKA_PASSWORD: PASSWORDS[user],
      TOPIC_NAME: TOPIC,
      KAFKA_GROUP_ID: GROUP,
      KAFKA_SESSION_TIMEOUT_MS: "6000",
      POSTGRES_HOST: "127.0.0.1",
      POSTGRES_PORT: String(this.#postgres.ports[0]),
      POSTGRES_DB: this.database,
      POSTGRES_USER: "sensor_ledger_app",
      POSTGRES_PASSWORD: PASSWORDS.postgres,
      POSTGRES_READ_USER: "sensor_ledger_reader",
      POSTGRES_READ_PASSWORD: PASSWORDS.reader,
      POSTGRES_TLS: "verify-full",
      POSTGRES_TLS_CA: ca,
      REDIS_HOST: "127.0.0.1",
      REDIS_PORT: String(this.#redisPort),
      REDIS_USER: "sensor-ledger",
      REDIS_PASSWORD: PASSWORDS.redis,
      REDIS_TLS: "verify-full",
      REDIS_TLS_CA: ca,
      HTTP_PORT: "0",
      HTTP_TOKEN: PASSWORDS.http,
      LOG_LEVEL: "debug",
    };
  }

  /** Deno's flag that lets a program read the certificates, beside what its task may read. */
  get readFlag(): string {
    const { ca, strangerCa } = this.certificates;
    return `--allow-read=migrations,${ca},${strangerCa}`;
  }

  /** Runs `security/postgres_roles.sql` in the database. */
  async applyRoles(): Promise<void> {
    const roles = await Deno.readTextFile(join(SECURITY, "postgres_roles.sql"));
    await this.asSuperuser((session) => session.query(roles));
  }

  /** Runs `work` as the superuser of PostgreSQL in the database. */
  async asSuperuser<T>(work: (session: SuperuserSession) => Promise<T>): Promise<T> {
    return await this.#postgres.asSuperuser(this.database, work);
  }

  /** Switches TLS of PostgreSQL on or off; connections that are open stay as they are. */
  async setPostgresTls(state: "on" | "off"): Promise<void> {
    await this.#postgres.asSuperuser("postgres", async (session) => {
      await session.query(`ALTER SYSTEM SET ssl = ${state}`);
      await session.query("SELECT pg_reload_conf()");
      // The postmaster reads its settings a moment later.
      const isSet = async (): Promise<boolean> => {
        const { rows } = await session.query("SHOW ssl");
        return rows[0]!.ssl === state;
      };
      while (!await isSet()) await new Promise((resolve) => setTimeout(resolve, 20));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopServer(this.#kafka, "SIGKILL");
    await this.redis[Symbol.asyncDispose]();
    await this.#postgres.asSuperuser("postgres", async (session) => {
      await session.query(`DROP DATABASE IF EXISTS ${this.database} WITH (FORCE)`);
      for (const role of ["migrator", "app", "operator", "reader"]) {
        await session.query(`DROP ROLE IF EXISTS sensor_ledger_${role}`);
      }
      for (const name of ["ssl", "ssl_cert_file", "ssl_key_file"]) {
        await session.query(`ALTER SYSTEM RESET ${name}`);
      }
      await session.query("SELECT pg_reload_conf()");
    });
    await Deno.remove(this.#dir, { recursive: true });
  }

  async #prepareKafka(): Promise<void> {
    const admin = ["--bootstrap-server", this.adminBroker];
    await runKafkaTool("org.apache.kafka.tools.TopicCommand", [
      ...[...admin, "--create", "--topic", TOPIC, "--partitions", "2"],
    ]);
    const logins = (["producer", "consumer"] as const).flatMap((user) =>
      ["SCRAM-SHA-256", "SCRAM-SHA-512"].map((mechanism) => ({ user, mechanism }))
    );
    await Promise.all(
      logins.map(({ user, mechanism }) =>
        runKafkaTool("kafka.admin.ConfigCommand", [
          ...[...admin, "--alter", "--entity-type", "users", "--entity-name", user],
          ...["--add-config", `${mechanism}=[password=${PASSWORDS[user]}]`],
        ])
      ),
    );
    await this.#applyKafkaAcls();
  }

  async #applyKafkaAcls(): Promise<void> {
    const script = join(SECURITY, "kafka_acls.sh");
    const env = {
      KAFKA_ACLS: "java -XX:TieredStopAtLevel=1 org.apache.kafka.tools.AclCommand",
      CLASSPATH: await kafkaClassPath(),
    };
    const args = [this.adminBroker, TOPIC, GROUP, "producer", "consumer"];
    await runProgram([script, ...args], { env });
  }

  async #preparePostgres(): Promise<void> {
    const { account } = this.#postgres;
    const copies = { cert: join(this.#postgres.dir, "test.pem"), key: "" };
    copies.key = join(this.#postgres.dir, "test.key");
    await Deno.copyFile(this.certificates.certificate, copies.cert);
    await Deno.copyFile(this.certificates.key, copies.key);
    // It refuses a key that others can read.
    await Deno.chmod(copies.key, 0o600);
    if (account !== undefined) {
      for (const file of Object.values(copies)) await Deno.chown(file, account.uid, account.gid);
    }
    await this.#postgres.asSuperuser("postgres", async (session) => {
      await session.query(`CREATE DATABASE ${this.database}`);
      await session.query(`ALTER SYSTEM SET ssl_cert_file = '${copies.cert}'`);
      await session.query(`ALTER SYSTEM SET ssl_key_file = '${copies.key}'`);
    });
    await this.setPostgresTls("on");
    await this.applyRoles();
    await this.asSuperuser(async (session) => {
      for (const role of ["migrator", "app", "operator", "reader"]) {
        const password = pg.escapeLiteral(PASSWORDS[role === "reader" ? "reader" : "postgres"]);
        await session.query(`ALTER ROLE sensor_ledger_${role} PASSWORD ${password}`);
      }
    });
  }
}

function brokerSettings(
  ports: { readonly port: number; readonly controllerPort: number; readonly securePort: number },
  { bundle }: Certificates,
): Record<string, string> {
  const { port, controllerPort, securePort } = ports;
  const login = "org.apache.kafka.common.security";
  const plainUsers = (["producer", "consumer"] as const)
    .map((user) => `user_${user}="${PASSWORDS[user]}"`).join(" ");
  const jaas = (mechanism: string): string =>
    `listener.name.sasl_ssl.${mechanism}.sasl.jaas.config`;
  return {
    // Without TLS and log-in, for the administrator alone.
    "listeners": `PLAINTEXT://127.0.0.1:${port},SASL_SSL://127.0.0.1:${securePort},` +
      `CONTROLLER://127.0.0.1:${controllerPort}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${port},SASL_SSL://127.0.0.1:${securePort}`,
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
    "ssl.keystore.type": "PEM",
    "ssl.keystore.location": bundle,
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
    [jaas("plain")]: `${login}.plain.PlainLoginModule required ${plainUsers};`,
    [jaas("scram-sha-256")]: `${login}.scram.ScramLoginModule required;`,
    [jaas("scram-sha-512")]: `${login}.scram.ScramLoginModule required;`,
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": "User:ANONYMOUS",
  };
}

/** Redis with the users of `security/redis.acl`, given the test's password. */
async function startRedis(
  dir: string,
  tlsPort: number,
  { certificate, key, ca }: Certificates,
): Promise<PrivateRedis> {
  const hash = createHash("sha256").update(PASSWORDS.redis).digest("hex");
  const users = await Deno.readTextFile(join(SECURITY, "redis.acl"));
  const file = join(dir, "redis.acl");
  await Deno.writeTextFile(file, users.replaceAll(/#0{64}/g, `#${hash}`));
  return await PrivateRedis.start(
    ...["--tls-port", String(tlsPort), "--tls-cert-file", certificate, "--tls-key-file", key],
    ...["--tls-ca-cert-file", ca, "--tls-auth-clients", "no", "--aclfile", file],
  );
}

/** A port of the loopback that nobody listens on now. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
