// A line's errors class by class: the worst and the best, or those that a search finds.

/** @import { Bin, Overview } from "./types" */
/** @import { ChartContext } from "./chart_card.js" */
/** @import { BinNumber } from "./chart_bins.js" */

import { binNumber, numberTitle } from "./chart_bins.js";
import { sortedLines } from "./chart_lines.js";
import { h, replaceChildren } from "./dom.js";
import { imagesOfLine } from "./image_links.js";
import { compareNumbers, countText, fullLineName } from "./numbers.js";
import { getState, onState, setState } from "./state.js";

const classesAtEachEnd = 20;
const classesFound = 60;

/**
 * A part of the page that shows classes, and a function that fills it.
 *
 * @param {Overview} overview
 * @returns {{element: HTMLElement, fill: (context: ChartContext) => void}}
 */
export function classList(overview) {
  const lines = [...new Set(overview.charts.by_class.map((bin) => bin.line))];
  const select = h("select", {}, lines.map((i) => h("option", { value: i }, fullLineName(overview, overview.lines[i]))));
  const search = h("input", { type: "search", placeholder: "Name of a class", spellcheck: "false" });
  const body = h("div", { class: "class-columns", "aria-live": "polite" });
  const about = h("p", { class: "chart-note muted" });
  /** @type {ChartContext | null} */
  let shown = null;
  const draw = () => {
    if (!shown) return;
    const line = chosenLine(overview, lines, shown);
    select.value = String(line);
    const number = binNumber(shown.info.name);
    const bins = overview.charts.by_class.filter((bin) => bin.line === line);
    const lowerFirst = number === "mean_iou";
    const worst = [...bins].sort(
      (a, b) => compareNumbers(a[number], b[number], lowerFirst) || b.n_images - a.n_images || a.bin.localeCompare(b.bin),
    );
    about.textContent = `${numberTitle(overview, number)} of ${countText(bins.length, "class", "classes")}, in %.`;
    const { find } = getState();
    if (search.value !== find) search.value = find;
    const asked = find.trim().toLowerCase();
    const found = worst.filter((bin) => `${bin.bin} ${bin.words ?? ""}`.toLowerCase().includes(asked));
    const half = Math.min(classesAtEachEnd, Math.ceil(worst.length / 2));
    const parts = asked
      ? [classPart(countText(found.length, "class found", "classes found"), found.slice(0, classesFound), number, line, overview)]
      : [
          classPart(`${half} worst`, worst.slice(0, half), number, line, overview),
          classPart(`${worst.length - half < half ? worst.length - half : half} best`, worst.slice(half).slice(-half).reverse(), number, line, overview),
        ];
    replaceChildren(body, parts);
  };
  select.addEventListener("change", () => setState({ line: Number(select.value), model: overview.lines[Number(select.value)].model }));
  search.addEventListener("input", () => setState({ find: search.value }));
  onState((_, changed) => changed.has("find") && draw());
  const controls = h(
    "div",
    { class: "chart-controls" },
    h("label", { class: "field" }, h("span", { class: "label" }, "Line"), select),
    h("label", { class: "field" }, h("span", { class: "label" }, "Search classes"), search),
  );
  const element = h("div", {}, controls, about, body);
  if (!lines.length) replaceChildren(element, h("p", { class: "chart-empty" }, "The protocol chooses no box an image, so there are no errors by class."));
  return {
    element,
    fill: (context) => {
      shown = context;
      if (lines.length) draw();
    },
  };
}

/**
 * @param {Overview} overview
 * @param {number[]} lines
 * @param {ChartContext} context
 * @returns {number} The state's line, or the best of the model.
 */
function chosenLine(overview, lines, { info, model }) {
  const { line } = getState();
  if (lines.includes(line)) return line;
  const own = lines.filter((i) => overview.lines[i].model === model);
  return sortedLines(overview, own.length ? own : lines, info)[0];
}

/**
 * @param {string} title
 * @param {Bin[]} bins
 * @param {BinNumber} number
 * @param {number} line
 * @param {Overview} overview
 * @returns {HTMLElement}
 */
function classPart(title, bins, number, line, overview) {
  const rows = bins.map((bin) => {
    const value = bin[number];
    const open = () => {
      const judge = number === "top1_loc_error" ? "top1" : "gt_known";
      setState(imagesOfLine(overview, line, { judge, class: bin.bin, flag: "counted" }), { push: true });
    };
    const share = value === null ? 0 : 100 * value;
    return h(
      "li",
      {},
      h(
        "button",
        { type: "button", onclick: open, title: `${bin.bin}: show its images` },
        h("span", { class: "class-words" }, bin.words || bin.bin),
        h("span", { class: "class-bar", "aria-hidden": "true" }, h("span", { style: { width: `${share}%` } })),
        h("span", { class: "class-value" }, value === null ? "–" : share.toFixed(1)),
        h("span", { class: "class-count muted" }, `n=${bin.n_images}`),
      ),
    );
  });
  return h("section", {}, h("h4", {}, title), h("ol", {}, rows));
}
