// The chart of a number of all lines, with intervals.

/** @import { Line } from "./types" */
/** @import { ChartContext, Figure } from "./chart_card.js" */

import { axisTitle, modelLegend, modelStyle, plotText, pointText, shortened, sortedLines } from "./chart_lines.js";
import { imagesOfLine, linkButton } from "./image_links.js";
import { intervalText, modelTitle, numberText, phraseOfModel } from "./numbers.js";

const rowPixels = 19;

/**
 * A row for each method, a mark for each model, and the interval.
 *
 * @param {ChartContext} context
 * @returns {Figure}
 */
export function intervalFigure(context) {
  const { overview, info, theme, model } = context;
  const scale = info.percent ? 100 : 1;
  const lines = context.compared.filter((i) => overview.lines[i].values[info.name]);
  const models = [...new Set(lines.map((i) => overview.lines[i].model))];
  const names = rowNames(context, lines);
  const rows = new Map(names.map(({ name, kind }, i) => [`${kind} ${name}`, i + kindGap(kind)]));
  const traces = models.map((own, n) => {
    const style = modelStyle(n, theme);
    const mine = lines.filter((i) => overview.lines[i].model === own);
    const values = mine.map((i) => overview.lines[i].values[info.name]);
    const shift = models.length > 1 ? (n - (models.length - 1) / 2) * Math.min(0.3, 0.7 / models.length) : 0;
    return {
      type: "scatter",
      mode: "markers",
      name: plotText(modelTitle(overview, own)),
      x: values.map((value) => scale * value.value),
      y: mine.map((i) => (rows.get(rowKey(overview.lines[i])) ?? 0) + shift),
      customdata: mine,
      text: mine.map((i) => plotText(pointText(context, i))),
      hovertemplate: "%{text}<extra></extra>",
      marker: {
        color: style.color,
        size: 8,
        symbol: mine.map((i) => (overview.lines[i].kind === "method" ? style.symbol : `${style.symbol}-open`)),
        line: { width: mine.map((i) => (overview.lines[i].kind === "method" ? 0 : 1.5)) },
      },
      error_x: {
        type: "data",
        symmetric: false,
        array: values.map((value) => scale * ((value.high ?? value.value) - value.value)),
        arrayminus: values.map((value) => scale * (value.value - (value.low ?? value.value))),
        color: style.color,
        thickness: 1.4,
        width: 0,
      },
    };
  });
  const baselines = lines.filter((i) => overview.lines[i].kind === "baseline" && overview.lines[i].model === model);
  const [baseline] = sortedLines(overview, baselines, info);
  const last = Math.max(0, ...rows.values());
  return {
    traces,
    height: (last + 1) * (rowPixels + 2 * Math.max(0, models.length - 2)) + 66,
    legend: modelLegend(context, models),
    layout: {
      xaxis: { title: { text: plotText(axisTitle(context)) } },
      yaxis: {
        tickvals: [...rows.values()],
        ticktext: names.map(({ name }) => plotText(shortened(name, context.width < 480 ? 18 : 34))),
        range: [last + 0.7, -0.7],
        showgrid: true,
        ticks: "",
      },
      shapes: baseline === undefined ? [] : [baselineShape(context, baseline)],
    },
    table: {
      titles: ["method", "model", info.title, "95% interval"],
      rows: names.flatMap(({ name, kind }) =>
        lines
          .filter((i) => rowKey(overview.lines[i]) === `${kind} ${name}`)
          .map((i) => [
            linkButton(name, imagesOfLine(overview, i)),
            modelTitle(overview, overview.lines[i].model),
            numberText(info, overview.lines[i].values[info.name].value),
            intervalText(info, overview.lines[i].values[info.name]),
          ]),
      ),
    },
    note: baseline === undefined ? "" : `Dotted: ${overview.lines[baseline].name}, the best baseline${phraseOfModel(overview, model)}.`,
    pick: (point) => imagesOfLine(overview, point.customdata),
  };
}

/**
 * @param {Line} line
 * @returns {string}
 */
function rowKey(line) {
  return `${line.kind} ${line.name}`;
}

/**
 * @param {Line["kind"]} kind
 * @returns {number} Rows that are left out above lines of a kind.
 */
function kindGap(kind) {
  return { method: 0, baseline: 0.6, sanity: 1.2 }[kind];
}

/**
 * The rows of the chart: names of lines, methods first, each kind in the order of the number in the
 * model that is chosen, or in the first that has it.
 *
 * @param {ChartContext} context
 * @param {number[]} lines
 * @returns {{name: string, kind: Line["kind"]}[]}
 */
function rowNames({ overview, info, model }, lines) {
  const kinds = /** @type {const} */ (["method", "baseline", "sanity"]);
  return kinds.flatMap((kind) => {
    const own = lines.filter((i) => overview.lines[i].kind === kind);
    const first = own.filter((i) => overview.lines[i].model === model);
    const others = own.filter((i) => overview.lines[i].model !== model);
    const sorted = [...sortedLines(overview, first, info), ...sortedLines(overview, others, info)];
    return [...new Set(sorted.map((i) => overview.lines[i].name))].map((name) => ({ name, kind }));
  });
}

/**
 * @param {ChartContext} context
 * @param {number} line
 * @returns {Record<string, any>}
 */
function baselineShape({ overview, info, theme }, line) {
  const x = (info.percent ? 100 : 1) * overview.lines[line].values[info.name].value;
  return {
    type: "line",
    x0: x,
    x1: x,
    y0: 0,
    y1: 1,
    yref: "paper",
    layer: "below",
    line: { color: theme.muted, width: 1, dash: "dot" },
  };
}
