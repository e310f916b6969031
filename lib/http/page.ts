/**
 * The dashboard's files, which are part of the program: there is no folder to find at run time, and
 * nothing comes from another site.
 *
 * @module
 */
import { createHash } from "node:crypto";
import uplotScript from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uplotStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import ageScript from "../../dashboard/age.js" with { type: "text" };
import chartScript from "../../dashboard/chart.js" with { type: "text" };
import copyScript from "../../dashboard/copy.js" with { type: "text" };
import deadLettersScript from "../../dashboard/dead_letters.js" with { type: "text" };
import domScript from "../../dashboard/dom.js" with { type: "text" };
import formatScript from "../../dashboard/format.js" with { type: "text" };
import page from "../../dashboard/index.html" with { type: "text" };
import mainScript from "../../dashboard/main.js" with { type: "text" };
import overviewScript from "../../dashboard/overview.js" with { type: "text" };
import reasonsScript from "../../dashboard/reasons.js" with { type: "text" };
import sensorScript from "../../dashboard/sensor.js" with { type: "text" };
import sensorsScript from "../../dashboard/sensors.js" with { type: "text" };
import style from "../../dashboard/style.css" with { type: "text" };
import icon from "../../dashboard/icon.svg" with { type: "text" };
import type { HttpAnswer, HttpRequest } from "./exchange.ts";

const HTML = "text/html; charset=utf-8";
const SCRIPT = "text/javascript; charset=utf-8";
const STYLE = "text/css; charset=utf-8";

const FILES: ReadonlyMap<string, { readonly type: string; readonly text: string; tag: string }> =
  new Map(
    ([
      ["/", HTML, page],
      ["/icon.svg", "image/svg+xml", icon],
      ["/style.css", STYLE, style],
      ["/uplot.css", STYLE, uplotStyle],
      ["/uplot.js", SCRIPT, uplotScript],
      ["/age.js", SCRIPT, ageScript],
      ["/chart.js", SCRIPT, chartScript],
      ["/copy.js", SCRIPT, copyScript],
      ["/dead_letters.js", SCRIPT, deadLettersScript],
      ["/dom.js", SCRIPT, domScript],
      ["/format.js", SCRIPT, formatScript],
      ["/main.js", SCRIPT, mainScript],
      ["/overview.js", SCRIPT, overviewScript],
      ["/reasons.js", SCRIPT, reasonsScript],
      ["/sensor.js", SCRIPT, sensorScript],
      ["/sensors.js", SCRIPT, sensorsScript],
    ] as const).map(([path, type, text]) => [path, { type, text, tag: tagOf(text) }]),
  );

/** Serves the page. A browser that has a file asks whether it is still the same. */
export function pageHandler({ path, header }: HttpRequest): Promise<HttpAnswer | undefined> {
  const file = FILES.get(path);
  if (file === undefined) return Promise.resolve(undefined);
  const headers = { "content-type": file.type, "cache-control": "no-cache", etag: file.tag };
  const isKnown = header("if-none-match") === file.tag;
  return Promise.resolve({ status: isKnown ? 304 : 200, headers, body: isKnown ? "" : file.text });
}

function tagOf(text: string): string {
  return `"${createHash("sha256").update(text).digest("hex").slice(0, 16)}"`;
}
