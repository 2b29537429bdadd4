// The chart of a number against what a method costs.

/** @import { Line } from "./types" */
/** @import { ChartContext, Figure } from "./chart_card.js" */

import { axisTitle, modelLegend, modelStyle, plotText, pointText } from "./chart_lines.js";
import { imagesOfLine, linkButton } from "./image_links.js";
import { fewDigits, modelTitle, numberText } from "./numbers.js";

/** The costs that can be drawn, by name. */
export const costNames = {
  passes: "passes (forward + backward) an image",
  forward: "forward passes an image",
  backward: "backward passes an image",
  seconds: "seconds an image",
};

/** Fixed, so that the pixels of a point are known before it is drawn. */
const costMargins = { l: 52, r: 12, t: 8, b: 48 };

/**
 * A number against a cost, with the lines that none beats in both.
 *
 * @param {ChartContext} context
 * @param {keyof typeof costNames} cost
 * @returns {Figure}
 */
export function costFigure(context, cost) {
  const { overview, info, theme } = context;
  const scale = info.percent ? 100 : 1;
  const points = context.compared.flatMap((i) => {
    const line = overview.lines[i];
    const x = costOf(line, cost);
    const value = line.values[info.name];
    return x === null || !value || line.kind === "sanity" ? [] : { line: i, model: line.model, x, y: scale * value.value };
  });
  if (!points.length) return { empty: "The runs have no costs, or no line has this number." };
  const models = [...new Set(points.map((point) => point.model))];
  const positive = points.map(({ x }) => x).filter((x) => x > 0);
  const free = (positive.length ? Math.min(...positive) : 1) / 2.5;
  const placed = points.map((point) => ({ ...point, at: point.x > 0 ? point.x : free }));
  const traces = models.flatMap((model, n) => {
    const style = modelStyle(n, theme);
    const mine = placed.filter((point) => point.model === model);
    const front = paretoFront(mine, info.better === "lower");
    return [
      {
        type: "scatter",
        mode: "lines",
        x: front.map(({ at }) => at),
        y: front.map(({ y }) => y),
        line: { color: style.color, width: 1, dash: "dot", shape: "hv" },
        opacity: 0.7,
        hoverinfo: "skip",
      },
      {
        type: "scatter",
        mode: "markers",
        name: plotText(modelTitle(overview, model)),
        x: mine.map(({ at }) => at),
        y: mine.map(({ y }) => y),
        customdata: mine.map(({ line }) => line),
        text: mine.map(({ line, x }) => plotText(`${pointText(context, line)}, ${fewDigits(x, 3)} ${costNames[cost]}`)),
        hovertemplate: "%{text}<extra></extra>",
        marker: {
          color: style.color,
          size: 9,
          opacity: 0.85,
          symbol: mine.map(({ line }) => (overview.lines[line].kind === "method" ? style.symbol : `${style.symbol}-open`)),
          line: { width: mine.map(({ line }) => (overview.lines[line].kind === "method" ? 0 : 1.5)) },
        },
      },
    ];
  });
  const fronts = models.flatMap((model) =>
    paretoFront(
      placed.filter((point) => point.model === model),
      info.better === "lower",
    ),
  );
  const xRange = paddedRange(placed.map(({ at }) => Math.log10(at)), 0.08, 0.16, 1);
  const yRange = paddedRange(placed.map(({ y }) => y), 0.08, 0.1, info.percent ? 2 : 0.02 * Math.max(...placed.map(({ y }) => Math.abs(y))) || 1);
  const height = 400;
  const labels = pointLabels(context, placed, fronts, xRange, yRange, height - costMargins.t - costMargins.b);
  const hasFree = placed.some(({ x }) => !(x > 0));
  return {
    traces: [...traces, ...labels],
    height,
    legend: modelLegend(context, models),
    layout: {
      margin: costMargins,
      xaxis: { automargin: false, type: "log", range: xRange, title: { text: costNames[cost] }, ...logTicks(xRange, hasFree ? free : null) },
      yaxis: { automargin: false, range: yRange, title: { text: plotText(axisTitle(context)) } },
    },
    table: {
      titles: ["method", "model", info.title, costNames[cost]],
      rows: [...placed]
        .sort((a, b) => a.x - b.x)
        .map(({ line, model, x }) => [
          linkButton(overview.lines[line].name, imagesOfLine(overview, line)),
          modelTitle(overview, model),
          numberText(info, overview.lines[line].values[info.name].value),
          fewDigits(x, 3),
        ]),
    },
    note: hasFree ? "Lines that need no network stand at 0, at the left." : "",
    pick: (point) => (point.customdata === undefined ? null : imagesOfLine(overview, point.customdata)),
  };
}

/**
 * @param {Line} line
 * @param {keyof typeof costNames} cost
 * @returns {number | null}
 */
