import assert from "node:assert/strict";
import type { CampaignReport, PlayedFault } from "../../campaign/campaign.ts";
import { proofPage } from "../../campaign/proof_page.ts";
import { brokenPromises, reportText, summarize } from "../../campaign/report.ts";

const PLAYED: PlayedFault = {
  name: "PostgreSQL away",
  party: "PostgreSQL",
  countsFor: ["PostgreSQL away"],
  injectedAtMs: 10_000,
  healedAtMs: 20_000,
  rowsAfterMs: 1_000,
  allMovedAtMs: 22_000,
  longestStallMs: 11_000,
  rowsWithinMs: 5_000,
};

function reportOf(changes: Partial<CampaignReport> = {}): CampaignReport {
  return {
    seed: 7,
    hold: "short",
    startedAtMs: 0,
    durationMs: 60_000,
    played: [PLAYED],
    kills: 0,
    oddEnds: [],
    acknowledged: [{ atMs: 1_000, messages: 10 }, { atMs: 30_000, messages: 300 }],
    sightings: [{ atMs: 2_000, inserted: 10, passed: 10 }],
    bounds: undefined,
    ending: endingOf(),
    ...changes,
  };
}

function endingOf(findings: CampaignReport["ending"]["oracle"]["findings"] = []): CampaignReport[
  "ending"
] {
  return {
    oracle: {
      acknowledged: 300,
      unacknowledged: 0,
      rows: 290,
      deadLetters: 10,
      deletedByUs: 0,
      findings,
    },
    verifyProblems: [],
    gaps: 0,
    indexes: 7,
    indexProblems: [],
    lastValueProblems: [],
  };
}

Deno.test("brokenPromises() is empty where all holds", () => {
  assert.deepEqual(brokenPromises(reportOf()), []);
  assert.match(reportText(reportOf()), /^ok: /m);
});

Deno.test("brokenPromises() names each kind of broken promise", () => {
  const lost = { kind: "lost", sentAtMs: 12_000, text: "message 5" } as const;
  const oddEnd = { name: "consumer-1", atMs: 15_000, end: { code: 1, signal: null }, said: "" };
  const ending = endingOf();
  const cases: [Partial<CampaignReport>, RegExp][] = [
    [{ ending: endingOf([lost]) }, /^lost: message 5/],
    [{ ending: { ...ending, verifyProblems: ["a line does not add up"] } }, /^verify: a line/],
    [{ ending: { ...ending, indexProblems: ["broken"] } }, /^index: broken/],
    [{ ending: { ...ending, lastValueProblems: ["old"] } }, /^last value: old/],
    [{ played: [{ ...PLAYED, failure: "no room" }] }, /^not played: .* no room/],
    [{ played: [{ ...PLAYED, rowsAfterMs: 6_000 }] }, /^too late: .* 6\.0 s, 5\.0 s/],
    [{ played: [{ ...PLAYED, rowsAfterMs: Infinity }] }, /^too late: .* never/],
    [{ played: [{ ...PLAYED, allMovedAtMs: undefined }] }, /^never over: PostgreSQL away/],
    [{ oddEnds: [oddEnd] }, /^ended by itself: consumer-1/],
  ];
  for (const [changes, expected] of cases) {
    const broken = brokenPromises(reportOf(changes));
    assert.equal(broken.length, 1, broken.join("\n"));
    assert.match(broken[0]!, expected);
    assert.doesNotMatch(reportText(reportOf(changes)), /^ok: /m);
  }
});

Deno.test("brokenPromises() lets a watchdog end what is stuck, and reportText() tells of it", () => {
  const end = { code: 1, signal: null };
  const oddEnds = [{ name: "consumer-1", atMs: 15_000, end, said: "stuck: no progress" }];
  assert.deepEqual(brokenPromises(reportOf({ oddEnds })), []);
  assert.match(reportText(reportOf({ oddEnds })), /consumer-1 .*: stuck: no progress/);
});

Deno.test("summarize() counts a kill of several for each point, and a loss for its fault", () => {
  const kill = { ...PLAYED, countsFor: ["at a", "at b"], injectedAtMs: 30_000, healedAtMs: 31_000 };
  const findings = [{ kind: "lost", sentAtMs: 35_000, text: "" } as const];
  const played = [PLAYED, kill];
  const summary = summarize(reportOf({ played, ending: endingOf(findings) }));
  assert.deepEqual(summary.map(({ name, times, lost }) => [name, times, lost]), [
    ["PostgreSQL away", 1, 0],
    ["at a", 1, 1],
    ["at b", 1, 1],
  ]);
});

Deno.test("proofPage() shows names as text, a band for each fault, and the verdict", () => {
  const page = proofPage(reportOf({ played: [{ ...PLAYED, name: "<b>", countsFor: ["<b>"] }] }));
  assert.ok(!page.includes("<b>"));
  assert.equal(page.split('class="fault').length - 1, 1);
  assert.match(page, /class="ok"/);
  const ending = endingOf([{ kind: "lost", sentAtMs: 0, text: "message 5" }]);
  assert.match(proofPage(reportOf({ ending })), /class="broken"[^]*message 5/);
});
