/** The newest dead letters, and older ones on demand, each with the commands that handle it. */

import { ageOf, noteTime, showAge } from "./age.js";
import { commandLine } from "./copy.js";
import { byId, element, getJson, setText, syncList } from "./dom.js";
import { count, dateText, timeText, words } from "./format.js";

const PAGE_LETTERS = 6;

/** What becomes of them is not told by any count that comes on its own, so they are read again, ms. */
const REFRESH_MS = 5_000;

/** What `resolution` means. */
const RESOLUTIONS = {
  inserted: "replayed: stored",
  duplicate: "replayed: already stored",
  discarded: "discarded",
};

let before = "";
let following = null;
let firstId = null;
let readAtMs = null;
let asking = new AbortController();

/** Listens to the person, and begins to read. */
export function startDeadLetters() {
  for (const id of ["letter-reason", "letter-state"]) {
    byId(id).addEventListener("change", () => goTo(""));
  }
  byId("letters-newest").addEventListener("click", () => goTo(""));
  byId("letters-older").addEventListener("click", () => goTo(following));
  setInterval(() => {
    if (!document.hidden) refresh();
  }, REFRESH_MS);
  refresh();
}

/** Shows how many wait for a person, and how old all of it is. */
export function showDeadLetters({ openDeadLetters: open }) {
  const age = ageOf(open?.measuredAtMs);
  const number = open === null ? "–" : `${open.isMore ? "over " : ""}${count(open.count)}`;
  setText(byId("letters-open"), `${number} open${age.text === "" ? "" : `, ${age.text}`}`);
  showAge(byId("letters-open"), age);
  showAge(byId("letters"), ageOf(readAtMs), byId("letters-age"));
}

function goTo(id) {
  before = id;
  refresh();
}

/** Letters do not run away from a person who is among them: the same ones are read again. */
function isHeld() {
  return firstId !== null && byId("letters").contains(document.activeElement);
}

async function refresh() {
  asking.abort();
  asking = new AbortController();
  const isSame = isHeld();
  const query = new URLSearchParams({
    limit: PAGE_LETTERS,
    before: isSame ? String(BigInt(firstId) + 1n) : before,
    reason: byId("letter-reason").value,
    state: byId("letter-state").value,
  });
  // What cannot be read now is read later; the list gets old meanwhile.
  const page = await getJson(`/api/dead-letters?${query}`, asking.signal).catch(() => undefined);
  if (page === undefined) return;
  // Somebody has come to a letter meanwhile, which may not be among these.
  if (isHeld() && !isSame) return refresh();
  show(page);
}

function show({ deadLetters, next, reasons, nowMs }) {
  noteTime(nowMs);
  readAtMs = nowMs;
  following = next;
  firstId = deadLetters[0]?.id ?? null;
  byId("letters-newest").disabled = before === "" && !isHeld();
  byId("letters-older").disabled = next === null;
  showReasonChoices(reasons);
  showAge(byId("letters"), ageOf(readAtMs), byId("letters-age"));
  const list = byId("letters");
  if (deadLetters.length === 0) {
    const isAll = before === "" && byId("letter-reason").value === "" &&
      byId("letter-state").value === "";
    list.replaceChildren(element("li", { class: "nothing" }, isAll ? "None." : "No matches."));
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
  const state = element("span", { class: "letter-state" });
  const head = element(
    "p",
    { class: "letter-head" },
    element("b", {}, `#${letter.id}`),
    element("span", { class: "reason" }, words(letter.reason)),
    state,
    element("span", { class: "where" }, place, time),
  );
  const text = letter.text === null
    ? "no value"
    : `${letter.text}${letter.isCut ? ` … (${count(letter.payloadBytes)} bytes)` : ""}`;
  const raw = element("pre", {
    tabindex: "0",
    role: "group",
    "aria-label": "Raw message",
  }, text);
  const detail = element("p", { class: "detail" }, letter.detail);
  const task = "deno task dead-letters";
  const more = element(
    "details",
    {},
    element("summary", {}, "Replay or discard it"),
    commandLine(`${task} replay ${letter.id}`),
    commandLine(`${task} replay ${letter.id} --edit mended.json`),
    commandLine(`${task} discard ${letter.id} --reason-text "why"`),
  );
  const item = element("li", {}, head, detail, raw, commandLine(`${task} show ${letter.id}`), more);
  return {
    element: item,
    update: (now) => {
      setText(time, timeText(now.createdAtMs));
      setText(state, stateText(now));
      item.dataset.state = now.resolution === null ? "open" : "resolved";
      more.hidden = now.resolution !== null;
    },
  };
}

function stateText({ resolution, resolvedAtMs, resolutionNote }) {
  if (resolution === null) return "open";
  const note = resolutionNote === null ? "" : `: ${resolutionNote}`;
  return `${RESOLUTIONS[resolution] ?? resolution} ${timeText(resolvedAtMs)}${note}`;
}

/** Those of the table. The one that is chosen stays, also when its last dead letter has gone. */
function showReasonChoices(reasons) {
  const select = byId("letter-reason");
  const chosen = select.value;
  const wanted = [...new Set([...reasons, chosen])].filter((reason) => reason !== "").sort();
  const present = Array.from(select.options, ({ value }) => value).slice(1);
  if (present.join() === wanted.join()) return;
  const options = wanted.map((reason) => element("option", { value: reason }, words(reason)));
  select.replaceChildren(element("option", { value: "" }, "All reasons"), ...options);
  select.value = chosen;
}