function costOf(line, cost) {
  const { forward, backward } = line.cost;
  if (cost !== "passes") return line.cost[cost];
  return forward === null || backward === null ? null : forward + backward;
}

/**
 * The points that no other point beats in both cost and number, by cost.
 *
 * @template {{at: number, y: number}} Point
 * @param {Point[]} points
 * @param {boolean} lowerIsBetter
 * @returns {Point[]}
 */
export function paretoFront(points, lowerIsBetter) {
  const sign = lowerIsBetter ? 1 : -1;
  const sorted = [...points].sort((a, b) => a.at - b.at || sign * (a.y - b.y));
  let best = Infinity;
  return sorted.filter(({ y }) => sign * y < best && ((best = sign * y), true));
}

/**
 * @param {number[]} values
 * @param {number} before
 * @param {number} behind
 * @param {number} least Smallest range, so that a tiny difference does not look like a large one.
 * @returns {[number, number]} From the least to the greatest value, with some space at both ends.
 */
function paddedRange(values, before, behind, least) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const size = Math.max(high - low, least);
  const more = (size - (high - low)) / 2;
  return [low - more - before * size, high + more + behind * size];
}

/**
 * Ticks at 1, 2 and 5 times powers of ten, and at 0 where what costs nothing stands.
 *
 * @param {[number, number]} range Logarithms of the ends.
 * @param {number | null} free
 * @returns {{tickvals: number[], ticktext: string[]}}
 */
function logTicks([low, high], free) {
  /** @type {number[]} */
  const values = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const digit of high - low > 2.5 ? [1] : [1, 2, 5]) {
      const value = Number(`${digit}e${power}`);
      if (Math.log10(value) >= low && Math.log10(value) <= high && (free === null || value > free * 1.6)) values.push(value);
    }
  }
  const texts = values.map((value) => fewDigits(value, 3));
  return free === null ? { tickvals: values, ticktext: texts } : { tickvals: [free, ...values], ticktext: ["0", ...texts] };
}

/**
 * Names beside points, as far as they have room: first those of the front, then the other ones.
 *
 * @param {ChartContext} context
 * @param {{line: number, at: number, y: number}[]} points
 * @param {{line: number}[]} fronts
 * @param {[number, number]} xRange
 * @param {[number, number]} yRange
 * @param {number} height Pixels of the axes.
 * @returns {Record<string, any>[]} Traces of text, without the marks.
 */
function pointLabels({ overview, theme, width }, points, fronts, xRange, yRange, height) {
  const inner = width - costMargins.l - costMargins.r;
  const toPixels = (/** @type {{at: number, y: number}} */ { at, y }) => [
    ((Math.log10(at) - xRange[0]) / (xRange[1] - xRange[0])) * inner,
    (1 - (y - yRange[0]) / (yRange[1] - yRange[0])) * height,
  ];
  const marks = points.map((point) => {
    const [x, y] = toPixels(point);
    return [x - 5, y - 5, x + 5, y + 5];
  });
  const isFront = new Set(fronts.map(({ line }) => line));
  const first = [...points].sort((a, b) => Number(isFront.has(b.line)) - Number(isFront.has(a.line)));
  /** @type {number[][]} */
  const taken = [];
  /** @type {{point: {line: number, at: number, y: number}, place: string}[]} */
  const labels = [];
  for (const point of first) {
    const [x, y] = toPixels(point);
    const wide = 6.3 * overview.lines[point.line].name.length;
    const places = Object.entries({
      "middle right": [x + 8, y - 7, x + 8 + wide, y + 7],
      "middle left": [x - 8 - wide, y - 7, x - 8, y + 7],
      "top center": [x - wide / 2, y - 20, x + wide / 2, y - 6],
      "bottom center": [x - wide / 2, y + 6, x + wide / 2, y + 20],
    });
    const free = places.find(
      ([, box]) =>
        box[0] >= 0 && box[2] <= inner && box[1] >= 0 && box[3] <= height && ![...taken, ...marks].some((other) => overlaps(box, other)),
    );
    if (!free) continue;
    taken.push(free[1]);
    labels.push({ point, place: free[0] });
  }
  return [
    {
      type: "scatter",
      // Marks that nobody sees keep the names clear of the marks.
      mode: "markers+text",
      marker: { size: 9, opacity: 0 },
      x: labels.map(({ point }) => point.at),
      y: labels.map(({ point }) => point.y),
      text: labels.map(({ point }) => plotText(overview.lines[point.line].name)),
      textposition: labels.map(({ place }) => place),
      textfont: { size: 11, color: theme.muted },
      hoverinfo: "skip",
      cliponaxis: false,
    },
  ];
}

/**
 * @param {number[]} a
 * @param {number[]} b
 * @returns {boolean}
 */
function overlaps(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}
