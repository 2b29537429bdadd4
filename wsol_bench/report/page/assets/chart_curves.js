// Charts of shares of images: over the threshold, and over the IoU.

/** @import { ThresholdCurve } from "./types" */
/** @import { LineStyle } from "./chart_lines.js" */
/** @import { ChartContext, Figure } from "./chart_card.js" */

import { chartName, lineLegend, lineStyles, plotText, textOfLines } from "./chart_lines.js";
import { hasIous } from "./explored.js";
import { fewDigits } from "./numbers.js";

/**
 * Share of right images over the threshold.
 *
 * @param {ChartContext} context
 * @param {string} number
 * @returns {Figure}
 */
export function thresholdFigure(context, number) {
  const { overview, theme } = context;
  const all = context.curves.filter((curve) => curve.number === number);
  const lines = context.drawn((i) => all.some((curve) => curve.line === i));
  const curves = lines.flatMap((i) => all.filter((curve) => curve.line === i));
  if (!curves.length) {
    return { empty: whyNoCurves(context) };
  }
  const styles = lineStyles(overview, lines, theme);
  const at = (/** @type {ThresholdCurve} */ curve, /** @type {number} */ threshold) => {
    const distances = curve.thresholds.map((other) => Math.abs(other - threshold));
    return 100 * curve.shares[distances.indexOf(Math.min(...distances))];
  };
  const traces = curves.map((curve) => lineTrace(context, curve.line, lines, styles, curve.thresholds, curve.shares));
  const selected = curves.filter((curve) => curve.selected !== null);
  // A run under one threshold has its own, which need not be the best. The threshold of a line under
  // a sweep is the best one of a number that need not be the curve's.
  const own = curves.flatMap((curve) => {
    const { run, threshold } = overview.lines[curve.line];
    const isOwn = overview.runs[run].kind === "one_box" && threshold !== null && Math.abs(threshold - (curve.best ?? Infinity)) > 1e-9;
    return isOwn ? [{ ...curve, threshold }] : [];
  });
  /** @type {{title: string, of: (curve: ThresholdCurve) => number | null}[]} */
  const everyKind = [
    { title: "best threshold", of: (curve) => curve.best },
    { title: "selected threshold", of: (curve) => curve.selected },
    { title: "threshold of the run", of: ({ line }) => (hasIous(overview, line) ? overview.lines[line].threshold : null) },
  ];
  const kinds = everyKind.filter(({ of }) => curves.some((curve) => of(curve) !== null));
  const signs = [
    curves.some(({ best }) => best !== null) && "✚ best threshold",
    own.length && "✕ threshold of the run",
    selected.length && "✱ threshold that was selected on other images",
  ].filter(Boolean);
  const marks = [
    thresholdMarks(
      "threshold of the run",
      "x",
      own.map((c) => [c.threshold, at(c, c.threshold), styles.get(c.line)?.color ?? theme.text]),
      theme.surface,
    ),
    thresholdMarks(
      "best",
      "cross",
      curves.flatMap((c) => (c.best === null ? [] : [[c.best, at(c, c.best), styles.get(c.line)?.color ?? theme.text]])),
      theme.surface,
    ),
    thresholdMarks(
      "selected on other images",
      "asterisk-open",
      selected.map((c) => [c.selected ?? 0, at(c, c.selected ?? 0), styles.get(c.line)?.color ?? theme.text]),
      theme.surface,
    ),
  ].filter((trace) => trace.x.length);
  return {
    traces: [...traces, ...marks],
    height: 360,
    legend: lineLegend(context, lines),
    layout: {
      xaxis: { title: { text: "threshold" }, range: [0, 1] },
      yaxis: { title: { text: `${plotText(curves[0].title)}, %` }, rangemode: "tozero" },
    },
    table: {
      titles: ["method", ...kinds.flatMap(({ title }) => [title, `${curves[0].title} there, %`])],
      rows: curves.map((curve) => [
        chartName(overview, curve.line, lines),
        ...kinds.flatMap(({ of }) => {
          const threshold = of(curve);
          return threshold === null ? ["–", "–"] : [fewDigits(threshold, 3), at(curve, threshold).toFixed(2)];
        }),
      ]),
    },
    note: [`Of ${textOfLines(overview, curves.map(({ line, of }) => [line, of]))}.`, signs.length && `${signs.join(", ")}.`].filter(Boolean).join(" "),
    lines,
  };
}

/**
 * @param {ChartContext} context
 * @returns {string} The reason why there are no curves of the chosen number and lines.
 */
function whyNoCurves({ overview, curves, noCurves, drawn }) {
  const lines = drawn(() => true);
  if (lines.length && lines.every((line) => overview.runs[overview.lines[line].run].kind === "pixels")) return "A protocol of pixels has no boxes, and so no share of right ones.";
  if (curves.some(({ line }) => lines.includes(line))) return "These lines have curves of another number.";
  const reasons = [...new Set(lines.map((line) => overview.runs[overview.lines[line].run].no_maps))].filter(Boolean);
  return noCurves || reasons.join(" ") || "The runs keep no maps of these lines, from which their boxes at other thresholds could be taken.";
}

/**
 * @param {string} name
 * @param {string} symbol
 * @param {[number, number, string][]} points
 * @param {string} ink Color of the edge.
 * @returns {Record<string, any>}
 */
function thresholdMarks(name, symbol, points, ink) {
  return {
    type: "scatter",
    mode: "markers",
    name,
    x: points.map(([x]) => x),
    y: points.map(([, y]) => y),
    marker: { symbol, size: 11, color: points.map(([, , color]) => color), line: symbol.endsWith("-open") ? { width: 2 } : { width: 1, color: ink } },
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
    mode: "lines+markers",
    name: plotText(chartName(overview, line, lines)),
    x,
    y: shares.map((share) => 100 * share),
    customdata: x.map(() => line),
    line: { color: style?.color, dash: style?.dash, width: 1.8 },
    marker: { color: style?.color, symbol: style?.symbol, size: 6, maxdisplayed: 7 },
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
  const leasts = lines.flatMap((line) => {
    const least = overview.runs[overview.lines[line].run].least_iou;
    return least === null ? [] : [/** @type {[number, number]} */ ([line, least])];
  });
  const share = (/** @type {typeof curves[number]} */ curve, /** @type {number} */ iou) => {
    const i = curve.ious.findIndex((other) => other >= iou - 1e-9);
    return i < 0 ? "–" : (100 * curve.shares[i]).toFixed(1);
  };
  return {
    traces: curves.map((curve) => lineTrace(context, curve.line, lines, styles, curve.ious, curve.shares)),
    height: 340,
    legend: lineLegend(context, lines),
    layout: {
      xaxis: { title: { text: "IoU" }, range: [0, 1] },
      yaxis: { title: { text: "share of images, %" }, range: [0, 102] },
      shapes: [...new Set(leasts.map(([, least]) => least))].map((least) => ({
        type: "line",
        x0: least,
        x1: least,
        y0: 0,
        y1: 1,
        yref: "paper",
        layer: "below",
        line: { color: theme.muted, width: 1, dash: "dot" },
      })),
    },
    table: {
      titles: ["method", ...[0.3, 0.5, 0.7, 0.9].map((iou) => `IoU ≥ ${iou}, %`)],
      rows: curves.map((curve) => [
        chartName(overview, curve.line, lines),
        ...[0.3, 0.5, 0.7, 0.9].map((iou) => share(curve, iou)),
      ]),
    },
    note: leasts.length ? `Dotted: the IoU of a hit, ${textOfLines(overview, leasts)}.` : "",
    lines,
  };
}
