// The charts: their controls, their frames, and when they are drawn.

/** @import { NumberInfo, Overview, Source } from "./types" */
/** @import { State } from "./state.js" */
/** @import { ChartTheme } from "./chart_lines.js" */
/** @import { LegendItem } from "./chart_legend.js" */

import { agreementFigure, binFigure, failureFigure, iouFigure, thresholdFigure } from "./chart_details.js";
import { chartLegend } from "./chart_legend.js";
import { chartTheme, equalLines, namedLines, usualLines } from "./chart_lines.js";
import { costFigure, costNames, intervalFigure } from "./chart_numbers.js";
import { classList } from "./class_list.js";
import { h, replaceChildren } from "./dom.js";
import { isOfBoxes, modelTitle, numbersOf } from "./numbers.js";
import { loadPlotly } from "./plotly.js";
import { popover, tickBox } from "./popover.js";
import { getState, onState, setState } from "./state.js";

/**
 * What a chart is drawn from.
 *
 * @typedef {object} ChartContext
 * @property {Overview} overview
 * @property {NumberInfo} info The number that is chosen.
 * @property {number} model The model that is chosen.
 * @property {number[]} compared Lines of charts that compare all lines.
 * @property {(has: (line: number) => boolean) => number[]} drawn Lines of charts of few lines, of
 *     those of which there is something to draw.
 * @property {ChartTheme} theme
 * @property {number} width Pixels of the chart.
 */

/**
 * A chart, or a sentence in its place.
 *
 * @typedef {object} Figure
 * @property {Record<string, any>[]} [traces]
 * @property {Record<string, any>} [layout]
 * @property {number} [height]
 * @property {{titles: string[], rows: (string | HTMLElement)[][]}} [table]
 * @property {LegendItem[]} [legend]
 * @property {string} [note]
 * @property {number[]} [lines] Lines that are drawn, of a chart of few lines.
 * @property {(point: any) => Partial<State> | null} [pick] The state that a click on a point asks for.
 * @property {string} [empty]
 */

/**
 * @typedef {object} ChartCard
 * @property {HTMLElement} element
 * @property {(plotly: any, context: Omit<ChartContext, "width">) => Promise<void>} draw
 */

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
  // Of several wishes to draw that come while a drawing is under way, the last counts.
  let wanted = 0;
  const draw = async () => {
    const mine = ++wanted;
    if (!root.clientWidth) return;
    const context = contextOf(overview);
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
  const keys = ["number", "model", "lines", "judge", "line"];
  onState((_, changed) => keys.some((key) => changed.has(key)) && redraw());
  let width = 0;
  new ResizeObserver(() => {
    if (root.clientWidth && root.clientWidth !== width) redraw();
    width = root.clientWidth;
  }).observe(root);
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  root.addEventListener("redraw", redraw);
  return root;
}

/**
 * @param {Overview} overview
 * @returns {Omit<ChartContext, "width">}
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
 * The row of choices that all charts share.
 *
 * @param {Overview} overview
 * @returns {{element: HTMLElement, fill: (context: Omit<ChartContext, "width">) => void}}
 */
function chartControls(overview) {
  const numbers = h(
    "select",
    { onchange: () => setState({ number: numbers.value }) },
    numbersOf(overview, overview.lines).map((info) => h("option", { value: info.name }, info.title)),
  );
  const models = h(
    "select",
    { onchange: () => setState({ model: Number(models.value), lines: "", line: -1 }) },
    overview.models.map((_, i) => h("option", { value: i }, modelTitle(overview, i))),
  );
  const ticks = h("div", { class: "chart-ticks" });
  const usual = h("button", { class: "button", type: "button", onclick: () => setState({ lines: "" }) }, "Usual lines");
  const chooser = popover("", h("div", {}, usual, ticks));
  const label = /** @type {HTMLElement} */ (chooser.querySelector(".popover-label"));
  const about = h("p", { class: "chart-about muted" });
  const element = h(
    "div",
    { class: "chart-bar" },
    h(
      "div",
      { class: "chart-controls" },
      h("label", { class: "field" }, h("span", { class: "label" }, "Number"), numbers),
      overview.models.length > 1 ? h("label", { class: "field" }, h("span", { class: "label" }, "Model"), models) : null,
      h("div", { class: "field" }, h("span", { class: "label" }, "Lines"), chooser),
    ),
    about,
  );
  const fill = (/** @type {Omit<ChartContext, "width">} */ context) => {
    const { lines } = getState();
    numbers.value = context.info.name;
    models.value = String(context.model);
    const drawn = context.drawn(() => true);
    label.textContent = lines ? `${drawn.length} chosen` : `usual: ${drawn.length} of ${overview.lines.length}`;
    about.textContent = aboutLines(context, drawn, Boolean(lines));
    fillTicks(ticks, context, drawn);
  };
  return { element, fill };
}

/**
 * @param {Omit<ChartContext, "width">} context
 * @param {number[]} drawn
 * @param {boolean} chosen
 * @returns {string}
 */
