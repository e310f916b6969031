/**
 * The dashboard in a real browser, before a demo that runs. Needs Debian's Chromium, or another one
 * that CHROMIUM names. SCREENSHOTS=docs saves the pictures of the README, after some minutes, so that
 * there is something to see.
 *
 * @module
 */
import assert from "node:assert/strict";
import axe from "axe-core/axe.min.js" with { type: "text" };
import { type Browser, chromium, type Page } from "playwright-core";
import { systemClock } from "../../lib/clock.ts";
import { createLog } from "../../lib/log.ts";
import type { VerifyReport } from "../../lib/postgres/verify.ts";
import { discardDeadLetters, readDeadLetters } from "../../lib/postgres/dead_letters.ts";
import { type Demo, openDemo } from "../../tools/demo/demo.ts";
import { sampleText, utf8 } from "../sample_message.ts";

const CHROMIUM = Deno.env.get("CHROMIUM") ?? "/usr/bin/chromium";
const SCREENSHOTS = Deno.env.get("SCREENSHOTS");
const PICTURES_AFTER_MS = 480_000;

/** How long the page may take to show something, ms. */
const PATIENCE_MS = 20_000;

const DESKTOP = { width: 1_280, height: 800 };
const PHONE = { width: 390, height: 844 };

interface Stage {
  readonly demo: Demo;
  readonly browser: Browser;
  /** A page that shows the dashboard. Faults that it reports are collected. */
  open(options?: Parameters<Browser["newPage"]>[0], path?: string): Promise<Page>;
  readonly faults: string[];
}

const TOKEN = "shown-by-the-browser";

interface DemoChanges {
  readonly port?: number;
  readonly token?: string;
  readonly keepDir?: string;
  readonly ratePerSecond?: number;
  /** What it may say at level error; by default nothing. */
  readonly write?: (line: string) => void;
}

function startDemo(changes: DemoChanges = {}): Promise<Demo> {
  const { port = 0, token, keepDir, ratePerSecond = 200, write = assert.fail } = changes;
  const clock = systemClock;
  const log = createLog({ level: "error", format: "text", write, clock });
  const http = { host: "127.0.0.1", port, token };
  return openDemo({ ratePerSecond, sensors: 50, keepDir, http }, { clock, log });
}

function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
}

/** Runs a demo and a browser around `use`, and gives what the tables say in the end. */
async function withStage(
  use: (stage: Stage) => Promise<void>,
  changes?: DemoChanges,
): Promise<VerifyReport> {
  await using demo = await startDemo(changes);
  const browser = await startBrowser();
  const stop = new AbortController();
  const running = demo.run(stop.signal);
  const faults: string[] = [];
  try {
    await use({
      demo,
      browser,
      faults,
      open: async (options = {}, path = "/") => {
        const page = await browser.newPage({ viewport: DESKTOP, ...options });
        page.setDefaultTimeout(PATIENCE_MS);
        page.on("pageerror", (error) => faults.push(String(error)));
        await page.goto(demo.site.url + path);
        return page;
      },
    });
  } finally {
    stop.abort();
    await browser.close();
  }
  return await running;
}

/** Waits until an element's text matches. */
async function shows(page: Page, selector: string, pattern: RegExp): Promise<void> {
  await page.locator(selector).filter({ hasText: pattern }).first().waitFor();
}

async function numberIn(page: Page, selector: string): Promise<number> {
  return Number((await page.locator(selector).textContent())?.replaceAll(",", ""));
}

async function waitUntil(what: string, met: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while (!await met()) {
    assert(performance.now() < endMs, `never happened: ${what}`);
    await systemClock.sleep(100);
  }
}

async function seriousFaults(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const { violations } = await page.evaluate<
    {
      violations: { id: string; impact: string; nodes: { target: string[]; html: string }[] }[];
    }
  >("axe.run()");
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) =>
      `${id}: ${nodes.map(({ target, html }) => `${target} ${html}`).join("; ")}`
    );
}

async function picture(page: Page, name: string): Promise<void> {
  const path = SCREENSHOTS === undefined ? {} : { path: `${SCREENSHOTS}/dashboard-${name}.png` };
  const bytes = await page.screenshot(path);
  assert(bytes.length > 10_000, `${name} is empty`);
}

