// Charts of the lines that are drawn: over thresholds and IoUs, by size and instances, why boxes fail,
// and how methods agree.

/** @import { Bin, Charts, Overview, ThresholdCurve } from "./types" */
/** @import { ChartTheme, LineStyle } from "./chart_lines.js" */
/** @import { ChartContext, Figure } from "./charts.js" */
/** @import { LegendItem } from "./chart_legend.js" */

import { chartName, lineStyles, plotText, sortedLines } from "./chart_lines.js";
import { shortened } from "./chart_numbers.js";
import { h } from "./dom.js";
import { fewDigits, modelTitle } from "./numbers.js";
import { setState } from "./state.js";

const binNumbers = /** @type {const} */ (["gt_known_loc_error", "top1_loc_error", "mean_iou"]);

/** @typedef {(typeof binNumbers)[number]} BinNumber */

/**
 * The number of charts by bins: the one that is chosen, if bins have it.
 *
 * @param {string} name
 * @returns {BinNumber}
 */
export function binNumber(name) {
  return binNumbers.find((known) => known === name) ?? "gt_known_loc_error";
}

/**
 * @param {Overview} overview
 * @param {string} name
 * @returns {string}
 */
export function numberTitle(overview, name) {
  return overview.numbers.find((info) => info.name === name)?.title ?? name.replaceAll("_", " ");
}

/**
 * Share of right images over the threshold.
 *
 * @param {ChartContext} context
 * @param {string} number
 * @returns {Figure}
 */
export function thresholdFigure(context, number) {
  const { overview, theme } = context;
  const all = overview.charts.thresholds.filter((curve) => curve.number === number);
  const lines = context.drawn((i) => all.some((curve) => curve.line === i));
  const curves = lines.flatMap((i) => all.filter((curve) => curve.line === i));
  if (!curves.length) {
    return {
      empty:
        "These lines have no curves over thresholds. A protocol that sweeps the threshold gives them: wsol-bench rescore RUN --protocol choe-2020-v2",
    };
  }
  const styles = lineStyles(overview, lines, theme);
  const at = (/** @type {ThresholdCurve} */ curve, /** @type {number} */ threshold) => {
    const distances = curve.thresholds.map((other) => Math.abs(other - threshold));
    return 100 * curve.shares[distances.indexOf(Math.min(...distances))];
  };
  const traces = curves.map((curve) => lineTrace(context, curve.line, lines, styles, curve.thresholds, curve.shares));
  const selected = curves.filter((curve) => curve.selected !== null);
  // A run under one threshold has its own, which need not be the best.
  const own = curves.flatMap((curve) => {
    const threshold = overview.lines[curve.line].threshold;
    return threshold === null || threshold === curve.best ? [] : [{ ...curve, threshold }];
  });
  const marks = [
    thresholdMarks(
      "threshold of the run",
      "x",
      own.map((c) => [c.threshold, at(c, c.threshold), styles.get(c.line)?.color ?? theme.text]),
    ),
    thresholdMarks("best", "diamond", curves.map((c) => [c.best, at(c, c.best), styles.get(c.line)?.color ?? theme.text])),
    thresholdMarks(
      "selected on other images",
      "circle-open",
      selected.map((c) => [c.selected ?? 0, at(c, c.selected ?? 0), styles.get(c.line)?.color ?? theme.text]),
    ),
  ].filter((trace) => trace.x.length);
  return {
    traces: [...traces, ...marks],
    height: 360,
    legend: lineLegend(context, lines, false),
    layout: {
      xaxis: { title: { text: "threshold" }, range: [0, 1] },
      yaxis: { title: { text: `${plotText(curves[0].title)}, %` }, rangemode: "tozero" },
    },
    table: {
      titles: ["method", "best threshold", `${curves[0].title} there, %`, "selected threshold", `${curves[0].title} there, %`],
      rows: curves.map((curve) => [
        chartName(overview, curve.line, lines),
        fewDigits(curve.best, 3),
        at(curve, curve.best).toFixed(2),
        curve.selected === null ? "–" : fewDigits(curve.selected, 3),
        curve.selected === null ? "–" : at(curve, curve.selected).toFixed(2),
      ]),
    },
    note: `Of ${curves[0].of}. ◆ best threshold${own.length ? ", ✕ threshold of the run" : ""}${selected.length ? ", ○ threshold that was selected on other images" : ""}.`,
    lines,
  };
}

