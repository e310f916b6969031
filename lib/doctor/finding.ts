/**
 * What one check of `doctor` has found.
 *
 * @module
 */

/** What is checked. */
export type Subject = "settings" | "kafka" | "postgres" | "redis" | "clocks";

/** `warning`: it works, and somebody should look at it. `failure`: it does not work, or loses data. */
export type FindingState = "ok" | "warning" | "failure";

/** The result of one check. */
export interface Finding {
  /** What was checked. */
  readonly subject: Subject;
  /** Which of its checks this is; the two together name it. */
  readonly check: string;
  /** How it came out. */
  readonly state: FindingState;
  /** What is the case, and why that matters. */
  readonly text: string;
  /** What to do about it; "" if it is ok. */
  readonly cure: string;
}

/** Makes the findings of one subject. */
export interface Findings {
  /** All is well. */
  ok(check: string, text: string): Finding;
  /** It works, but: */
  warning(check: string, text: string, cure: string): Finding;
  /** It does not work, or loses data. */
  failure(check: string, text: string, cure: string): Finding;
}

/** The maker of a subject's findings. */
export function findingsOf(subject: Subject): Findings {
  return {
    ok: (check, text) => ({ subject, check, state: "ok", text, cure: "" }),
    warning: (check, text, cure) => ({ subject, check, state: "warning", text, cure }),
    failure: (check, text, cure) => ({ subject, check, state: "failure", text, cure }),
  };
}
