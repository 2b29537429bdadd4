// The lines that the charts draw: the choice of them, their colors, shapes and dashes, and their names.

/** @import { Line, NumberInfo, Overview } from "./types" */
/** @import { ChartContext } from "./chart_card.js" */
/** @import { LegendItem } from "./chart_legend.js" */

import { compareNumbers, fullLineName, intervalText, isOfBoxes, modelTitle, numbersOf, numberText } from "./numbers.js";

/** Methods that are drawn unless the reader chooses: as many as there are colors that differ well. */
const maxMethods = 7;
const maxBaselines = 2;

const lineSymbols = ["circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "star", "hexagon"];
const lineDashes = ["solid", "dash", "dot", "dashdot"];

/**
 * @typedef {object} LineStyle
 * @property {string} color
 * @property {string} symbol
 * @property {string} dash
 */

/**
 * The colors of the page, as the charts need them.
 *
 * @typedef {object} ChartTheme
 * @property {string} text
 * @property {string} muted
 * @property {string} line
 * @property {string} surface
 * @property {string} accent
 * @property {string} hit
 * @property {string} font
 * @property {string[]} series
 */

/** @returns {ChartTheme} The colors that hold now. */
export function chartTheme() {
  const style = getComputedStyle(document.documentElement);
  const read = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: read("text"),
    muted: read("muted"),
    line: read("line"),
    surface: read("surface"),
    accent: read("accent"),
    hit: read("hit"),
    font: read("font"),
    series: Array.from({ length: 8 }, (_, i) => read(`series-${i + 1}`)),
  };
}

/**
 * @param {Overview} overview
 * @param {string} text `State.lines`
 * @returns {number[]} The lines that the text names, each once, in the order of the page.
 */
export function namedLines(overview, text) {
  const named = new Set(text.split(",").filter(Boolean).map(Number));
  return overview.lines.flatMap((_, i) => (named.has(i) ? i : []));
}

/**
 * The lines of a model that are drawn unless the reader chooses: the best methods and baselines. Of
 * lines whose numbers are all equal only the first is drawn, since the others would hide behind it.
 *
 * @param {Overview} overview
 * @param {number} model
 * @param {NumberInfo} info
 * @param {(line: number) => boolean} [has] True if there is something to draw of a line.
 * @returns {number[]} In the order of the page.
 */
export function usualLines(overview, model, info, has = () => true) {
  const own = overview.lines.flatMap((line, i) => (line.model === model && line.status === "ok" && has(i) ? i : []));
  const known = numbersOf(overview, own.map((i) => overview.lines[i]));
  const ranking = known.includes(info) ? info : (known.find(isOfBoxes) ?? info);
  const best = sortedLines(overview, own, ranking);
  const seen = new Set();
  const distinct = best.filter((i) => {
    const values = valuesText(overview.lines[i]);
    return !seen.has(values) && seen.add(values);
  });
  const of = (/** @type {Line["kind"]} */ kind) => distinct.filter((i) => overview.lines[i].kind === kind);
  const chosen = [...of("method").slice(0, maxMethods), ...of("baseline").slice(0, maxBaselines)];
  return (chosen.length ? chosen : of("sanity")).sort((a, b) => a - b);
}

/**
 * The names of lines with the same numbers as a line, of the same model.
 *
 * @param {Overview} overview
 * @param {number[]} drawn
 * @returns {string[]} "grad_cam = hires_cam": sentences of equal lines of which one is drawn.
 */
export function equalLines(overview, drawn) {
  return drawn.flatMap((i) => {
    const line = overview.lines[i];
    const others = overview.lines.filter(
      (other, j) =>
        !drawn.includes(j) && other.model === line.model && other.status === "ok" && valuesText(other) === valuesText(line),
    );
    return others.length ? `${line.name} = ${others.map((other) => other.name).join(" = ")}` : [];
  });
}

/**
 * @param {Line} line
 * @returns {string}
 */
function valuesText(line) {
  return JSON.stringify(Object.entries(line.values).map(([name, { value }]) => [name, value]));
}

/**
 * @param {Overview} overview
 * @param {number[]} lines
 * @param {NumberInfo} info
 * @returns {number[]} The best first; lines without the number last.
 */
export function sortedLines(overview, lines, info) {
  const value = (/** @type {number} */ i) => overview.lines[i].values[info.name]?.value;
  return [...lines].sort((a, b) => compareNumbers(value(a), value(b), info.better === "lower"));
}

