/**
 * Servers that are as strict as they can be: Kafka with TLS, SASL and ACLs, PostgreSQL with TLS and
 * the roles of `security/`, Redis with TLS and the users of `security/`.
 *
 * Kafka and Redis are servers of the test's own; PostgreSQL is that of the private stack, with TLS
 * switched on and a database of the test's own. Each server has also a way in that asks for a client's
 * certificate, Kafka one more for tokens and one on an IPv6 address.
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
import { freePort } from "../../tools/stack/free_ports.ts";
import { runProgram } from "../../tools/stack/program.ts";
import { type Server, startServer, stopServer } from "../../tools/stack/server.ts";
import { type Certificates, type KeyPair, makeCertificates } from "./certificates.ts";
import { PrivateRedis } from "./private_redis.ts";
import type { Environment } from "./processes.ts";
import { testServers } from "./test_stack.ts";
import { AUDIENCE, ISSUER, OAUTH_CLIENT, TokenServer } from "./token_server.ts";

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
  oauth: OAUTH_CLIENT.secret,
} as const;

/** The role of PostgreSQL that shows a certificate of its name. */
const MUTUAL_ROLE = "consumer";

/** Ports of the broker, each another way in. */
interface BrokerPorts {
  /** Without TLS and login, for the administrator alone. */
  readonly port: number;
  readonly controllerPort: number;
  /** TLS, and login by password. */
  readonly securePort: number;
  /** The same on `::1`. */
  readonly ipv6Port: number;
  /** TLS, and a certificate of the client. */
  readonly mutualPort: number;
  /** TLS, and login by token. */
  readonly tokenPort: number;
}

const SECURITY = join(import.meta.dirname!, "../../security");

/** Strict servers, until they are disposed of. */
export class SecureServers implements AsyncDisposable {
  readonly certificates: Certificates;
  readonly redis: PrivateRedis;
  /** Gives tokens for Kafka. */
  readonly tokens: TokenServer;
  /** Name of the database. */
  readonly database = `guarded_${crypto.randomUUID().replaceAll("-", "")}`;
  /** The brokers' port for people who administer them. */
  readonly adminBroker: string;
  readonly #dir: string;
  readonly #kafka: Server;
  readonly #ports: BrokerPorts;
  readonly #redisPort: number;
  readonly #mutualRedis: PrivateRedis;
  readonly #mutualRedisPort: number;
  readonly #postgres: PostgresServer;

