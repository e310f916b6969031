/** Dead letters by reason: since the start, which comes with each state, and in the table. */

import { byId, element, getJson, setText, syncList } from "./dom.js";
import { count, words } from "./format.js";

/** Counting all of them reads a whole index, ms. */
const COUNT_MS_MIN = 10_000;

let stored = null;
let countedAt = -Infinity;

/** Shows the reasons of a state. */
export function showReasons({ sinceStart: { rejections } }) {
  if (!document.hidden && Date.now() - countedAt > COUNT_MS_MIN) countStored();
  const reasons = [...new Set([...Object.keys(rejections), ...Object.keys(stored ?? {})])]
    .map((reason) => ({ reason, here: rejections[reason] ?? 0, all: stored?.[reason] ?? null }))
    .sort((a, b) => (b.all ?? b.here) - (a.all ?? a.here) || (a.reason < b.reason ? -1 : 1));
  const list = byId("reasons");
  if (reasons.length === 0) {
    const text = element("td", { class: "nothing", colspan: 3 }, "None.");
    list.replaceChildren(element("tr", {}, text));
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

/** What cannot be counted now is counted later. */
async function countStored() {
  countedAt = Date.now();
  stored = await getJson("/api/ledger").then((answer) => answer.deadLetterReasons, () => stored);
}
