/**
 * The same servers with a second way in, over TLS: for what encryption costs.
 *
 * @module
 */
import { join } from "node:path";
import { exchange } from "../stack/exchange.ts";
import { freePort } from "../stack/free_ports.ts";
import { runProgram } from "../stack/program.ts";
import { type Server, startServer, stopServer } from "../stack/server.ts";
import { type Bed, settingsOf } from "./bed.ts";

/** Paths of PEM files: a certificate that vouches for itself, its key, and both in one. */
interface Certificate {
  readonly certificate: string;
  readonly key: string;
  readonly bundle: string;
}

/**
 * Lets all three servers take TLS beside what they take already; the broker is restarted for it.
 *
 * @returns a bed whose programs and connections use TLS and check the certificates.
 */
export async function secureBed(bed: Bed): Promise<Bed> {
  const files = await makeCertificate(bed);
  const kafkaPort = freePort();
  const kafka = await secureKafka(bed.servers.kafka, kafkaPort, files);
  await securePostgres(bed, files);
  const redisPort = await secureRedis(bed, files);
  const env = {
    ...bed.env,
    KAFKA_BROKER: `127.0.0.1:${kafkaPort}`,
    KAFKA_TLS: "verify-full",
    KAFKA_TLS_CA: files.certificate,
    POSTGRES_TLS: "verify-full",
    POSTGRES_TLS_CA: files.certificate,
    REDIS_PORT: String(redisPort),
    REDIS_TLS: "verify-full",
    REDIS_TLS_CA: files.certificate,
  };
  return { ...bed, env, settings: settingsOf(env), servers: { ...bed.servers, kafka } };
}

async function makeCertificate({ dir }: Bed): Promise<Certificate> {
  const path = (name: string): string => join(dir, name);
  const files = { certificate: path("tls.pem"), key: path("tls.key"), bundle: path("tls.both") };
  await runProgram([
    ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
    ...["-nodes", "-days", "2", "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1"],
    ...["-keyout", files.key, "-out", files.certificate],
  ]);
  const parts = [files.key, files.certificate].map((file) => Deno.readTextFile(file));
  await Deno.writeTextFile(files.bundle, (await Promise.all(parts)).join(""));
  return files;
}

async function secureKafka(kafka: Server, port: number, files: Certificate): Promise<Server> {
  const properties = join(kafka.dir, "server.properties");
  const [plainPort, controllerPort] = kafka.ports;
  const listeners = `PLAINTEXT://127.0.0.1:${plainPort},SSL://127.0.0.1:${port}`;
  const lines = [
    `listeners=${listeners},CONTROLLER://127.0.0.1:${controllerPort}`,
    `advertised.listeners=${listeners}`,
    "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT",
    "ssl.keystore.type=PEM",
    `ssl.keystore.location=${files.bundle}`,
  ];
  const secured: Server = {
    ...kafka,
    ports: [...kafka.ports, port],
    prepare: async (report) => {
      const command = await kafka.prepare(report);
      // Of two lines for one name the later one counts.
      await Deno.writeTextFile(properties, lines.join("\n") + "\n", { append: true });
      return command;
    },
  };
  await stopServer(kafka);
  await startServer(secured);
  return secured;
}

async function securePostgres({ servers }: Bed, files: Certificate): Promise<void> {
  const { postgres } = servers;
  const settings = { ssl_cert_file: files.certificate, ssl_key_file: files.key };
  await postgres.asSuperuser("postgres", async (session) => {
    for (const [setting, from] of Object.entries(settings)) {
      const to = join(postgres.dir, setting);
      await Deno.copyFile(from, to);
      // It refuses a key that others can read.
      await Deno.chmod(to, 0o600);
      const { account } = postgres;
      if (account !== undefined) await Deno.chown(to, account.uid, account.gid);
      await session.query(`ALTER SYSTEM SET ${setting} = '${to}'`);
    }
    await session.query("ALTER SYSTEM SET ssl = on");
    await session.query("SELECT pg_reload_conf()");
  });
}

async function secureRedis({ servers }: Bed, files: Certificate): Promise<number> {
  const port = freePort();
  const settings = ["tls-cert-file", files.certificate, "tls-key-file", files.key];
  const command = `CONFIG SET ${settings.join(" ")} tls-auth-clients no tls-port ${port}\r\n`;
  const ok = "+OK\r\n";
  const bytes = new TextEncoder().encode(command);
  const answer = new TextDecoder().decode(
    await exchange(servers.redis.ports[0]!, bytes, ok.length),
  );
  if (answer !== ok) throw new Error(`Cannot give Redis a certificate: it says ${answer}`);
  return port;
}