Deno.test("dashboard", async (t) => {
  const report = await withStage(async (stage) => {
    const page = await stage.open();
    if (SCREENSHOTS !== undefined) await systemClock.sleep(PICTURES_AFTER_MS);
    await t.step("numbers move", () => numbersMove(page));
    await t.step(
      "a dead letter with markup and terminal escapes is text",
      () => hostileLetter(stage, page),
    );
    await t.step("sensors can be searched, filtered and paged", () => sensors(page));
    await t.step(
      "a sensor opens by keyboard, draws its history, and closes",
      () => sensorByKeyboard(stage, page),
    );
    await t.step("a link to a sensor opens it; CSV is there", () => sensorByLink(stage));
    await t.step("axe-core finds no serious fault", async (s) => {
      for (const colorScheme of ["light", "dark"] as const) {
        for (const [name, viewport] of [["desktop", DESKTOP], ["phone", PHONE]] as const) {
          await s.step(`${name}, ${colorScheme}`, () => looks(stage, { colorScheme, viewport }));
        }
      }
    });
    await t.step("the command of a dead letter is copied", () => copyCommand(stage, page));
    await t.step("PostgreSQL stopped turns red, and back", () => outage(stage, page));
    await t.step("Kafka away: nothing is called caught up", () => kafkaAway(stage, page));
    await t.step("no script has failed", () => assert.deepEqual(stage.faults, []));
  });
  await t.step("and verify holds", () => assert.deepEqual(report.problems, []));
});

async function numbersMove(page: Page): Promise<void> {
  await shows(page, "#connection", /^Live$/);
  await shows(page, "#summary", /Up to date\. Storing \d+ messages\/s/);
  const stored = (): Promise<number> => numberIn(page, "#outcomes tr:first-child td:last-child");
  const before = await stored();
  await waitUntil("more rows", async () => await stored() > before + 100);
  assert(await numberIn(page, "#stored") > 50);
  assert.match(await page.locator("#ledger-stamp").innerText(), /Yes/);
  assert.equal(await page.locator("#rate-chart canvas").count(), 1);
  assert.equal(await page.locator("#servers li[data-state=ok]").count(), 3);
}

async function hostileLetter({ demo }: Stage, page: Page): Promise<void> {
  const text = `<script>document.title="taken"</script><img src=x onerror=alert(1)>\x1b[31mred`;
  demo.kafka.append(0, [{ key: null, value: new TextEncoder().encode(text) }]);
  await page.locator("#letter-reason").selectOption("json");
  const shown = page.locator("#letters pre").filter({ hasText: 'document.title="taken"' });
  await waitUntil("the letter", async () => {
    await page.locator("#letters-newest").click({ force: true }).catch(() => {});
    return await shown.count() === 1;
  });
  assert.equal(await shown.innerText(), text.replace("\x1b", "\\u{1b}"));
  assert.equal(await page.locator("#letters script, #letters img").count(), 0);
  // The table is counted every ten seconds.
  const inTable = "#reasons tr:has-text('id conflict') td:last-child";
  await waitUntil("counts of the table", async () => await numberIn(page, inTable) > 0);
  assert.equal(await page.title(), "sensor-ledger");
  await page.locator("#letter-reason").selectOption("");
}

async function sensors(page: Page): Promise<void> {
  const ids = page.locator("#sensor-rows .open");
  await waitUntil("all sensors", async () => await ids.count() === 20);
  const first = (await ids.first().textContent())!;
  await page.locator("#sensors-next").click();
  await waitUntil("the next page", async () => await ids.first().textContent() !== first);
  await page.locator("#sensors-previous").click();
  await waitUntil("the first page", async () => await ids.first().textContent() === first);
  await page.locator("#sensor-search").fill(first.slice(0, 8).toUpperCase());
  await waitUntil("one sensor", async () => await ids.count() === 1);
  await page.locator("#sensor-search").fill("nobody");
  await shows(page, "#sensor-rows", /No sensors match/);
  await page.locator("#sensor-search").fill("");
  await page.locator("#sensor-type").selectOption("co2");
  await shows(page, "#sensor-count", /8 of 50/);
  await page.locator("#sensor-type").selectOption("");
  await waitUntil("all sensors again", async () => await ids.count() === 20);
}