/**
 * @param {ChartContext} context
 * @param {number[]} lines
 * @param {boolean} hasMarks
 * @returns {LegendItem[]}
 */
function lineLegend({ overview, theme }, lines, hasMarks) {
  return [...lineStyles(overview, lines, theme)].map(([line, style]) => ({
    ...style,
    symbol: hasMarks ? style.symbol : undefined,
    title: chartName(overview, line, lines),
  }));
}

/**
 * @param {string} name
 * @param {string} symbol
 * @param {[number, number, string][]} points
 * @returns {Record<string, any>}
 */
function thresholdMarks(name, symbol, points) {
  return {
    type: "scatter",
    mode: "markers",
    name,
    x: points.map(([x]) => x),
    y: points.map(([, y]) => y),
    marker: { symbol, size: 9, color: points.map(([, , color]) => color), line: { width: symbol.endsWith("-open") ? 2 : 0 } },
    cliponaxis: false,
    hovertemplate: `${name}: threshold %{x:.3f}, %{y:.1f}%<extra></extra>`,
  };
}

/**
 * @param {ChartContext} context
 * @param {number} line
 * @param {number[]} lines
 * @param {Map<number, LineStyle>} styles
 * @param {number[]} x
 * @param {number[]} shares
 * @returns {Record<string, any>}
 */
function lineTrace({ overview }, line, lines, styles, x, shares) {
  const style = styles.get(line);
  return {
    type: "scatter",
    mode: "lines",
    name: plotText(chartName(overview, line, lines)),
    x,
    y: shares.map((share) => 100 * share),
    customdata: x.map(() => line),
    line: { color: style?.color, dash: style?.dash, width: 1.8 },
    hovertemplate: `${plotText(chartName(overview, line, lines)).replaceAll("%", "&#37;")}: %{y:.1f}% at %{x:.3~f}<extra></extra>`,
  };
}

/**
 * Share of images whose box reaches an IoU.
 *
 * @param {ChartContext} context
 * @returns {Figure}
 */
export function iouFigure(context) {
  const { overview, theme } = context;
  const all = overview.charts.ious;
  const lines = context.drawn((i) => all.some((curve) => curve.line === i));
  const curves = lines.flatMap((i) => all.filter((curve) => curve.line === i));
  if (!curves.length) return { empty: "These lines have no box an image, so there is no IoU of it." };
  const styles = lineStyles(overview, lines, theme);
  const least = overview.runs[overview.lines[lines[0]].run].least_iou;
  const share = (/** @type {typeof curves[number]} */ curve, /** @type {number} */ iou) => {
    const i = curve.ious.findIndex((other) => other >= iou - 1e-9);
    return i < 0 ? "–" : (100 * curve.shares[i]).toFixed(1);
  };
  return {
    traces: curves.map((curve) => lineTrace(context, curve.line, lines, styles, curve.ious, curve.shares)),
    height: 340,
    legend: lineLegend(context, lines, false),
    layout: {
      xaxis: { title: { text: "IoU" }, range: [0, 1] },
      yaxis: { title: { text: "share of images, %" }, range: [0, 102] },
      shapes:
        least === null
          ? []
          : [{ type: "line", x0: least, x1: least, y0: 0, y1: 1, yref: "paper", layer: "below", line: { color: theme.muted, width: 1, dash: "dot" } }],
    },
    table: {
      titles: ["method", ...[0.3, 0.5, 0.7, 0.9].map((iou) => `IoU ≥ ${iou}, %`)],
      rows: curves.map((curve) => [
        chartName(overview, curve.line, lines),
        ...[0.3, 0.5, 0.7, 0.9].map((iou) => share(curve, iou)),
      ]),
    },
    note: least === null ? "" : `Dotted: the IoU of a hit, ${least}.`,
    lines,
  };
}

