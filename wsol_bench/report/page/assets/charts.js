// The charts: which there are, and when they are drawn.

/** @import { Overview, Source, ThresholdCurve } from "./types" */
/** @import { ChartContext } from "./chart_card.js" */

import { agreementFigure } from "./chart_agreement.js";
import { binFigure } from "./chart_bins.js";
import { chartCard, chartSelect } from "./chart_card.js";
import { chartControls } from "./chart_controls.js";
import { costFigure, costNames } from "./chart_cost.js";
import { iouFigure, thresholdFigure } from "./chart_curves.js";
import { failureFigure } from "./chart_failures.js";
import { intervalFigure } from "./chart_intervals.js";
import { chartTheme, namedLines, usualLines } from "./chart_lines.js";
import { classList } from "./class_list.js";
import { h } from "./dom.js";
import { isOfBoxes, numbersOf } from "./numbers.js";
import { loadPlotly } from "./plotly.js";
import { getState, onState } from "./state.js";

/**
 * @param {Source} source
 * @returns {HTMLElement}
 */
export function chartsView(source) {
  const { overview } = source;
  if (!numbersOf(overview, overview.lines).length) {
    return h("div", { class: "charts" }, h("p", { class: "chart-empty" }, "The runs have no numbers to draw."));
  }
  const { element: controls, fill: fillControls } = chartControls(overview);
  const cards = chartCards(overview);
  const classes = classList(overview);
  const status = h("p", { class: "muted", role: "status" }, "Loading the charts …");
  const left = [cards.intervals, cards.failures, cards.agreement, cards.instances];
  const right = [cards.cost, cards.thresholds, cards.ious, cards.sizes];
  const root = h(
    "div",
    { class: "charts" },
    controls,
    status,
    h(
      "div",
      { class: "chart-columns" },
      h("div", {}, left.map((card) => card.element)),
      h("div", {}, right.map((card) => card.element)),
    ),
    h(
      "section",
      { class: "chart-card" },
      h("h3", {}, "By class"),
      h("p", { class: "chart-how" }, "The classes in which a method fails most and least. A click shows the images of a class."),
      classes.element,
    ),
  );
  let curves = knownCurves(overview.charts.thresholds, "The maps of some images are being cut at every threshold …");
  /** @type {"new" | "asked" | "failed"} After a failure they are asked for when the charts are opened again. */
  let curvesAre = "new";
  /** Asks for the curves that are not in the overview when the charts are opened, which takes a server time. */
  const askForCurves = async () => {
    curvesAre = "asked";
    try {
      curves = knownCurves([...overview.charts.thresholds, ...(await source.curves())], "");
    } catch (error) {
      curvesAre = "failed";
      curves = { ...curves, noCurves: `There are no curves over thresholds: ${error instanceof Error ? error.message : error}` };
    }
    redraw();
  };
  // Of several wishes to draw that come while a drawing is under way, the last counts.
  let wanted = 0;
  const draw = async () => {
    const mine = ++wanted;
    if (!root.clientWidth) return;
    if (curvesAre === "new") void askForCurves();
    const context = { ...contextOf(overview), ...curves };
    fillControls(context);
    classes.fill({ ...context, width: root.clientWidth });
    const plotly = await loadPlotly();
    for (const card of [left[0], right[0], left[1], ...right.slice(1), ...left.slice(2)]) {
      if (mine !== wanted) return;
      await card.draw(plotly, context);
      status.hidden = true;
      await new Promise((done) => setTimeout(done));
    }
    if (mine === wanted) root.dataset.drawn = "all";
  };
  const redraw = () => {
    delete root.dataset.drawn;
    draw().catch((error) => {
      status.hidden = false;
      status.textContent = `The charts cannot be drawn: ${error instanceof Error ? error.message : error}`;
    });
  };
  const keys = ["number", "model", "lines", "judge", "line", "cost", "curve"];
  onState((_, changed) => {
    if (changed.has("view") && curvesAre === "failed") curvesAre = "new";
    if (keys.some((key) => changed.has(key))) redraw();
  });
  let width = 0;
  new ResizeObserver(() => {
    if (root.clientWidth && root.clientWidth !== width) redraw();
    width = root.clientWidth;
  }).observe(root);
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  return root;
}

