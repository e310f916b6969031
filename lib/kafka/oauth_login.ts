/**
 * The login by a token, SASL OAUTHBEARER (RFC 7628). kafkajs has one that does not read the brokers'
 * answer: a token that they refuse looks like a connection that breaks, again and again.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { SaslAuthenticateArgs } from "kafkajs";
import { ConfigurationError, TransientError } from "../errors.ts";

/** Ends each part of the message. */
const SEPARATOR = "\u0001";

/** Bytes of the size that kafkajs puts before what it sends, and before what it hands on. */
const SIZE_BYTES = 4;

/**
 * An error that kafkajs hands on with its cause, and tries again if that is transient. By this name it
 * gives up the connection: on it the brokers wait for the rest of the login, and take no other one.
 */
class LoginError extends Error {
  override name = "KafkaJSConnectionError";
  readonly retriable: boolean;

  constructor(cause: unknown) {
    super("Cannot log in to the brokers", { cause });
    this.retriable = cause instanceof TransientError;
  }
}

/**
 * A way to log in, as the library has it.
 *
 * @internal
 */
export type LoginMechanism = import("kafkajs").Mechanism;

/** Logs in with a token that `token` gives, again for each login. */
export function oauthMechanism(token: () => Promise<string>): LoginMechanism {
  return {
    mechanism: "oauthbearer",
    authenticationProvider: ({ saslAuthenticate }) => ({
      authenticate: async () => {
        try {
          await authenticate(saslAuthenticate, await token());
        } catch (error) {
          if (error instanceof ConfigurationError || error instanceof TransientError) {
            throw new LoginError(error);
          }
          throw error;
        }
      },
    }),
  };
}

type Exchange = (args: SaslAuthenticateArgs<string>) => Promise<string | void>;

async function authenticate(exchange: Exchange, token: string): Promise<void> {
  const message = ["n,,", `auth=Bearer ${token}`, "", ""].join(SEPARATOR);
  const refusal = await exchange({ request: requestOf(message), response: RESPONSE }) ?? "";
  if (refusal === "") return;
  // The brokers wait for this before they end the exchange, and then close the connection.
  await exchange({ request: requestOf(SEPARATOR), response: RESPONSE }).catch(() => {});
  throw new ConfigurationError(
    `the brokers refuse the token (${
      refusal.slice(0, 200)
    }); check KAFKA_OAUTH_SCOPE, and what the ` +
      "brokers expect of a token",
  );
}

function requestOf(message: string): SaslAuthenticateArgs<string>["request"] {
  return {
    encode: () => {
      const bytes = Buffer.from(message);
      const framed = Buffer.alloc(SIZE_BYTES + bytes.length);
      framed.writeInt32BE(bytes.length);
      bytes.copy(framed, SIZE_BYTES);
      return framed;
    },
  };
}

/** Empty if the token is good, else JSON with the fault. */
const RESPONSE = {
  decode: (raw: Buffer): Buffer => raw.subarray(SIZE_BYTES),
  parse: (data: Buffer): string => data.toString(),
};