/**
 * A number over the bins of a property of the image.
 *
 * @param {ChartContext} context
 * @param {Bin[]} bins
 * @param {string} title
 * @param {string} without
 * @returns {Figure}
 */
export function binFigure(context, bins, title, without) {
  const { overview, theme, info } = context;
  const number = binNumber(info.name);
  const lines = context.drawn((i) => bins.some((bin) => bin.line === i));
  const own = bins.filter((bin) => lines.includes(bin.line));
  if (!own.length) return { empty: without };
  const styles = lineStyles(overview, lines, theme);
  const names = [...new Set(own.map((bin) => bin.bin))].sort((a, b) => parseFloat(a) - parseFloat(b));
  const nImages = names.map((name) => Math.max(...own.filter((bin) => bin.bin === name).map((bin) => bin.n_images)));
  const isTight = names.length * 56 > context.width;
  const of = (/** @type {number} */ line, /** @type {string} */ name) =>
    own.find((bin) => bin.line === line && bin.bin === name)?.[number] ?? null;
  return {
    traces: lines.map((line) => {
      const style = styles.get(line);
      return {
        type: "scatter",
        mode: "lines+markers",
        name: plotText(chartName(overview, line, lines)),
        x: names.map((_, i) => i),
        y: names.map((name) => {
          const value = of(line, name);
          return value === null ? null : 100 * value;
        }),
        customdata: names.map(() => line),
        text: names.map((name, i) => plotText(`${chartName(overview, line, lines)}, ${name}, ${nImages[i]} images`)),
        hovertemplate: "%{text}: %{y:.1f}%<extra></extra>",
        line: { color: style?.color, dash: style?.dash, width: 1.4 },
        marker: { color: style?.color, symbol: style?.symbol, size: 7 },
      };
    }),
    height: 340,
    legend: lineLegend(context, lines, true),
    layout: {
      xaxis: {
        title: { text: plotText(title), standoff: 12 },
        tickvals: names.map((_, i) => i),
        ticktext: names.map((name, i) => plotText(name.replace("-", "–")) + (isTight ? "" : `<br>n=${nImages[i]}`)),
        range: [-0.4, names.length - 0.6],
        tickangle: isTight ? -60 : 0,
        tickfont: { size: 10.5, color: theme.muted },
        showgrid: false,
      },
      yaxis: { title: { text: `${plotText(numberTitle(overview, number))}, %` }, range: [-3, 103] },
    },
    table: {
      titles: ["method", ...names.map((name, i) => `${name} (n=${nImages[i]})`)],
      rows: lines.map((line) => [
        chartName(overview, line, lines),
        ...names.map((name) => {
          const value = of(line, name);
          return value === null ? "–" : (100 * value).toFixed(1);
        }),
      ]),
    },
    note: number === info.name ? "" : `Shown: ${numberTitle(overview, number)}, since bins have no ${info.title}.`,
    lines,
  };
}

/**
 * Why boxes fail, as stacked shares.
 *
 * @param {ChartContext} context
 * @param {string} judge
 * @returns {Figure}
 */
