/**
 * Certificates of a test's own, made by `openssl`: an authority, a server and clients that it vouches
 * for, and an authority that is a stranger.
 *
 * @module
 */
import { join } from "node:path";
import { runProgram } from "../../tools/stack/program.ts";

/** A certificate and its key: paths of PEM files. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** Paths of PEM files. */
export interface Certificates extends KeyPair {
  /** The authority. */
  readonly ca: string;
  /** Another authority. */
  readonly strangerCa: string;
  /** The server's certificate, for 127.0.0.1, ::1 and for no name. */
  readonly certificate: string;
  /** The server's key. */
  readonly key: string;
  /** Key and certificate in one file, as Kafka wants them. */
  readonly bundle: string;
  /** A client's. */
  readonly client: KeyPair;
  /** A client's that the other authority vouches for. */
  readonly strangerClient: KeyPair;
  /** A client's that has ended. */
  readonly expiredClient: KeyPair;
  /** A client's that the authority has revoked. */
  readonly revokedClient: KeyPair;
  /** What the authority has revoked. */
  readonly revocations: string;
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

const SERVER = "subjectAltName=IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n";
const CLIENT = "extendedKeyUsage=clientAuth\n";

/** Makes all of them in a directory. The clients' name is `consumer`. */
export async function makeCertificates(dir: string): Promise<Certificates> {
  const path = (name: string): string => join(dir, name);
  const [ca, strangerCa] = [path("ca.pem"), path("stranger.pem")];
  await makeAuthority(ca, path("ca.key"));
  await makeAuthority(strangerCa, path("stranger.key"));
  const ours = { authority: path("ca"), days: 2 };
  const client = { name: "consumer", extensions: CLIENT };
  const server = await makePair(path("server"), {
    ...ours,
    name: "server",
    extensions: SERVER,
  });
  const revokedClient = await makePair(path("revoked"), { ...ours, ...client });
  const certificates = {
    ...server,
    ca,
    strangerCa,
    bundle: path("server.bundle.pem"),
    client: await makePair(path("client"), { ...ours, ...client }),
    strangerClient: await makePair(path("strange"), {
      ...client,
      authority: path("stranger"),
      days: 2,
    }),
    expiredClient: await makePair(path("expired"), { ...ours, ...client, days: -1 }),
    revokedClient,
    revocations: await revoke(dir, revokedClient.certificate),
  };
  const parts = [certificates.key, certificates.certificate, certificates.ca];
  const texts = await Promise.all(parts.map((part) => Deno.readTextFile(part)));
  await Deno.writeTextFile(certificates.bundle, texts.join(""));
  return certificates;
}

/** @param stem path of the files without their endings */
async function makePair(
  stem: string,
  parts: {
    readonly authority: string;
    readonly name: string;
    readonly extensions: string;
    readonly days: number;
  },
): Promise<KeyPair> {
  const { authority, name, extensions, days } = parts;
  const pair = { certificate: `${stem}.pem`, key: `${stem}.key` };
  const [request, extensionFile] = [`${stem}.csr`, `${stem}.extensions`];
  await openssl("req", ...KEY, "-keyout", pair.key, "-out", request, "-subj", `/CN=${name}`);
  await Deno.writeTextFile(extensionFile, extensions);
  await openssl(
    ...["x509", "-req", "-in", request, "-CA", `${authority}.pem`, "-CAkey", `${authority}.key`],
    ...["-CAcreateserial", "-days", String(days), "-extfile", extensionFile],
    ...["-out", pair.certificate],
  );
  return pair;
}

/** Path of the authority's list with one certificate. */
async function revoke(dir: string, certificate: string): Promise<string> {
  const path = (name: string): string => join(dir, name);
  const config = path("revocations.conf");
  await Deno.writeTextFile(path("revocations.index"), "");
  await Deno.writeTextFile(
    config,
    `[ca]\ndefault_ca=ours\n[ours]\ndatabase=${path("revocations.index")}\ndefault_md=sha256\n` +
      `certificate=${path("ca.pem")}\nprivate_key=${path("ca.key")}\ndefault_crl_days=2\n`,
  );
  await openssl("ca", "-config", config, "-revoke", certificate);
  await openssl("ca", "-config", config, "-gencrl", "-out", path("revocations.pem"));
  return path("revocations.pem");
}

async function makeAuthority(certificate: string, key: string): Promise<void> {
  await openssl(
    ...["req", "-x509", ...KEY, "-keyout", key, "-out", certificate, "-days", "2"],
    ...["-subj", "/CN=authority of a test"],
    ...["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
  );
}

async function openssl(...args: readonly string[]): Promise<void> {
  await runProgram(["openssl", ...args]);
}