  private constructor(
    dir: string,
    parts: {
      certificates: Certificates;
      redis: PrivateRedis;
      redisPort: number;
      mutualRedis: PrivateRedis;
      mutualRedisPort: number;
      postgres: PostgresServer;
      tokens: TokenServer;
    },
  ) {
    this.#dir = dir;
    this.certificates = parts.certificates;
    this.redis = parts.redis;
    this.#redisPort = parts.redisPort;
    this.#postgres = parts.postgres;
    this.#mutualRedis = parts.mutualRedis;
    this.#mutualRedisPort = parts.mutualRedisPort;
    this.tokens = parts.tokens;
    this.#ports = {
      port: freePort(),
      controllerPort: freePort(),
      securePort: freePort(),
      ipv6Port: freePort(),
      mutualPort: freePort(),
      tokenPort: freePort(),
    };
    this.adminBroker = `127.0.0.1:${this.#ports.port}`;
    const { keysUrl } = parts.tokens;
    const broker = {
      ...{ nodeId: 1, dir: join(dir, "kafka") },
      ...{ port: this.#ports.port, controllerPort: this.#ports.controllerPort },
      settings: brokerSettings(this.#ports, { ...parts.certificates, keysUrl }),
      javaOptions: [`-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=${keysUrl}`],
    };
    this.#kafka = kafkaServer({ id: newClusterId(), brokers: [broker] }, broker);
  }

  /** Starts everything and gives the rights that `security/` says. */
  static async start(): Promise<SecureServers> {
    const dir = await Deno.makeTempDir();
    const [postgres] = (await testServers()).postgres;
    const certificates = await makeCertificates(dir);
    const redisPort = freePort();
    const redis = await startRedis(dir, redisPort, { ...certificates, clients: "no" });
    const mutualRedisPort = freePort();
    const mutualRedis = await startRedis(dir, mutualRedisPort, { ...certificates, clients: "yes" });
    const parts = {
      ...{ certificates, redis, redisPort, mutualRedis, mutualRedisPort },
      postgres: postgres!,
      tokens: await TokenServer.start(),
    };
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
      KAFKA_BROKER: `127.0.0.1:${this.#ports.securePort}`,
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

  /** The same as {@linkcode SecureServers.env}, but the brokers are asked at `[::1]`. */
  ipv6Env(user: "producer" | "consumer"): Environment {
    return { ...this.env(user), KAFKA_BROKER: `[::1]:${this.#ports.ipv6Port}` };
  }

  /** What a consumer needs that shows a certificate to all three servers. */
  mutualEnv(pair: KeyPair = this.certificates.client): Environment {
    const shown = (server: string): Environment => ({
      [`${server}_TLS_CERT`]: pair.certificate,
      [`${server}_TLS_KEY`]: pair.key,
    });
    return {
      ...without(this.env("consumer"), ["KAFKA_SASL_MECHANISM", "KAFKA_USER", "KAFKA_PASSWORD"]),
      KAFKA_BROKER: `127.0.0.1:${this.#ports.mutualPort}`,
      POSTGRES_USER: MUTUAL_ROLE,
      REDIS_PORT: String(this.#mutualRedisPort),
      ...shown("KAFKA"),
      ...shown("POSTGRES"),
      ...shown("REDIS"),
    };
  }

  /** What a consumer needs that logs in to Kafka with a token. */
  tokenEnv(): Environment {
    return {
      ...without(this.env("consumer"), ["KAFKA_USER", "KAFKA_PASSWORD"]),
      KAFKA_BROKER: `127.0.0.1:${this.#ports.tokenPort}`,
      KAFKA_SASL_MECHANISM: "oauthbearer",
      KAFKA_OAUTH_TOKEN_URL: this.tokens.tokenUrl,
      KAFKA_OAUTH_CLIENT_ID: OAUTH_CLIENT.id,
      KAFKA_OAUTH_CLIENT_SECRET: OAUTH_CLIENT.secret,
      KAFKA_OAUTH_SCOPE: "readings",
    };
  }

  /** Gives the consumer's user a right on the group or takes it away. */
  async setGroupRight(change: "add" | "remove"): Promise<void> {
    await runKafkaTool("org.apache.kafka.tools.AclCommand", [
      ...["--bootstrap-server", this.adminBroker, `--${change}`],
      ...(change === "remove" ? ["--force"] : []),
      ...["--allow-principal", "User:consumer", "--operation", "Read", "--group", GROUP],
    ]);
  }

  /** Deno's flag that lets a program read the certificates, beside what its task may read. */
  get readFlag(): string {
    return `--allow-read=migrations,${this.#dir}`;
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
    await this.#mutualRedis[Symbol.asyncDispose]();
    await this.tokens[Symbol.asyncDispose]();
    await this.#setAccess("");
    await this.#postgres.asSuperuser("postgres", async (session) => {
      await session.query(`DROP DATABASE IF EXISTS ${this.database} WITH (FORCE)`);
      await session.query(`DROP ROLE IF EXISTS ${MUTUAL_ROLE}`);
      for (const role of ["migrator", "app", "operator", "reader"]) {
        await session.query(`DROP ROLE IF EXISTS sensor_ledger_${role}`);
      }
      for (const name of ["ssl", ...Object.keys(POSTGRES_FILES)]) {
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
    const files = Object.entries(POSTGRES_FILES).map(([setting, name]) => {
      return {
        setting,
        from: this.certificates[name],
        to: join(this.#postgres.dir, `test.${name}`),
      };
    });
    for (const { from, to } of files) {
      await Deno.copyFile(from, to);
      // It refuses a key that others can read.
      await Deno.chmod(to, 0o600);
      if (account !== undefined) await Deno.chown(to, account.uid, account.gid);
    }
    await this.#postgres.asSuperuser("postgres", async (session) => {
      await session.query(`CREATE DATABASE ${this.database}`);
      for (const { setting, to } of files) {
        await session.query(`ALTER SYSTEM SET ${setting} = '${to}'`);
      }
    });
    // Who shows a certificate of this name is let in, and nobody else of that name.
    await this.#setAccess(`hostssl ${this.database} ${MUTUAL_ROLE} all cert`);
    await this.setPostgresTls("on");
    await this.applyRoles();
    await this.asSuperuser(async (session) => {
      for (const role of ["migrator", "app", "operator", "reader"]) {
        const password = pg.escapeLiteral(PASSWORDS[role === "reader" ? "reader" : "postgres"]);
        await session.query(`ALTER ROLE sensor_ledger_${role} PASSWORD ${password}`);
      }
      await session.query(`CREATE ROLE ${MUTUAL_ROLE} LOGIN IN ROLE sensor_ledger_app`);
    });
  }

  /** Puts a line before those that say who may connect to PostgreSQL; "" takes it out again. */
  async #setAccess(line: string): Promise<void> {
    await this.#postgres.asSuperuser("postgres", async (session) => {
      const { rows } = await session.query("SHOW hba_file");
      const file = String(rows[0]!.hba_file);
      const own = (await Deno.readTextFile(file)).split("\n")
        .filter((each) => !each.includes(ACCESS_MARK));
      const added = line === "" ? [] : [`${line} ${ACCESS_MARK}`];
      await Deno.writeTextFile(file, [...added, ...own].join("\n"));
      await session.query("SELECT pg_reload_conf()");
    });
  }
}

