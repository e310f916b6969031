/** Dead letters by reason: since the start, which comes with each state, and in the table. */

import { ageOf, noteTime, showAge } from "./age.js";
import { byId, element, getJson, setText, syncList } from "./dom.js";
import { count, timeText, words } from "./format.js";

/** Counting all of them reads a whole index, ms. */
const COUNT_MS_MIN = 8_000;

/**
 * `{counts, here, atMs}`: those of the table, and of this process when it was asked for them, so that
 * the two columns are of one moment. Counts are null where counting takes too long.
 */
let stored = null;
let countedAt = -Infinity;

/** Shows the reasons of a state. */
export function showReasons({ sinceStart }) {
  if (!document.hidden && Date.now() - countedAt > COUNT_MS_MIN) countStored();
  const counts = stored?.counts ?? null;
  const rejections = counts === null ? sinceStart.rejections : stored.here;
  const age = ageOf(counts === null ? null : stored.atMs);
  showAge(byId("reasons").parentElement, age);
  setText(byId("reasons-age"), age.isKnown ? `as of ${timeText(stored.atMs)}` : "");
  const reasons = [...new Set([...Object.keys(rejections), ...Object.keys(counts ?? {})])]
    .map((reason) => {
      const all = counts === null ? null : counts[reason] ?? 0;
      return { reason, here: rejections[reason] ?? 0, all };
    })
    .sort((a, b) => (b.all ?? b.here) - (a.all ?? a.here) || (a.reason < b.reason ? -1 : 1));
  const list = byId("reasons");
  if (reasons.length === 0) {
    // That there are none is said only by who has just counted.
    const text = age.isFresh ? "None." : age.isKnown ? `None ${age.text}.` : "–";
    const cell = element("td", { class: "nothing", colspan: 3 }, text);
    list.replaceChildren(element("tr", {}, cell));
    list.syncedParts = undefined;
    return;
  }
  syncList(list, reasons, {
    keyOf: ({ reason }) => reason,
    make: ({ reason }) => {
      const [here, all] = [element("td", { class: "number" }), element("td", { class: "number" })];
      return {
        element: element("tr", {}, element("td", {}, words(reason)), here, all),
        update: (now) => {
          setText(here, count(now.here));
          setText(all, now.all === null ? "–" : count(now.all));
        },
      };
    },
  });
}

/** What cannot be counted now is counted later; what was counted before gets old meanwhile. */
async function countStored() {
  countedAt = Date.now();
  try {
    const answer = await getJson("/api/ledger");
    noteTime(answer.nowMs);
    stored = {
      counts: answer.deadLetterReasons,
      here: answer.deadLetterReasonsSinceStart,
      atMs: answer.nowMs,
    };
  } catch {
    // Shown as it was.
  }
}
