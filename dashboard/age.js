/**
 * How old figures are. An old one is grey and has its time, an unknown one is a dash, and no judgement
 * rests on either.
 */

import { setText } from "./dom.js";
import { timeText } from "./format.js";

/** Older figures do not say what is true now, ms. */
const AGE_MS_MAX = 10_000;

/** What the consumer's clock is ahead of the browser's, ms. */
let aheadMs = 0;
let isLost = false;

/** Notes the consumer's time, which comes with each of its answers. */
export function noteTime(nowMs) {
  aheadMs = nowMs - Date.now();
}

/** Notes whether the consumer can be heard: while it cannot, nothing is fresh. */
export function noteConnection(lost) {
  isLost = lost;
}

/** The consumer's time now, ms since 1970. */
export function consumerNow() {
  return Date.now() + aheadMs;
}

/** Whether a figure was measured at all, whether it is fresh, and what to write beside it if not. */
export function ageOf(measuredAtMs) {
  if (measuredAtMs === null || measuredAtMs === undefined) {
    return { isKnown: false, isFresh: false, text: "" };
  }
  const isFresh = !isLost && consumerNow() - measuredAtMs <= AGE_MS_MAX;
  return { isKnown: true, isFresh, text: isFresh ? "" : `as of ${timeText(measuredAtMs)}` };
}

/** Greys an element that shows an old figure, and writes its time into another one. */
export function showAge(target, age, note) {
  target.classList.toggle("stale", age.isKnown && !age.isFresh);
  if (note !== undefined) setText(note, age.text);
}