function aboutLines({ overview, info, model }, drawn, chosen) {
  if (chosen) return "All charts show the lines that you chose.";
  const equal = equalLines(overview, drawn);
  const same = equal.length ? ` Equal in every number: ${equal.join("; ")}.` : "";
  return `The first two charts compare all lines; the others show the methods and baselines of ${modelTitle(overview, model)} that are best by ${info.title}.${same}`;
}

/**
 * @param {HTMLElement} ticks
 * @param {Omit<ChartContext, "width">} context
 * @param {number[]} drawn
 */
function fillTicks(ticks, { overview }, drawn) {
  const focused = document.activeElement?.closest("[data-line]")?.getAttribute("data-line");
  const set = (/** @type {number[]} */ lines) => setState({ lines: [...lines].sort((a, b) => a - b).join(",") });
  const groups = overview.models.map((_, model) => {
    const own = overview.lines.flatMap((line, i) => (line.model === model && line.status === "ok" ? i : []));
    if (!own.length) return null;
    const boxes = own.map((i) =>
      tickBox(
        overview.lines[i].name,
        drawn.includes(i),
        (checked) => set(checked ? [...drawn, i] : drawn.filter((j) => j !== i)),
        { "data-line": i },
      ),
    );
    return h(
      "fieldset",
      {},
      h("legend", {}, modelTitle(overview, model)),
      linesButton("all", model, () => set([...new Set([...drawn, ...own])])),
      linesButton("none", model, () => set(drawn.filter((i) => !own.includes(i)))),
      h("div", { class: "chart-tick-columns" }, boxes),
    );
  });
  replaceChildren(ticks, groups);
  if (!focused) return;
  const part = ticks.querySelector(`[data-line="${CSS.escape(focused)}"]`);
  const control = part?.querySelector("input") ?? part;
  if (control instanceof HTMLElement) control.focus();
}

/**
 * @param {string} text
 * @param {number} model
 * @param {() => void} onClick
 * @returns {HTMLButtonElement}
 */
function linesButton(text, model, onClick) {
  return h("button", { class: "chart-link", type: "button", "data-line": `${text} ${model}`, onclick: onClick }, text);
}

/**
 * @param {Overview} overview
 */
function chartCards(overview) {
  const cost = chartSelect("Cost", Object.entries(costNames).map(([name, title]) => [name, title.replace(" an image", "")]));
  const curves = new Map(overview.charts.thresholds.map((curve) => [curve.number, curve.title]));
  const curve = chartSelect("Curve of", [...curves]);
  const judge = chartSelect("Box of", [["gt_known", "the label (GT-known)"], ["top1", "the first prediction (top-1)"]]);
  const sizes = "The protocol chooses no box an image, so there are no errors by size.";
  const instances = "The protocol chooses no box an image, so there are no errors by number of instances.";
  judge.select.addEventListener("change", () => setState({ judge: judge.select.value }));
  return {
    intervals: chartCard("intervals", "Methods, with 95% intervals", "A row for each method: the mark is the number, and the line is its interval over images. Open marks are baselines and sanity checks.", intervalFigure),
    cost: chartCard("cost", "Number and cost", "Each mark is a method; along the dotted line no other method is both cheaper and better.", (context) => costFigure(context, /** @type {keyof typeof costNames} */ (cost.select.value)), cost),
    thresholds: chartCard("thresholds", "Over thresholds", "Share of images that are right if each map is cut at a threshold. A high, wide top means that the choice of the threshold matters little.", (context) => thresholdFigure(context, curve.select.value), curves.size > 1 ? curve : null),
    ious: chartCard("ious", "Over IoU", "Share of images whose label's box has at least an IoU. Curves further to the right fit more tightly.", iouFigure),
    sizes: chartCard("sizes", "By size of the object", "The area of the largest box of the label as a fraction of the image, and n images in each bin.", (context) => binFigure(context, overview.charts.by_size, "area of the object, fraction of the image", sizes)),
    instances: chartCard("instances", "By number of instances", "The number of boxes of the label in an image, and n images in each bin.", (context) => binFigure(context, overview.charts.by_instances, "boxes of the label", instances)),
    failures: chartCard("failures", "Why boxes fail", "Shares of hits and of each reason of a miss. A click shows the images.", (context) => {
      judge.select.value = getState().judge === "top1" ? "top1" : "gt_known";
      return failureFigure(context, judge.select.value);
    }, judge),
    agreement: chartCard("agreement", "Which methods agree", "Images that both methods hit, in % of those that either hits. A click shows the images that the method of the row hits and that of the column misses.", agreementFigure),
  };
}

/**
 * @param {string} title
 * @param {[string, string][]} choices
 * @returns {{select: HTMLSelectElement, element: HTMLElement}}
 */
function chartSelect(title, choices) {
  const select = h("select", {}, choices.map(([value, text]) => h("option", { value }, text)));
  return { select, element: h("label", { class: "field chart-select" }, h("span", { class: "label" }, title), select) };
}

