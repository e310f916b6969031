/**
 * Tokens for SASL OAUTHBEARER, by client credentials (RFC 6749, 4.4): asked of the token server,
 * kept, and renewed before they end.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import http from "node:http";
import https from "node:https";
import type { Clock } from "../clock.ts";
import { connectFault } from "../connect_fault.ts";
import { ConfigurationError, TransientError } from "../errors.ts";
import { unreachable } from "../unreachable.ts";

/** Who asks where. */
export interface OAuthSettings {
  /** The token server's address for client credentials. */
  readonly oauthTokenUrl: string;
  /** Who we are. */
  readonly oauthClientId: string;
  /** How we prove it. */
  readonly oauthClientSecret: string;
  /** What the token is for; undefined: the server decides. */
  readonly oauthScope?: string | undefined;
  /** Certificates to trust beside the system's, PEM. */
  readonly ca?: string | undefined;
}

/** What the token server has answered. */
export interface TokenAnswer {
  /** Of HTTP. */
  readonly status: number;
  /** As it came. */
  readonly body: string;
}

/** What a token source works with. */
export interface TokenParts {
  /** Says when a token has to be renewed. */
  readonly clock: Clock;
  /**
   * Asks the token server.
   *
   * @default {@linkcode askTokenServer}
   */
  readonly ask?: (settings: OAuthSettings) => Promise<TokenAnswer>;
}

/** Longest wait for the token server, ms. Below kafkajs's own limit for a login. */
export const TOKEN_MS_MAX = 5_000;

/** Largest answer of the token server, bytes. */
const ANSWER_BYTES_MAX = 65_536;

/** A token is renewed when this share of its life is left, or this long, ms. */
const RENEW_SHARE = 0.2;
const RENEW_MS_MIN = 15_000;

/** A token that ends within this time is not shown any more, ms. */
const SPARE_MS = 2_000;

interface KeptToken {
  readonly text: string;
  readonly renewAtMs: number;
  readonly endsAtMs: number;
}

/** Gives tokens that are still good. */
export class TokenSource {
  readonly #settings: OAuthSettings;
  readonly #clock: Clock;
  readonly #ask: (settings: OAuthSettings) => Promise<TokenAnswer>;
  #kept: KeptToken | undefined;
  #asking: Promise<KeptToken> | undefined;

  /** Asks nobody before the first token is wanted. */
  constructor(settings: OAuthSettings, { clock, ask = askTokenServer }: TokenParts) {
    this.#settings = settings;
    this.#clock = clock;
    this.#ask = ask;
  }

