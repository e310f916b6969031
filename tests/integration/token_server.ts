/**
 * A token server of the test's own on 127.0.0.1: gives tokens for client credentials, and the key
 * that the brokers check them by.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Who may ask. */
export const OAUTH_CLIENT = { id: "sensor-ledger:1%", secret: "planted-oauth%/secret+1" } as const;

const KEY = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" } as const;
const KEY_ID = "test";

/** What the tokens of {@linkcode TokenServer} say. */
export const ISSUER = "https://issuer.test";
export const AUDIENCE = "kafka";

/** How it answers. */
export type TokenMode = "good" | "of another key" | "refused" | "away";

/** A token server, until it is disposed of. */
export class TokenServer implements AsyncDisposable {
  /** How it answers from now on. */
  mode: TokenMode = "good";
  /** How long a token lives, seconds. */
  lifeSeconds = 3_600;
  /** How many tokens it has given. */
  given = 0;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #ours: CryptoKeyPair;
  readonly #strange: CryptoKeyPair;

  private constructor(ours: CryptoKeyPair, strange: CryptoKeyPair) {
    this.#ours = ours;
    this.#strange = strange;
    const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
    this.#server = Deno.serve(options, (request) => this.#answer(request));
  }

  /** Starts it. */
  static async start(): Promise<TokenServer> {
    const generate = (): Promise<CryptoKeyPair> =>
      crypto.subtle.generateKey(
        { ...KEY, modulusLength: 2_048, publicExponent: Uint8Array.of(1, 0, 1) },
        true,
        ["sign", "verify"],
      );
    return new TokenServer(await generate(), await generate());
  }

  /** Where clients ask. */
  get tokenUrl(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/token`;
  }

  /** Where the brokers ask. */
  get keysUrl(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/keys`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    if (new URL(request.url).pathname === "/keys") return await this.#keys();
    const form = new URLSearchParams(await request.text());
    if (this.mode === "away") return new Response("", { status: 503 });
    const isKnown = request.headers.get("authorization") === `Basic ${login()}` &&
      form.get("grant_type") === "client_credentials" && form.get("scope") === "readings";
    if (!isKnown || this.mode === "refused") {
      return Response.json({ error: "invalid_client" }, { status: 401 });
    }
    this.given++;
    return Response.json({
      access_token: await this.#token(),
      token_type: "Bearer",
      expires_in: this.lifeSeconds,
    });
  }

  async #keys(): Promise<Response> {
    const key = await crypto.subtle.exportKey("jwk", this.#ours.publicKey);
    return Response.json({ keys: [{ ...key, kid: KEY_ID, use: "sig", alg: "RS256" }] });
  }

  async #token(): Promise<string> {
    const nowSeconds = Math.floor(Date.now() / 1_000);
    const encode = (value: object): string =>
      Buffer.from(JSON.stringify(value)).toString("base64url");
    const signed = [
      encode({ alg: "RS256", typ: "JWT", kid: KEY_ID }),
      encode({
        iss: ISSUER,
        aud: AUDIENCE,
        sub: "consumer",
        scope: "readings",
        iat: nowSeconds,
        exp: nowSeconds + this.lifeSeconds,
      }),
    ].join(".");
    const { privateKey } = this.mode === "of another key" ? this.#strange : this.#ours;
    const signature = await crypto.subtle.sign(KEY.name, privateKey, Buffer.from(signed));
    return `${signed}.${Buffer.from(signature).toString("base64url")}`;
  }
}

function login(): string {
  const { id, secret } = OAUTH_CLIENT;
  const encode = (text: string): string => new URLSearchParams({ "": text }).toString().slice(1);
  return btoa(`${encode(id)}:${encode(secret)}`);
}
