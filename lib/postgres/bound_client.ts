/**
 * A client that logs in only over SCRAM-SHA-256-PLUS: by the password the server proves also that it
 * is itself the other end of this encrypted connection. The driver can do that, and can not insist.
 *
 * @module
 */
// @ts-types="@types/pg"
import pg from "pg";
import { ConfigurationError } from "../errors.ts";

const MECHANISM = "SCRAM-SHA-256-PLUS";

const CURE = "Check that POSTGRES_TLS reaches the server itself and that its pg_hba.conf says " +
  "scram-sha-256, or set POSTGRES_CHANNEL_BINDING to disable";

/** The library's connection, as far as its types do not tell. */
interface ProtocolConnection {
  prependListener(event: string, listener: (message: Answer) => void): void;
  once(event: string, listener: () => void): void;
  readonly stream: { destroy(error: Error): void };
}

interface Answer {
  readonly mechanisms?: readonly string[];
}

/**
 * The driver's client, which refuses to log in without channel binding.
 *
 * @internal
 */
export class BoundClient extends pg.Client {
  /** The library makes it. */
  constructor(config?: string | pg.ClientConfig) {
    super(config);
    // An option of the library; a copy of what the pool gives would be without the password.
    Reflect.set(this, "enableChannelBinding", true);
    const connection: ProtocolConnection = Reflect.get(this, "connection");
    let isBound = false;
    const refuse = (offer: string): void =>
      connection.stream.destroy(
        new ConfigurationError(`the server offers no channel binding but ${offer}. ${CURE}`),
      );
    // Before the driver's own listeners: a password must not leave.
    connection.prependListener("authenticationCleartextPassword", () => refuse("a plain password"));
    connection.prependListener("authenticationMD5Password", () => refuse("MD5"));
    connection.prependListener("authenticationSASL", ({ mechanisms = [] }) => {
      if (!mechanisms.includes(MECHANISM)) refuse(mechanisms.join(", "));
    });
    connection.prependListener("authenticationSASLFinal", () => isBound = true);
    connection.prependListener("readyForQuery", () => {
      if (!isBound) refuse("no password at all");
    });
  }
}
