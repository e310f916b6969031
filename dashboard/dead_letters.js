/** The newest dead letters, and older ones on demand. */

import { byId, element, getJson, setText, syncList } from "./dom.js";
import { count, dateText, timeText, words } from "./format.js";

const PAGE_LETTERS = 8;

let before = "";
let following = null;
let known = -1;
let asking = new AbortController();

/** Listens to the person. */
export function startDeadLetters() {
  byId("letter-reason").addEventListener("change", () => goTo(""));
  byId("letters-newest").addEventListener("click", () => goTo(""));
  byId("letters-older").addEventListener("click", () => goTo(following));
}

/** Asks again if there are others than before; a person who reads older ones is left alone. */
export function noteDeadLetters(status) {
  showReasonChoices(Object.keys(status.sinceStart.rejections));
  const letters = status.ledger?.deadLetters ?? 0;
  if (letters === known || before !== "" || document.hidden) return;
  known = letters;
  refresh();
}

function goTo(id) {
  before = id;
  refresh();
}

async function refresh() {
  asking.abort();
  asking = new AbortController();
  const query = new URLSearchParams({
    limit: PAGE_LETTERS,
    before,
    reason: byId("letter-reason").value,
  });
  try {
    show(await getJson(`/api/dead-letters?${query}`, asking.signal));
  } catch (error) {
    // Asked again with the next state.
    if (error.name !== "AbortError") known = -1;
  }
}

function show({ deadLetters, next }) {
  following = next;
  byId("letters-newest").disabled = before === "";
  byId("letters-older").disabled = next === null;
  const list = byId("letters");
  if (deadLetters.length === 0) {
    list.replaceChildren(element("li", { class: "nothing" }, "None. Every message was a reading."));
    list.syncedParts = undefined;
    return;
  }
  syncList(list, deadLetters, { keyOf: ({ id }) => id, make: makeLetter });
}

function makeLetter(letter) {
  const time = element("time", {
    datetime: new Date(letter.createdAtMs).toISOString(),
    title: dateText(letter.createdAtMs),
  }, timeText(letter.createdAtMs));
  const place = `partition ${letter.partition}, offset ${count(letter.offset)} · `;
  const head = element(
    "p",
    { class: "letter-head" },
    element("span", { class: "reason" }, words(letter.reason)),
    element("span", { class: "where" }, place, time),
  );
  const text = letter.text === null
    ? "no value"
    : `${letter.text}${letter.isCut ? ` … (${count(letter.payloadBytes)} bytes)` : ""}`;
  const raw = element("pre", {
    tabindex: "0",
    role: "group",
    "aria-label": "The message as it came",
  }, text);
  return {
    element: element("li", {}, head, element("p", { class: "detail" }, letter.detail), raw),
    // A dead letter never changes; only the clock goes on.
    update: () => setText(time, timeText(letter.createdAtMs)),
  };
}

function showReasonChoices(reasons) {
  const select = byId("letter-reason");
  const present = Array.from(select.options, ({ value }) => value);
  const missing = reasons.filter((reason) => !present.includes(reason)).sort();
  select.append(...missing.map((reason) => element("option", { value: reason }, words(reason))));
}