export function failureFigure(context, judge) {
  const { overview, theme, info } = context;
  const of = judge === "top1" ? "top1" : "gt_known";
  const all = overview.charts.failure_modes.filter((modes) => modes.of === of);
  const lines = sortedLines(
    overview,
    context.drawn((i) => all.some((modes) => modes.line === i)),
    info,
  );
  const modes = lines.flatMap((i) => all.filter((other) => other.line === i));
  if (!modes.length) return { empty: "These lines have no box an image, so there is no reason why it fails." };
  const kept = overview.outcomes.map((_, k) => k).filter((k) => modes.some((each) => each.n_images[k]));
  const names = lines.map((line) => chartName(overview, line, lines));
  const show = (/** @type {number} */ line, /** @type {number} */ k) => ({
    view: "images",
    line,
    model: overview.lines[line].model,
    judge: of,
    outcome: overview.outcomes[k].name,
    image: "",
  });
  return {
    traces: kept.map((k) => ({
      type: "bar",
      orientation: "h",
      name: plotText(overview.outcomes[k].title),
      y: lines.map((_, i) => i),
      x: modes.map((each) => 100 * each.share[k]),
      customdata: lines.map((line) => [line, k]),
      text: modes.map((each) => (each.share[k] * (context.width - 160) >= 22 ? (100 * each.share[k]).toFixed(0) : "")),
      textposition: "inside",
      insidetextanchor: "middle",
      textangle: 0,
      constraintext: "none",
      hovertext: modes.map((each, i) =>
        plotText(`${names[i]}, ${overview.outcomes[k].title}: ${(100 * each.share[k]).toFixed(1)}%, ${each.n_images[k]} images`),
      ),
      hovertemplate: "%{hovertext}<extra></extra>",
      marker: failureMarker(failureStyle(k, theme), theme),
      textfont: { size: 11 },
    })),
    height: 22 * lines.length + 64,
    legend: kept.map((k) => ({ title: overview.outcomes[k].title, ...failureStyle(k, theme) })),
    layout: {
      barmode: "stack",
      bargap: 0.22,
      xaxis: { title: { text: "share of images, %" }, range: [0, 100], showgrid: false },
      yaxis: {
        tickvals: lines.map((_, i) => i),
        ticktext: names.map((name) => plotText(shortened(name, context.width < 480 ? 18 : 34))),
        range: [lines.length - 0.4, -0.6],
        showgrid: false,
      },
    },
    table: {
      titles: ["method", ...kept.map((k) => overview.outcomes[k].title)],
      rows: modes.map((each, i) => [
        names[i],
        ...kept.map((k) => linkButton(`${(100 * each.share[k]).toFixed(1)}% (${each.n_images[k]})`, show(lines[i], k))),
      ]),
    },
    pick: (point) => show(point.customdata[0], point.customdata[1]),
    lines,
  };
}

/** Positions in the colors of the series, for reasons of a miss; hits have a color of their own. */
const failureColors = [0, 1, 7, 3, 4, 5, 6];

/** Hatching besides colors, so that neighbors differ without color. */
const failurePatterns = ["", "/", "x", "", "\\", "", "."];

/**
 * @param {number} k Position of an outcome.
 * @param {ChartTheme} theme
 * @returns {{color: string, pattern: string}}
 */
function failureStyle(k, theme) {
  return {
    color: k === 0 ? theme.hit : theme.series[failureColors[k % failureColors.length]],
    pattern: failurePatterns[k % failurePatterns.length],
  };
}

/**
 * @param {{color: string, pattern: string}} style
 * @param {ChartTheme} theme
 * @returns {Record<string, any>}
 */
function failureMarker({ color, pattern }, theme) {
  return {
    color,
    line: { color: theme.surface, width: 1 },
    pattern: pattern ? { shape: pattern, size: 6, solidity: 0.15, fgcolor: theme.surface, fillmode: "overlay" } : {},
  };
}

/**
 * @param {string} text
 * @param {Record<string, any>} patch
 * @returns {HTMLButtonElement}
 */
function linkButton(text, patch) {
  return h("button", { class: "chart-link", type: "button", onclick: () => setState(patch, { push: true }) }, text);
}

/**
 * How often two methods are right on the same images.
 *
 * @param {ChartContext} context
 * @returns {Figure}
 */