async function sensorByKeyboard({ demo }: Stage, page: Page): Promise<void> {
  await page.goto(demo.site.url);
  const first = page.locator("#sensor-rows .open").first();
  await first.waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate("document.activeElement.className"), "skip");
  await page.keyboard.press("Enter");
  // From the sensors on: search, type, the table, and its first sensor.
  for (let tabs = 0; tabs < 4; tabs++) await page.keyboard.press("Tab");
  assert.equal(await page.evaluate("document.activeElement.className"), "open");
  const id = await first.textContent();
  await page.keyboard.press("Enter");
  await shows(page, "#sensor-summary", /\d+ readings from/);
  assert.equal(await page.locator("#sensor-id").textContent(), id);
  assert.equal(await page.locator("#sensor-chart canvas").count(), 1);
  assert(await hasInk(page), "the chart is blank");
  await picture(page, "sensor");
  await page.getByRole("button", { name: "24 h" }).click();
  await waitUntil(
    "the other range",
    async () =>
      await page.getByRole("button", { name: "24 h" }).getAttribute("aria-pressed") === "true",
  );
  await page.keyboard.press("Escape");
  await page.locator("#sensor").waitFor({ state: "hidden" });
  // The address changes a moment after the dialog has gone.
  await waitUntil("the address", async () => await page.evaluate("location.hash") === "");
}

/** Whether the accent colour has been drawn. */
async function hasInk(page: Page): Promise<boolean> {
  return await page.evaluate<boolean>(`(() => {
    const canvas = document.querySelector("#sensor-chart canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
      if (data[at + 3] > 200 && data[at + 1] > data[at] + 60) return true;
    }
    return false;
  })()`);
}

async function sensorByLink({ demo, open }: Stage): Promise<void> {
  const response = await fetch(`${demo.site.url}/api/sensors?limit=1`);
  const { sensors: [sensor] } = await response.json();
  const page = await open({}, `/#sensor=${sensor.sensorId}&seconds=3600`);
  await shows(page, "#sensor-summary", /\d+ readings from/);
  const href = await page.locator("#sensor-csv").getAttribute("href");
  const csv = await (await fetch(demo.site.url + href)).text();
  assert.match(csv, /^unique_reading_id,timestamp,.*\r\n[0-9a-f-]{36},/);
  await page.close();
}

async function copyCommand({ demo, open }: Stage, page: Page): Promise<void> {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.locator("#letter-reason").selectOption("");
  // Once it has the focus, no newer ones push it away.
  await page.locator("#letters .copy").first().focus();
  const command = await page.evaluate<string>(
    "document.activeElement.textContent.replace('Copy: ', '')",
  );
  const [id] = /\d+$/.exec(command)!;
  const letter = page.locator("#letters li").filter({
    has: page.getByText(`#${id}`, { exact: true }),
  });
  await page.keyboard.press("Enter");
  await shows(page, "#announcer", /Copied/);
  assert.equal(await page.evaluate("navigator.clipboard.readText()"), command);
  await letter.locator("summary").click();
  await shows(page, "#letters code", new RegExp(`replay ${id}$`));
  await shows(page, "#letters code", new RegExp(`discard ${id} --reason-text "why"$`));
  // Another computer's browser, without HTTPS, has no clipboard.
  const other = await open();
  await other.evaluate("delete Navigator.prototype.clipboard");
  await other.locator("#letters .copy").first().click();
  const selected = await other.evaluate<string>("getSelection().toString()");
  assert.match(selected, /^deno task dead-letters show \d+$/);
  await other.close();
  await discardDeadLetters(demo.pool, [Number(id)], "a test");
  await shows(page, "#letters .letter-state", /^discarded .*: a test$/);
  await page.locator("#letter-state").selectOption("open");
  await waitUntil(
    "the resolved one is gone",
    async () => await page.locator("#letters b").filter({ hasText: `#${id}` }).count() === 0,
  );
  await page.locator("#letter-state").selectOption("");
}

