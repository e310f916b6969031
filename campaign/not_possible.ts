/**
 * What a machine does not allow, as an outcome of its own: neither done nor failed.
 *
 * @module
 */

/** A fault cannot be made here. The message begins with "Not possible here" and says why. */
export class NotPossibleError extends Error {
  /** Tells it apart without an import. */
  override readonly name = "NotPossibleError";

  /**
   * Makes one.
   *
   * @param why the end of the sentence
   */
  constructor(why: string, options?: ErrorOptions) {
    super(`Not possible here: ${why}`, options);
  }
}