/**
 * The frame of a chart.
 *
 * @param {string} name
 * @param {string} title
 * @param {string} how How to read it, in a sentence.
 * @param {(context: ChartContext) => Figure} figure
 * @param {{select: HTMLSelectElement, element: HTMLElement} | null} [choice] A choice of this chart alone.
 * @returns {ChartCard}
 */
function chartCard(name, title, how, figure, choice = null) {
  const plot = h("div", { class: "chart-plot", role: "img", "aria-label": `Chart: ${title}. The table below holds its numbers.` });
  const empty = h("p", { class: "chart-empty", hidden: true });
  const note = h("p", { class: "chart-note muted" });
  const legend = h("div", {});
  const body = h("div", { class: "chart-table", tabindex: 0 });
  const details = h("details", {}, h("summary", {}, "Show as table"), body);
  const element = h(
    "section",
    { class: "chart-card", "data-chart": name },
    h("div", { class: "chart-head" }, h("h3", {}, title), choice?.element),
    h("p", { class: "chart-how" }, how),
    legend,
    plot,
    empty,
    note,
    details,
  );
  /** @type {Figure} */
  let current = {};
  const fillTable = () => details.open && current.table && replaceChildren(body, chartTable(title, current.table));
  details.addEventListener("toggle", fillTable);
  choice?.select.addEventListener("change", () => element.dispatchEvent(new Event("redraw", { bubbles: true })));
  let isListening = false;
  return {
    element,
    draw: async (plotly, context) => {
      const width = Math.max(240, element.clientWidth - 2 * 16);
      current = figure({ ...context, width });
      empty.hidden = !current.empty;
      empty.textContent = current.empty ?? "";
      plot.hidden = details.hidden = note.hidden = legend.hidden = Boolean(current.empty);
      replaceChildren(legend, current.legend?.length ? chartLegend(current.legend) : null);
      note.textContent = [otherModel(context, current.lines), current.note].filter(Boolean).join(" ");
      note.hidden ||= !note.textContent;
      if (current.empty) return plotly.purge(plot);
      await plotly.react(plot, current.traces, wholeLayout(current, context.theme, width), { displayModeBar: false, responsive: false });
      fillTable();
      if (isListening) return;
      isListening = true;
      plot.addEventListener("mouseleave", () => plotly.Fx?.unhover?.(plot));
      /** @type {any} */ (plot).on("plotly_click", (/** @type {any} */ event) => {
        const patch = current.pick?.(event.points[0]);
        if (patch) setState({ view: "images", image: "", ...patch }, { push: true });
      });
    },
  };
}

/**
 * @param {Omit<ChartContext, "width">} context
 * @param {number[] | undefined} lines
 * @returns {string} Whose lines a chart shows, if they are not of the model that is chosen.
 */
function otherModel({ overview, model }, lines) {
  if (!lines?.length || lines.some((i) => overview.lines[i].model === model)) return "";
  return `Lines of ${modelTitle(overview, overview.lines[lines[0]].model)}.`;
}

/**
 * @param {string} title
 * @param {NonNullable<Figure["table"]>} table
 * @returns {HTMLElement}
 */
function chartTable(title, { titles, rows }) {
  return h(
    "table",
    {},
    h("caption", { class: "unseen" }, title),
    h("thead", {}, h("tr", {}, titles.map((text) => h("th", { scope: "col" }, text)))),
    h(
      "tbody",
      {},
      rows.map(([first, ...others]) => h("tr", {}, h("th", { scope: "row" }, first), others.map((cell) => h("td", {}, cell)))),
    ),
  );
}

/**
 * A chart's own layout over what all charts share.
 *
 * @param {Figure} figure
 * @param {ChartTheme} theme
 * @param {number} width
 * @returns {Record<string, any>}
 */
function wholeLayout({ layout = {}, height = 360 }, theme, width) {
  const axis = {
    color: theme.muted,
    gridcolor: theme.line,
    linecolor: theme.line,
    zeroline: false,
    fixedrange: true,
    automargin: true,
    tickfont: { size: 11, color: theme.muted },
  };
  const whole = (/** @type {any} */ own, /** @type {Record<string, any>} */ usual) => ({
    ...axis,
    ...usual,
    ...own,
    title: own?.title && { standoff: 10, ...own.title, font: { size: 12, color: theme.muted } },
  });
  return {
    showlegend: false,
    hovermode: "closest",
    dragmode: false,
    shapes: [],
    ...layout,
    width,
    height,
    margin: { l: 8, r: 12, t: 8, b: 36, pad: 4, ...layout.margin },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: theme.font, size: 12, color: theme.text },
    hoverlabel: { bgcolor: theme.text, bordercolor: theme.text, font: { family: theme.font, size: 12, color: theme.surface }, namelength: -1 },
    xaxis: whole(layout.xaxis, { showline: true }),
    yaxis: whole(layout.yaxis, {}),
  };
}