async function kafkaAway({ demo }: Stage, page: Page): Promise<void> {
  await shows(page, "#lag-note", /caught up|oldest/);
  demo.kafka.setBrokersAway(true);
  await shows(page, "#summary", /Kafka does not answer\. Nobody knows/);
  assert.doesNotMatch(await page.locator("#lag-note").innerText(), /caught up/);
  await shows(page, "#lag-note", /^as of \d\d:\d\d:\d\d$/);
  await shows(page, "#in-note", /^as of/);
  await shows(page, "#rates-age", /^as of/);
  assert.equal(await page.locator(".figure.stale").count(), 3, "this process knows its own delay");
  assert.match(await page.locator("#ledger-stamp").innerText(), /Yes/, "PostgreSQL answers");
  assert.deepEqual(await seriousFaults(page), []);
  demo.kafka.setBrokersAway(false);
  await shows(page, "#lag-note", /caught up/);
}

async function outage({ demo }: Stage, page: Page): Promise<void> {
  await demo.postgres.pause();
  await shows(page, "#servers li[data-state=away]", /PostgreSQL\s*no answer since/);
  await shows(page, "#summary", /PostgreSQL does not answer/);
  assert.equal(await page.locator("#verdict").getAttribute("data-tone"), "bad");
  await shows(page, "#announcer", /PostgreSQL does not answer/);
  const [ready, live] = await Promise.all(
    ["readyz", "healthz"].map((path) => fetch(`${demo.site.url}/${path}`)),
  );
  assert.deepEqual([ready!.status, live!.status], [503, 200]);
  assert.match(await ready!.text(), /PostgreSQL has not answered since/);
  await live!.body?.cancel();
  assert.equal(await page.locator("#ledger-stamp").innerText(), "currently unknown");
  await shows(page, "#letters-age", /^as of/);
  for (const id of ["#ledger", "#letters"]) {
    await page.locator(`${id}.stale`).waitFor({ state: "attached" });
  }
  assert.match(await page.locator("#ledger-age").innerText(), /Both columns as of/);
  assert.deepEqual(await seriousFaults(page), []);
  await demo.postgres.resume();
  await shows(page, "#servers li[data-state=ok]", /PostgreSQL\s*answers/);
  await shows(page, "#summary", /Up to date|Catching up/);
}

async function looks(
  { open }: Stage,
  how: { readonly colorScheme: "light" | "dark"; readonly viewport: typeof PHONE },
): Promise<void> {
  const page = await open(how);
  await shows(page, "#summary", /Storing/);
  await page.locator("#sensor-rows .spark").first().waitFor({ state: "attached" });
  await page.locator("#letters pre").first().waitFor();
  await picture(page, `${how.viewport.width}-${how.colorScheme}`);
  const overflow = await page.evaluate<number>(
    "document.documentElement.scrollWidth - document.documentElement.clientWidth",
  );
  assert.equal(overflow, 0, "the page is wider than the screen");
  assert.deepEqual(await seriousFaults(page), []);
  await page.locator("#sensor-rows .open").first().click();
  await shows(page, "#sensor-summary", /\d+ readings from/);
  assert.deepEqual(await seriousFaults(page), []);
  await page.close();
}

Deno.test("dashboard comes back by itself when its consumer was gone", async () => {
  const browser = await startBrowser();
  try {
    const page = await browser.newPage();
    const first = await startDemo();
    await page.goto(first.site.url);
    await shows(page, "#connection", /^Live$/);
    await shows(page, "#empty", /deno task produce/);
    await first[Symbol.asyncDispose]();
    await shows(page, "#connection", /No connection since/);
    await shows(page, "#summary", /No connection to the consumer since/);
    assert.equal(await page.locator("#ledger-stamp").innerText(), "currently unknown");
    assert.match(await page.locator("#lag-note").innerText(), /as of/);
    assert.equal(await page.locator("#servers li[data-state=unknown]").count(), 3);
    assert.deepEqual(await seriousFaults(page), []);
    await using _ = await startDemo({ port: Number(new URL(first.site.url).port) });
    await shows(page, "#connection", /^Live$/);
    await shows(page, "#lag-note", /caught up/);
  } finally {
    await browser.close();
  }
});

