/**
 * Certificates of a test's own, made by `openssl`: an authority, a server that it vouches for, and an
 * authority that vouches for nobody.
 *
 * @module
 */
import { join } from "node:path";
import { runProgram } from "../../tools/stack/program.ts";

/** Paths of PEM files. */
export interface Certificates {
  /** The authority. */
  readonly ca: string;
  /** Another authority. */
  readonly strangerCa: string;
  /** The server's certificate, for 127.0.0.1 and for no name. */
  readonly certificate: string;
  /** The server's key. */
  readonly key: string;
  /** Key and certificate in one file, as Kafka wants them. */
  readonly bundle: string;
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** Makes all of them in a directory. */
export async function makeCertificates(dir: string): Promise<Certificates> {
  const path = (name: string): string => join(dir, name);
  const certificates = {
    ca: path("ca.pem"),
    strangerCa: path("stranger.pem"),
    certificate: path("server.pem"),
    key: path("server.key"),
    bundle: path("server.bundle.pem"),
  };
  await makeAuthority(certificates.ca, path("ca.key"));
  await makeAuthority(certificates.strangerCa, path("stranger.key"));
  const request = path("server.csr");
  await openssl(
    "req",
    ...KEY,
    ...["-keyout", certificates.key, "-out", request, "-subj", "/CN=server"],
  );
  const extensions = path("server.extensions");
  await Deno.writeTextFile(
    extensions,
    "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n",
  );
  await openssl(
    ...["x509", "-req", "-in", request, "-CA", certificates.ca, "-CAkey", path("ca.key")],
    ...["-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", certificates.certificate],
  );
  const parts = [certificates.key, certificates.certificate, certificates.ca];
  const texts = await Promise.all(parts.map((part) => Deno.readTextFile(part)));
  await Deno.writeTextFile(certificates.bundle, texts.join(""));
  return certificates;
}

async function makeAuthority(certificate: string, key: string): Promise<void> {
  await openssl(
    ...["req", "-x509", ...KEY, "-keyout", key, "-out", certificate, "-days", "2"],
    ...["-subj", "/CN=authority of a test"],
    ...["-addext", "keyUsage=critical,keyCertSign"],
  );
}

async function openssl(...args: readonly string[]): Promise<void> {
  await runProgram(["openssl", ...args]);
}
