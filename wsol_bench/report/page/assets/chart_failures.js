// The chart of why boxes fail.

/** @import { ChartTheme } from "./chart_lines.js" */
/** @import { ChartContext, Figure } from "./chart_card.js" */

import { chartName, plotText, shortened, sortedLines } from "./chart_lines.js";
import { imagesOfLine, linkButton } from "./image_links.js";

/**
 * Shares of hits and of the reasons why boxes fail, stacked.
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
  const show = (/** @type {number} */ line, /** @type {number} */ k) =>
    imagesOfLine(overview, line, { judge: of, outcome: overview.outcomes[k].name, flag: "counted" });
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
      textfont: { size: 11, color: theme.text, shadow: Array(4).fill(`0 0 3px ${theme.surface}`).join(", ") },
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
const failurePatterns = ["", "/", "x", "-", "\\", "|", ".", "+"];

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