/**
 * @param {ChartContext} context
 * @returns {string | undefined} The first number of which the lines that are drawn have curves.
 */
function usualCurve({ curves, drawn }) {
  const lines = drawn(() => true);
  return curves.find(({ line }) => lines.includes(line))?.number;
}

/**
 * @param {ThresholdCurve[]} curves
 * @param {string} noCurves
 * @returns {Pick<ChartContext, "curves" | "curveNames" | "noCurves">}
 */
function knownCurves(curves, noCurves) {
  return { curves, curveNames: [...new Map(curves.map(({ number, title }) => [number, title]))], noCurves };
}

/**
 * @param {Overview} overview
 * @returns {Omit<ChartContext, "width" | "curves" | "curveNames" | "noCurves">}
 */
function contextOf(overview) {
  const state = getState();
  const model = overview.models[state.model] ? state.model : 0;
  const own = overview.lines.filter((line) => line.model === model);
  const known = numbersOf(overview, overview.lines);
  const usual = numbersOf(overview, own).find(isOfBoxes) ?? numbersOf(overview, own)[0] ?? known[0];
  const info = known.find((number) => number.name === state.number) ?? usual;
  const named = namedLines(overview, state.lines);
  return {
    overview,
    info,
    model,
    theme: chartTheme(),
    compared: named.length ? named : overview.lines.map((_, i) => i),
    drawn: (has) => {
      if (named.length) return named.filter(has);
      const lines = usualLines(overview, model, info, has);
      if (lines.length) return lines;
      // Another run of the same network, or any other model, may have what this one has not.
      const { name } = overview.models[model];
      const others = overview.models.map((_, i) => i).filter((i) => i !== model);
      const first = [...others.filter((i) => overview.models[i].name === name), ...others];
      return first.map((i) => usualLines(overview, i, info, has)).find((found) => found.length) ?? [];
    },
  };
}

/**
 * @param {Overview} overview
 */
function chartCards(overview) {
  const cost = chartSelect("Cost", "cost");
  const curve = chartSelect("Curve of", "curve");
  const judge = chartSelect("Box of", "judge");
  /** @type {[string, string][]} */
  const costs = Object.entries(costNames).map(([name, title]) => [name, title.replace(" an image", "")]);
  /** @type {[string, string][]} */
  const judges = [["gt_known", "the label (GT-known)"], ["top1", "the first prediction (top-1)"]];
  const sizes = "The protocol chooses no box an image, so there are no errors by size.";
  const instances = "The protocol chooses no box an image, so there are no errors by number of instances.";
  return {
    intervals: chartCard("intervals", "Methods, with 95% intervals", "A row for each method: the mark is the number, and the line is its interval over images. Open marks are baselines and sanity checks.", intervalFigure),
    cost: chartCard("cost", "Number and cost", "Each mark is a method; along the dotted line no other method is both cheaper and better.", (context) => costFigure(context, /** @type {keyof typeof costNames} */ (cost.chosen(costs))), cost.element),
    thresholds: chartCard("thresholds", "Over thresholds", "Share of images that are right if each map is cut at a threshold. A high, wide top means that the choice of the threshold matters little.", (context) => thresholdFigure(context, curve.chosen(context.curveNames, usualCurve(context))), curve.element),
    ious: chartCard("ious", "Over IoU", "Share of images whose label's box has at least an IoU. Curves further to the right fit more tightly.", iouFigure),
    sizes: chartCard("sizes", "By size of the object", "The area of the largest box of the label as a fraction of the image, and n images in each bin.", (context) => binFigure(context, overview.charts.by_size, "area of the object, fraction of the image", sizes)),
    instances: chartCard("instances", "By number of instances", "The number of boxes of the label in an image, and n images in each bin.", (context) => binFigure(context, overview.charts.by_instances, "boxes of the label", instances)),
    failures: chartCard("failures", "Why boxes fail", "Shares of hits and of each reason of a miss. A click shows the images.", (context) => failureFigure(context, judge.chosen(judges)), judge.element),
    agreement: chartCard("agreement", "Which methods agree", "Images that both methods hit, in % of those that either hits. A click shows the images that the method of the row hits and that of the column misses.", agreementFigure),
  };
}
