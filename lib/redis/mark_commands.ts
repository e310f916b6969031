/**
 * The two commands of which a batch has thousands of keys, written straight from columns: a text for
 * each key would cost the client more than sending it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { UUID_LENGTH, writeUuid } from "../reading/uuid.ts";
import { ID_BYTES, type Marks, putDecimal } from "./marks.ts";
import { MARK_PREFIX } from "./scripts.ts";

/** What `REDIS_PREFIX` and `REDIS_TTL_SECONDS` say. */
export interface MarkOptions {
  /** Stands before every key. */
  readonly prefix: string;
  /** How long a mark lives, seconds. */
  readonly ttlSeconds: number;
}

const LINE_END = Buffer.from("\r\n");

/** `MGET` with the key of each id. */
export function lookUpCommand(ids: Uint8Array, prefix: string): Buffer {
  const count = ids.length / ID_BYTES;
  const begin = Buffer.from(`*${count + 1}\r\n$4\r\nMGET\r\n`);
  const key = keyBegin(prefix);
  const bytes = Buffer.allocUnsafe(
    begin.length + count * (key.length + UUID_LENGTH + LINE_END.length),
  );
  bytes.set(begin);
  let at = begin.length;
  for (let index = 0; index < count; index++) {
    bytes.set(key, at);
    at += key.length;
    writeUuid(ids, index * ID_BYTES, bytes, at);
    at += UUID_LENGTH;
    bytes.set(LINE_END, at);
    at += LINE_END.length;
  }
  return bytes;
}

/** `SETEX` with each mark; so many commands. What stood at its key before is gone, whatever its type. */
export function setCommands(marks: Marks, { prefix, ttlSeconds }: MarkOptions): Buffer {
  const { count, ids, values, ends } = marks;
  const begin = Buffer.concat([Buffer.from("*4\r\n$5\r\nSETEX\r\n"), keyBegin(prefix)]);
  const life = Buffer.from(`\r\n$${String(ttlSeconds).length}\r\n${ttlSeconds}\r\n$`);
  const digitsMax = String(values.length).length;
  const around = begin.length + UUID_LENGTH + life.length + digitsMax + 2 * LINE_END.length;
  const bytes = Buffer.allocUnsafe(count * around + values.length);
  let at = 0;
  let from = 0;
  for (let index = 0; index < count; index++) {
    bytes.set(begin, at);
    at += begin.length;
    writeUuid(ids, index * ID_BYTES, bytes, at);
    at += UUID_LENGTH;
    bytes.set(life, at);
    const end = ends[index]!;
    at = putDecimal(end - from, bytes, at + life.length);
    bytes.set(LINE_END, at);
    at += LINE_END.length;
    // Too short for a view to be worth it.
    while (from < end) bytes[at++] = values[from++]!;
    bytes.set(LINE_END, at);
    at += LINE_END.length;
  }
  return bytes.subarray(0, at);
}

/** Up to where the id begins. */
function keyBegin(prefix: string): Buffer {
  const name = prefix + MARK_PREFIX;
  return Buffer.from(`$${Buffer.byteLength(name) + UUID_LENGTH}\r\n${name}`);
}