/**
 * The style of each line: colors for methods, gray for the others, and with each round of the colors
 * another dash.
 *
 * @param {Overview} overview
 * @param {number[]} lines
 * @param {ChartTheme} theme
 * @returns {Map<number, LineStyle>}
 */
export function lineStyles(overview, lines, theme) {
  const counts = { method: 0, other: 0 };
  return new Map(
    lines.map((i) => {
      const isMethod = overview.lines[i].kind === "method";
      const n = isMethod ? counts.method++ : counts.other++;
      const [color, symbol] = isMethod ? [theme.series[n % 8], lineSymbols[n % 8]] : [theme.muted, `${lineSymbols[n % 8]}-open`];
      const dash = lineDashes[isMethod ? Math.floor(n / 8) % 4 : 1 + (n % 3)];
      return [i, { color, symbol, dash }];
    }),
  );
}

/**
 * The style of each model, in charts that compare models.
 *
 * @param {number} n
 * @param {ChartTheme} theme
 * @returns {LineStyle}
 */
export function modelStyle(n, theme) {
  return { color: theme.series[n % 8], symbol: lineSymbols[n % 8], dash: lineDashes[Math.floor(n / 8) % 4] };
}

/**
 * A text as plotly shows it as it is, since plotly reads some tags and entities.
 *
 * @param {string} text
 * @returns {string}
 */
export function plotText(text) {
  return text.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`).replace(/\s+/g, " ");
}

/**
 * The name of a line in a chart of some lines: with its model if they are of several.
 *
 * @param {Overview} overview
 * @param {number} line
 * @param {number[]} lines
 * @returns {string}
 */
export function chartName(overview, line, lines) {
  const models = new Set(lines.map((i) => overview.lines[i].model));
  return models.size > 1 ? fullLineName(overview, overview.lines[line]) : overview.lines[line].name;
}

/**
 * @param {ChartContext} context
 * @param {number[]} models
 * @returns {LegendItem[]} Empty if there is only one model.
 */
export function modelLegend({ overview, theme }, models) {
  if (models.length < 2) return [];
  return models.map((model, n) => ({ ...modelStyle(n, theme), dash: undefined, title: modelTitle(overview, model) }));
}

/**
 * @param {ChartContext} context
 * @returns {string}
 */
export function axisTitle({ info }) {
  return info.percent ? `${info.title}, %` : info.title;
}

/**
 * @param {ChartContext} context
 * @param {number} line
 * @returns {string}
 */
export function pointText({ overview, info }, line) {
  const { name, model, values } = overview.lines[line];
  const value = values[info.name];
  const interval = intervalText(info, value);
  return `${name} (${modelTitle(overview, model)}): ${numberText(info, value.value)}${interval && ` [${interval}]`}`;
}

/**
 * @param {string} text
 * @param {number} length
 * @returns {string}
 */
export function shortened(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/**
 * @param {ChartContext} context
 * @param {number[]} lines
 * @returns {LegendItem[]}
 */
export function lineLegend({ overview, theme }, lines) {
  return [...lineStyles(overview, lines, theme)].map(([line, style]) => ({
    ...style,
    title: chartName(overview, line, lines),
  }));
}

/**
 * A fact that lines have: once if it is the same for all, or else each with the runs that it holds
 * for, or with the lines if those of a run differ.
 *
 * @param {Overview} overview
 * @param {[number, string | number][]} facts Lines with their facts.
 * @returns {string} "40 images", or "40 images (first), 38 images (second)".
 */
export function textOfLines(overview, facts) {
  const distinct = [...new Set(facts.map(([, fact]) => fact))];
  if (distinct.length === 1) return String(distinct[0]);
  const lines = facts.map(([line]) => line);
  const runOf = (/** @type {number} */ line) => overview.runs[overview.lines[line].run].name;
  const byRun = new Set(facts.map(([line, fact]) => `${runOf(line)} ${fact}`)).size === new Set(lines.map(runOf)).size;
  const nameOf = (/** @type {number} */ line) => (byRun ? runOf(line) : chartName(overview, line, lines));
  return distinct
    .map((fact) => {
      const names = facts.flatMap(([line, other]) => (other === fact ? nameOf(line) : []));
      return `${fact} (${[...new Set(names)].join(", ")})`;
    })
    .join(", ");
}
