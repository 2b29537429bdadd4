// Charts of errors by the size of the object, and by the number of instances.

/** @import { Bin, Overview } from "./types" */
/** @import { ChartContext, Figure } from "./chart_card.js" */

import { chartName, lineLegend, lineStyles, plotText } from "./chart_lines.js";
import { countText } from "./numbers.js";

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
  const nImages = names.map((name) => {
    const all = own.filter((bin) => bin.bin === name).map((bin) => bin.n_images);
    const [least, most] = [Math.min(...all), Math.max(...all)];
    return least === most ? String(most) : `${least}–${most}`;
  });
  const isTight = names.length * 60 > context.width - 70; // beside the axis
  const binOf = (/** @type {number} */ line, /** @type {string} */ name) => own.find((bin) => bin.line === line && bin.bin === name);
  const of = (/** @type {number} */ line, /** @type {string} */ name) => binOf(line, name)?.[number] ?? null;
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
        text: names.map((name) => plotText(`${chartName(overview, line, lines)}, ${name}, ${countText(binOf(line, name)?.n_images ?? 0, "image")}`)),
        hovertemplate: "%{text}: %{y:.1f}%<extra></extra>",
        line: { color: style?.color, dash: style?.dash, width: 1.4 },
        marker: { color: style?.color, symbol: style?.symbol, size: 7 },
      };
    }),
    height: 340,
    legend: lineLegend(context, lines),
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
