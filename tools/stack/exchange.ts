/**
 * One question and one answer over a loopback connection: enough to ask a server whether it is
 * really there, without a client library.
 *
 * @module
 */
import { ANSWER_MS_MAX } from "./server.ts";

/**
 * Sends `question` to a loopback port and returns the first bytes that come back.
 *
 * @param answerBytesMin how many bytes make an answer
 * @throws {Error} If the connection is refused, closed early, or silent for too long.
 */
export async function exchange(
  port: number,
  question: Uint8Array,
  answerBytesMin: number,
): Promise<Uint8Array> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  let silent = false;
  const timer = setTimeout(() => {
    silent = true;
    connection.close();
  }, ANSWER_MS_MAX);
  try {
    return await converse(connection, question, answerBytesMin);
  } catch (cause) {
    if (!silent) throw cause;
    throw new Error(`Cannot get an answer from port ${port}: silent for ${ANSWER_MS_MAX} ms`, {
      cause,
    });
  } finally {
    clearTimeout(timer);
  }
}

async function converse(
  connection: Deno.Conn,
  question: Uint8Array,
  answerBytesMin: number,
): Promise<Uint8Array> {
  for (let sent = 0; sent < question.length;) {
    sent += await connection.write(question.subarray(sent));
  }
  const answer = new Uint8Array(answerBytesMin);
  for (let received = 0; received < answerBytesMin;) {
    const count = await connection.read(answer.subarray(received));
    if (count === null) throw new Error("Cannot read an answer: the connection was closed");
    received += count;
  }
  return answer;
}