Deno.test("dashboard: dead letters are handled, and their reasons are there after a restart", async (t) => {
  const keepDir = await Deno.makeTempDir();
  const browser = await startBrowser();
  const openPage = async ({ site }: Demo): Promise<Page> => {
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    await page.goto(site.url);
    return page;
  };
  try {
    await t.step("the alarm is over when a person has resolved all of them", async () => {
      const said: string[] = [];
      // Nothing else comes that could end it.
      const changes = { keepDir, ratePerSecond: 0.01, write: (line: string) => said.push(line) };
      await using demo = await startDemo(changes);
      const stop = new AbortController();
      const running = demo.run(stop.signal);
      await handleAll(demo, await openPage(demo));
      assert.equal(said.length, 1);
      stop.abort();
      await running;
    });
    await t.step("after a restart the filter has the reasons of the table", async () => {
      await using demo = await startDemo({ keepDir });
      const page = await openPage(demo);
      assert.deepEqual(demo.site.status().sinceStart.rejections, {});
      await page.locator("#letter-reason option[value=json]").waitFor({ state: "attached" });
      await page.locator("#letter-reason").selectOption("json");
      await page.locator("#letters .reason").filter({ hasText: "json" }).first().waitFor();
    });
  } finally {
    await browser.close();
    await Deno.remove(keepDir, { recursive: true });
  }
});

async function handleAll({ kafka, pool }: Demo, page: Page): Promise<void> {
  kafka.append(0, Array.from({ length: 800 }, () => ({ key: null, value: utf8("{") })));
  await shows(page, "#summary", /messages, \d+ are .*: json \d+\. 8\d\d dead letters are open/);
  assert.equal(await page.locator("#verdict").getAttribute("data-tone"), "warn");
  const newest = { order: "newest", limit: 1_000 } as const;
  const letters = await readDeadLetters(pool, { state: "open" }, newest);
  await discardDeadLetters(pool, letters.map(({ id }) => id), "a test");
  await shows(page, "#summary", /Up to date/);
  await shows(page, "#letters-open", /^0 open$/);
}

Deno.test("dashboard with a token works for a browser that knows it", async () => {
  await withStage(async ({ demo, browser, open, faults }) => {
    const stranger = await browser.newPage();
    await assert.rejects(stranger.goto(demo.site.url), { message: /ERR_INVALID_AUTH_CREDENTIALS/ });
    const page = await open({ httpCredentials: { username: "anybody", password: TOKEN } });
    await shows(page, "#connection", /^Live$/);
    await shows(page, "#summary", /Storing/);
    await page.locator("#sensor-rows .open").first().click();
    await shows(page, "#sensor-summary", /\d+ readings from/);
    assert.deepEqual(faults, []);
  }, { token: TOKEN });
});

/** How many sensors have to fit. */
const MANY_SENSORS = 10_000;

Deno.test("dashboard with 10,000 sensors shows a page of them", async (t) => {
  const report = await withStage(async ({ demo, open, faults }) => {
    const messages = Array.from({ length: MANY_SENSORS }, (_, index) => ({
      key: null,
      value: utf8(sampleText({
        unique_reading_id: crypto.randomUUID(),
        sensor_id: `field-${String(index).padStart(5, "0")}`,
        timestamp: new Date().toISOString(),
      })),
    }));
    demo.kafka.append(0, messages);
    const page = await open();
    const ids = page.locator("#sensor-rows .open");
    await t.step("all are counted, and twenty are on the page", async () => {
      await shows(page, "#sensor-count", /^10,0\d\d ·/);
      assert.equal(await ids.count(), 20);
    });
    await t.step("one of them is found", async () => {
      await page.locator("#sensor-search").fill("FIELD-07654");
      await waitUntil("one sensor", async () => await ids.count() === 1);
      await shows(page, "#sensor-count", /^1 of 10,0/);
    });
    await t.step("page follows page", async () => {
      await page.locator("#sensor-search").fill("field-");
      for (const first of ["field-00000", "field-00020", "field-00040"]) {
        await waitUntil(first, async () => await ids.first().textContent() === first);
        await page.locator("#sensors-next").click();
      }
      assert.equal(await ids.count(), 20);
    });
    assert.deepEqual(faults, []);
  });
  assert.deepEqual(report.problems, []);
});
