// The frame of a chart: its title, legend, plot, note, and the table of its numbers.

/** @import { NumberInfo, Overview, ThresholdCurve } from "./types" */
/** @import { State } from "./state.js" */
/** @import { ChartTheme } from "./chart_lines.js" */
/** @import { LegendItem } from "./chart_legend.js" */

import { chartLegend } from "./chart_legend.js";
import { h, replaceChildren } from "./dom.js";
import { phraseOfModel } from "./numbers.js";
import { getState, setState } from "./state.js";

/**
 * All that a chart is drawn from.
 *
 * @typedef {object} ChartContext
 * @property {Overview} overview
 * @property {NumberInfo} info The number that is chosen.
 * @property {number} model The model that is chosen.
 * @property {number[]} compared Lines of charts that compare all lines.
 * @property {(has: (line: number) => boolean) => number[]} drawn Lines of charts of few lines, of
 *     those of which there is something to draw.
 * @property {ThresholdCurve[]} curves Curves over thresholds.
 * @property {[string, string][]} curveNames The numbers that the curves are of, and their titles.
 * @property {string} noCurves Why a line of which there is no curve has none.
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
 * A select whose choice stands in the address.
 *
 * @param {string} title
 * @param {"cost" | "curve" | "judge"} key Key of the state.
 * @returns {{element: HTMLElement, chosen: (choices: [string, string][], usual?: string) => string}}
 *     `chosen` takes values and their texts, and also shows the choice: that of the state, or else
 *     `usual`, or else the first.
 */
export function chartSelect(title, key) {
  const select = h("select", { onchange: () => setState({ [key]: select.value }) });
  /** @type {[string, string][]} */
  let offered = [];
  const element = h("label", { class: "field chart-select" }, h("span", { class: "label" }, title), select);
  return {
    element,
    chosen: (choices, usual = "") => {
      const asked = getState()[key];
      element.hidden = choices.length < 2;
      if (offered !== choices) replaceChildren(select, choices.map(([value, text]) => h("option", { value }, text)));
      offered = choices;
      const has = (/** @type {string} */ name) => choices.some(([value]) => value === name);
      select.value = [asked, usual].find(has) ?? choices[0]?.[0] ?? "";
      return select.value;
    },
  };
}

/**
 * The frame of a chart.
 *
 * @param {string} name
 * @param {string} title
 * @param {string} how A sentence that says how to read it.
 * @param {(context: ChartContext) => Figure} figure
 * @param {HTMLElement | null} [choice] A choice of this chart alone.
 * @returns {ChartCard}
 */
export function chartCard(name, title, how, figure, choice = null) {
  const plot = h("div", { class: "chart-plot", role: "img", "aria-label": `Chart: ${title}. The table below holds its numbers.` });
  const empty = h("p", { class: "chart-empty", hidden: true });
  const note = h("p", { class: "chart-note muted" });
  const legend = h("div", {});
  const body = h("div", { class: "chart-table", tabindex: 0 });
  const details = h("details", {}, h("summary", {}, "Show as table"), body);
  const element = h(
    "section",
    { class: "chart-card", "data-chart": name },
    h("div", { class: "chart-head" }, h("h3", {}, title), choice),
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
  /** @type {any} Plotly, while it holds a chart and listens to clicks on it. */
  let drawnBy = null;
  plot.addEventListener("mouseleave", () => drawnBy?.Fx.unhover(plot));
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
      if (current.empty) {
        drawnBy = null;
        return plotly.purge(plot);
      }
      await plotly.react(plot, current.traces, wholeLayout(current, context.theme, width), { displayModeBar: false, responsive: false });
      fillTable();
      if (drawnBy) return;
      drawnBy = plotly;
      /** @type {any} */ (plot).on("plotly_click", (/** @type {any} */ event) => {
        const patch = current.pick?.(event.points[0]);
        if (patch) setState(patch, { push: true });
      });
    },
  };
}

/**
 * @param {Omit<ChartContext, "width">} context
 * @param {number[] | undefined} lines
 * @returns {string} A sentence that names the model of the lines, if it is not the one that is chosen.
 */
function otherModel({ overview, model }, lines) {
  if (!lines?.length || lines.some((i) => overview.lines[i].model === model)) return "";
  return `Lines${phraseOfModel(overview, overview.lines[lines[0]].model)}.`;
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