  /**
   * A token: the one that is kept, or a new one when it is time.
   *
   * @throws {ConfigurationError} if the token server refuses us.
   * @throws {TransientError} if it does not answer and there is no token any more.
   */
  async token(): Promise<string> {
    const kept = this.#kept;
    const nowMs = this.#clock.elapsedMs();
    if (kept !== undefined && nowMs < kept.renewAtMs) return kept.text;
    this.#asking ??= this.#renew().finally(() => this.#asking = undefined);
    try {
      return (await this.#asking).text;
    } catch (error) {
      // A token server may be away for as long as the token lasts.
      if (kept !== undefined && this.#clock.elapsedMs() < kept.endsAtMs - SPARE_MS) {
        return kept.text;
      }
      throw error;
    }
  }

  async #renew(): Promise<KeptToken> {
    // Counted from the question, so that the answer's way shortens its life and never lengthens it.
    const askedMs = this.#clock.elapsedMs();
    const { token, lifeMs } = parseTokenAnswer(await this.#ask(this.#settings));
    const endsAtMs = askedMs + lifeMs;
    const renewAtMs = endsAtMs - Math.max(lifeMs * RENEW_SHARE, RENEW_MS_MIN);
    return this.#kept = { text: token, renewAtMs, endsAtMs };
  }
}

/** Errors of RFC 6749, 5.2, and no other text of the server's: it could repeat the secret. */
const OAUTH_ERRORS: readonly string[] = [
  ...["invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"],
  ...["unsupported_grant_type", "invalid_scope"],
];

/** Statuses that pass on their own though they are no 5xx. */
const PASSING_STATUSES: readonly number[] = [408, 425, 429];

/**
 * The token of an answer and how long it lives, ms; 0 if the server does not say.
 *
 * @throws {ConfigurationError} if the server refuses, or what answers is not a token server.
 * @throws {TransientError} if it is in trouble.
 */
export function parseTokenAnswer(
  { status, body }: TokenAnswer,
): { readonly token: string; readonly lifeMs: number } {
  const fields = parseObject(body);
  if (status >= 500 || PASSING_STATUSES.includes(status)) {
    throw new TransientError(`Cannot get a token: the token server answers ${status}`);
  }
  if (status !== 200) {
    const said = OAUTH_ERRORS.find((error) => error === fields?.error);
    const cure = said === undefined && ![400, 401, 403].includes(status)
      ? "check KAFKA_OAUTH_TOKEN_URL"
      : said === "invalid_scope"
      ? "check KAFKA_OAUTH_SCOPE"
      : "check KAFKA_OAUTH_CLIENT_ID and KAFKA_OAUTH_CLIENT_SECRET";
    throw new ConfigurationError(
      `Cannot get a token: the token server answers ${
        [status, said ?? ""].join(" ").trim()
      }; ${cure}`,
    );
  }
  const { access_token: token, expires_in: seconds } = fields ?? {};
  // Those of RFC 6750, 2.1; anything else would end the field that it is sent in.
  if (typeof token !== "string" || !/^[A-Za-z0-9._~+/-]+=*$/.test(token)) {
    throw new ConfigurationError(
      "Cannot get a token: the token server's answer contains none; check KAFKA_OAUTH_TOKEN_URL",
    );
  }
  return { token, lifeMs: Math.max(0, Number(seconds) || 0) * 1_000 };
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
  } catch {
    return undefined;
  }
}

/**
 * Asks the token server, and follows no redirect: it would carry the secret elsewhere.
 *
 * @throws {ConfigurationError} if its certificate is not trusted.
 * @throws {TransientError} if it does not answer in time.
 */
export async function askTokenServer(settings: OAuthSettings): Promise<TokenAnswer> {
  try {
    return await post(settings);
  } catch (error) {
    const fault = connectFault(error);
    if (fault !== undefined) {
      const cure = fault.kind === "tls" ? "; check KAFKA_TLS_CA" : "";
      throw new ConfigurationError(
        `Cannot connect to the token server at ${placeOf(settings)}: ${fault.text}${cure}`,
        { cause: error },
      );
    }
    throw unreachable({ name: "the token server", place: placeOf(settings) }, error);
  }
}

/** Without its path, which may hold what is nobody's business. */
function placeOf({ oauthTokenUrl }: OAuthSettings): string {
  return `${new URL(oauthTokenUrl).origin} (KAFKA_OAUTH_TOKEN_URL)`;
}

function post(settings: OAuthSettings): Promise<TokenAnswer> {
  const { oauthTokenUrl, oauthClientId, oauthClientSecret, oauthScope, ca } = settings;
  const form = new URLSearchParams({ grant_type: "client_credentials" });
  if (oauthScope !== undefined) form.set("scope", oauthScope);
  // RFC 6749, 2.3.1: both are form-encoded first, so that a colon in the name stays part of it.
  const login = `${formEncoded(oauthClientId)}:${formEncoded(oauthClientSecret)}`;
  const url = new URL(oauthTokenUrl);
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? https : http).request(url, {
      method: "POST",
      signal: AbortSignal.timeout(TOKEN_MS_MAX),
      headers: {
        "authorization": `Basic ${Buffer.from(login).toString("base64")}`,
        "content-type": "application/x-www-form-urlencoded",
        "accept": "application/json",
        "connection": "close",
      },
      // Deno trusts these beside the system's.
      ...(ca !== undefined && { ca }),
    }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("error", reject);
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= ANSWER_BYTES_MAX) chunks.push(chunk);
        else request.destroy(new Error(`the answer is larger than ${ANSWER_BYTES_MAX} bytes`));
      });
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() });
      });
    });
    request.on("error", reject);
    request.end(form.toString());
  });
}

function formEncoded(text: string): string {
  return new URLSearchParams({ "": text }).toString().slice(1);
}
