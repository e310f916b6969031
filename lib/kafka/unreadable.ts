/**
 * What makes a batch of records a dead letter: a fault of its bytes, and of nothing else.
 *
 * @module
 */

/**
 * The bytes are not what they say, or would become more than is read. Whatever else goes wrong while
 * they are decoded (a stack or a memory that is full) is not a fault of theirs and has another class.
 */
export class UnreadableError extends Error {
  /** Tells the class in a log, and across realms. */
  override name = "UnreadableError";
}
