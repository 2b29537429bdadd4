// The facts that belong to a run's numbers: findings, data set, protocol, versions, devices, times.

/** @import { Line, Overview, Rule, Run } from "./types" */

import { h } from "./dom.js";
import { countText, fewDigits, modelName } from "./numbers.js";
import { countTitle } from "./summary_columns.js";

/**
 * @param {Overview} overview
 * @param {Run} run
 * @param {Line[]} lines The lines of the run.
 * @returns {HTMLElement}
 */
export function runFacts(overview, run, lines) {
  const { dataset, protocol } = run;
  const rule = run.rule ? ruleText(run.rule, run.least_iou) : "";
  return h(
    "div",
    { class: "summary-facts" },
    run.findings.length
      ? h(
          "section",
          { class: "summary-findings" },
          h("h3", {}, "Findings"),
          h("ul", {}, run.findings.map((finding) => h("li", {}, finding))),
        )
      : null,
    h(
      "dl",
      {},
      fact("Data set", `${dataset.name}, ${countText(dataset.n_images, "image")}`, code(dataset.fingerprint)),
      fact("Protocol", protocol.name, code(protocol.hash), protocol.paper && small(protocol.paper)),
      rule ? fact("Boxes", rule) : null,
      fact("Counts", ...countFacts(overview, lines)),
      fact("Experiment", run.experiment, small(run.path)),
      fact("Time", timeText(run.started, run.finished)),
      fact("Devices", ...run.devices.map((device) => h("span", {}, device))),
      fact("Versions", ...Object.entries(run.versions).map(([name, version]) => h("span", {}, `${name} ${version}`))),
    ),
    h("details", { class: "summary-yaml" }, h("summary", {}, "Protocol as YAML"), h("pre", { tabindex: 0 }, protocol.yaml)),
  );
}

/**
 * @param {string} name
 * @param {...(Node | string)} parts
 * @returns {HTMLElement | null} Null without parts.
 */
function fact(name, ...parts) {
  return parts.length ? h("div", {}, h("dt", {}, name), h("dd", {}, parts)) : null;
}

/**
 * @param {string} text
 * @returns {HTMLElement}
 */
function code(text) {
  return h("code", { class: "muted" }, text);
}

/**
 * @param {string} text
 * @returns {HTMLElement}
 */
function small(text) {
  return h("span", { class: "muted" }, text);
}

/**
 * A sentence about how boxes are made and compared.
 *
 * @param {Rule} rule
 * @param {number | null} leastIou
 * @returns {string}
 */
function ruleText(rule, leastIou) {
  const level = rule.of === "maximum" ? "of the map's maximum" : "of the map's range";
  const threshold = rule.threshold === null ? "at each threshold" : `at ${fewDigits(100 * rule.threshold, 4)}%`;
  const what = rule.extractor === "contours" ? "contour" : `${rule.connectivity}-connected component`;
  const which = rule.component === "all" ? `boxes of every ${what}` : `box of the largest ${what}`;
  const hit = leastIou === null ? "" : `; a hit from IoU ${leastIou}, in pixels of the ${rule.frame === "input" ? "network's input" : "original image"}`;
  return `${which} ${threshold} ${level}${hit}`;
}

/**
 * Numbers of images, as far as they are not 0.
 *
 * @param {Overview} overview
 * @param {Line[]} lines
 * @returns {HTMLElement[]}
 */
function countFacts(overview, lines) {
  const models = [...new Set(lines.map((line) => line.model))];
  const names = [...new Set(lines.flatMap((line) => Object.keys(line.counts)))];
  return names.flatMap((name) => {
    const counts = models.map((model) =>
      lines.filter((line) => line.model === model).map((line) => line.counts[name] ?? 0),
    );
    if (counts.flat().every((n) => !n)) return [];
    const texts = counts.map((own) => rangeText(Math.min(...own), Math.max(...own)));
    const same = new Set(texts).size === 1;
    const text = same ? texts[0] : texts.map((each, i) => `${each} (${modelName(overview, models[i])})`).join(", ");
    return h("span", {}, `${countTitle(name)}: ${text}`);
  });
}

/**
 * @param {number} low
 * @param {number} high
 * @returns {string}
 */
function rangeText(low, high) {
  const [from, to] = [low, high].map((n) => n.toLocaleString("en-US"));
  return low === high ? from : `${from} to ${to}`;
}

/**
 * @param {string} started
 * @param {string} finished
 * @returns {string}
 */
function timeText(started, finished) {
  const [from, to] = [started, finished].map((text) => new Date(text));
  if (Number.isNaN(from.getTime()) || Number.isNaN(to.getTime())) return [started, finished].filter(Boolean).join(" to ");
  const utc = (/** @type {Date} */ date) => date.toISOString().slice(0, 16).replace("T", " ");
  return `${utc(from)} to ${utc(to)} UTC (${durationText((to.getTime() - from.getTime()) / 1000)})`;
}

/**
 * @param {number} seconds
 * @returns {string}
 */
function durationText(seconds) {
  if (seconds < 120) return countText(Math.round(seconds), "second");
  if (seconds < 7200) return countText(Math.round(seconds / 60), "minute");
  return `${fewDigits(seconds / 3600, 3)} hours`;
}