export function agreementFigure(context) {
  const { overview, theme, info } = context;
  const all = overview.charts.agreement;
  const drawn = context.drawn((i) => all.some((pair) => pair.a === i || pair.b === i));
  const model = drawn.length ? overview.lines[drawn[0]].model : -1;
  const lines = sortedLines(
    overview,
    drawn.filter((i) => overview.lines[i].model === model),
    info,
  );
  if (lines.length < 2) return { empty: "There are no two lines of a model to compare." };
  const pairs = new Map(all.flatMap((pair) => [[`${pair.a} ${pair.b}`, pair], [`${pair.b} ${pair.a}`, pair]]));
  const cells = lines.map((row) => lines.map((column) => agreementCell(pairs.get(`${row} ${column}`), row)));
  const names = lines.map((i) => overview.lines[i].name);
  const shares = cells.flat().flatMap(({ share }) => share ?? []);
  const show = (/** @type {number} */ a, /** @type {number} */ b) => ({ view: "images", model, a, b, image: "" });
  const labels = names.map((name) => plotText(shortened(name, context.width < 480 ? 14 : 22)));
  return {
    traces: [
      {
        type: "heatmap",
        z: cells.map((row) => row.map((cell) => cell.share)),
        x: lines.map((_, i) => i),
        y: lines.map((_, i) => i),
        customdata: cells.map((row, i) => row.map((_, j) => [lines[i], lines[j]])),
        text: cells.map((row) => row.map((cell) => (lines.length <= 13 && cell.share !== null ? (100 * cell.share).toFixed(0) : ""))),
        texttemplate: "%{text}",
        textfont: { size: 11 },
        hovertext: cells.map((row, i) => row.map((cell, j) => plotText(agreementText(cell, names[i], names[j])))),
        hovertemplate: "%{hovertext}<extra></extra>",
        colorscale: [[0, theme.surface], [1, theme.accent]],
        zmin: Math.max(0, Math.min(...shares) - 0.15),
        zmax: 1,
        xgap: 1,
        ygap: 1,
        showscale: false,
      },
    ],
    height: Math.min(640, 34 * lines.length + 190),
    layout: {
      xaxis: { tickvals: lines.map((_, i) => i), ticktext: labels, tickangle: -40, showgrid: false, side: "bottom" },
      yaxis: { tickvals: lines.map((_, i) => i), ticktext: labels, range: [lines.length - 0.5, -0.5], showgrid: false, ticks: "" },
    },
    table: {
      titles: ["a", "b", "both hit", "only a", "only b", "neither", "agreement, %"],
      rows: lines.flatMap((a, i) =>
        lines.flatMap((b, j) => {
          if (j <= i) return [];
          const cell = cells[i][j];
          return [[
            names[i],
            names[j],
            String(cell.both),
            linkButton(String(cell.onlyA), show(a, b)),
            linkButton(String(cell.onlyB), show(b, a)),
            String(cell.neither),
            cell.share === null ? "–" : (100 * cell.share).toFixed(1),
          ]];
        }),
      ),
    },
    note: `Lines of ${modelTitle(overview, model)}.`,
    pick: (point) => (point.customdata[0] === point.customdata[1] ? null : show(point.customdata[0], point.customdata[1])),
    lines,
  };
}

/**
 * @typedef {object} AgreementCell
 * @property {number | null} share
 * @property {number} both
 * @property {number} onlyA
 * @property {number} onlyB
 * @property {number} neither
 */

/**
 * @param {Charts["agreement"][number] | undefined} pair
 * @param {number} row
 * @returns {AgreementCell} `a` is the row's line.
 */
function agreementCell(pair, row) {
  if (!pair) return { share: null, both: 0, onlyA: 0, onlyB: 0, neither: 0 };
  const [onlyA, onlyB] = pair.a === row ? [pair.only_a, pair.only_b] : [pair.only_b, pair.only_a];
  const either = pair.both + onlyA + onlyB;
  return { share: either ? pair.both / either : null, both: pair.both, onlyA, onlyB, neither: pair.neither };
}

/**
 * @param {AgreementCell} cell
 * @param {string} a
 * @param {string} b
 * @returns {string}
 */
function agreementText(cell, a, b) {
  if (a === b) return a;
  return `both hit: ${cell.both}; only ${a}: ${cell.onlyA}; only ${b}: ${cell.onlyB}; neither: ${cell.neither}`;
}