/** Ends our line among those of PostgreSQL. */
const ACCESS_MARK = "# of a test";

/** Which files PostgreSQL is to use. */
const POSTGRES_FILES = {
  ssl_cert_file: "certificate",
  ssl_key_file: "key",
  ssl_ca_file: "ca",
  ssl_crl_file: "revocations",
} as const;

function without(env: Environment, names: readonly string[]): Environment {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !names.includes(name)));
}

function brokerSettings(
  ports: BrokerPorts,
  { bundle, ca, keysUrl }: Certificates & { readonly keysUrl: string },
): Record<string, string> {
  const ways: readonly [name: string, protocol: string, address: string][] = [
    ["PLAINTEXT", "PLAINTEXT", `127.0.0.1:${ports.port}`],
    ["SASL_SSL", "SASL_SSL", `127.0.0.1:${ports.securePort}`],
    ["SIX", "SASL_SSL", `[::1]:${ports.ipv6Port}`],
    ["MUTUAL", "SSL", `127.0.0.1:${ports.mutualPort}`],
    ["TOKEN", "SASL_SSL", `127.0.0.1:${ports.tokenPort}`],
  ];
  const listeners = ways.map(([name, _, address]) => `${name}://${address}`).join(",");
  return {
    "listeners": `${listeners},CONTROLLER://127.0.0.1:${ports.controllerPort}`,
    "advertised.listeners": listeners,
    "listener.security.protocol.map": `${
      ways.map(([name, protocol]) => `${name}:${protocol}`).join(",")
    },CONTROLLER:PLAINTEXT`,
    "ssl.keystore.type": "PEM",
    "ssl.keystore.location": bundle,
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": ca,
    "listener.name.mutual.ssl.client.auth": "required",
    // The user is the name in the certificate.
    "ssl.principal.mapping.rules": "RULE:^CN=([a-z]+)$/$1/",
    ...passwordSettings("sasl_ssl"),
    ...passwordSettings("six"),
    ...tokenSettings("token", keysUrl),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": "User:ANONYMOUS",
  };
}

const LOGIN = "org.apache.kafka.common.security";

function passwordSettings(listener: string): Record<string, string> {
  const plainUsers = (["producer", "consumer"] as const)
    .map((user) => `user_${user}="${PASSWORDS[user]}"`).join(" ");
  const jaas = (mechanism: string): string =>
    `listener.name.${listener}.${mechanism}.sasl.jaas.config`;
  return {
    [`listener.name.${listener}.sasl.enabled.mechanisms`]: "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
    [jaas("plain")]: `${LOGIN}.plain.PlainLoginModule required ${plainUsers};`,
    [jaas("scram-sha-256")]: `${LOGIN}.scram.ScramLoginModule required;`,
    [jaas("scram-sha-512")]: `${LOGIN}.scram.ScramLoginModule required;`,
  };
}

function tokenSettings(listener: string, keysUrl: string): Record<string, string> {
  const way = `listener.name.${listener}`;
  const mechanism = `${way}.oauthbearer`;
  return {
    [`${way}.sasl.enabled.mechanisms`]: "OAUTHBEARER",
    [`${mechanism}.sasl.jaas.config`]: `${LOGIN}.oauthbearer.OAuthBearerLoginModule required;`,
    [`${mechanism}.sasl.server.callback.handler.class`]:
      `${LOGIN}.oauthbearer.OAuthBearerValidatorCallbackHandler`,
    [`${mechanism}.sasl.oauthbearer.jwks.endpoint.url`]: keysUrl,
    [`${mechanism}.sasl.oauthbearer.expected.audience`]: AUDIENCE,
    [`${mechanism}.sasl.oauthbearer.expected.issuer`]: ISSUER,
    // Connections end with their token, unless they are renewed by another one.
    [`${mechanism}.connections.max.reauth.ms`]: "3600000",
  };
}

/** Redis with the users of `security/redis.acl`, given the test's password. */
async function startRedis(
  dir: string,
  tlsPort: number,
  parts: Certificates & { readonly clients: "yes" | "no" },
): Promise<PrivateRedis> {
  const { certificate, key, ca, clients } = parts;
  const hash = createHash("sha256").update(PASSWORDS.redis).digest("hex");
  const users = await Deno.readTextFile(join(SECURITY, "redis.acl"));
  const file = join(dir, "redis.acl");
  await Deno.writeTextFile(file, users.replaceAll(/#0{64}/g, `#${hash}`));
  return await PrivateRedis.start(
    ...["--tls-port", String(tlsPort), "--tls-cert-file", certificate, "--tls-key-file", key],
    ...["--tls-ca-cert-file", ca, "--tls-auth-clients", clients, "--aclfile", file],
  );
}
