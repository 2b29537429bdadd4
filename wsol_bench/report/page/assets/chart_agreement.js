// The chart of how often two methods are right on the same images.

/** @import { Charts } from "./types" */
/** @import { ChartContext, Figure } from "./chart_card.js" */

import { plotText, shortened, sortedLines } from "./chart_lines.js";
import { imagesOfLine, linkButton } from "./image_links.js";
import { phraseOfModel } from "./numbers.js";

/**
 * Shares of images on which two methods are both right.
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
  const show = (/** @type {number} */ a, /** @type {number} */ b) => 
    // Agreement is about the label's box.
    imagesOfLine(overview, a, { judge: "gt_known", a, b, pair: "split", flag: "counted" });
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
    note: phraseOfModel(overview, model) && `Lines${phraseOfModel(overview, model)}.`,
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
