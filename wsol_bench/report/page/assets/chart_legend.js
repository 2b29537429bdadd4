// The legend of a chart: its colors, shapes, dashes and hatchings, each with its title.

import { h, svg } from "./dom.js";

/**
 * @typedef {object} LegendItem
 * @property {string} title
 * @property {string} color
 * @property {string} [symbol] A mark, by plotly's name.
 * @property {string} [dash] A line, by plotly's name.
 * @property {string} [pattern] A filled square with a hatching, by plotly's name; "" for none.
 */

/** Outlines of marks around (0, 0). */
const symbolPaths = {
  circle: "M3.6 0A3.6 3.6 0 1 1-3.6 0A3.6 3.6 0 1 1 3.6 0Z",
  square: "M-3.3-3.3H3.3V3.3H-3.3Z",
  diamond: "M0-4.6L4.6 0L0 4.6L-4.6 0Z",
  "triangle-up": "M0-4.2L4.2 3.2H-4.2Z",
  "triangle-down": "M0 4.2L4.2-3.2H-4.2Z",
  pentagon: "M0-4.2L4-1.3L2.5 3.4H-2.5L-4-1.3Z",
  star: "M0-4.8L1.2-1.6H4.6L1.9.5L2.8 3.9L0 1.9L-2.8 3.9L-1.9.5L-4.6-1.6H-1.2Z",
  hexagon: "M2.1-3.7L4.2 0L2.1 3.7H-2.1L-4.2 0L-2.1-3.7Z",
};

const dashArrays = { solid: null, dash: "5 3", dot: "1.5 2.5", dashdot: "5 2.5 1.5 2.5" };

const hatchPaths = {
  "/": "M1 6L6 1M1 11L11 1M6 11L11 6",
  "\\": "M1 6L6 11M1 1L11 11M6 1L11 6",
  x: "M1 1L11 11M1 11L11 1",
  "-": "M0 4H12M0 8H12",
  "|": "M4 0V12M8 0V12",
  "+": "M0 6H12M6 0V12",
  ".": "M4 4h.01M8 4h.01M4 8h.01M8 8h.01",
};

/**
 * @param {LegendItem[]} items
 * @returns {HTMLElement}
 */
export function chartLegend(items) {
  return h(
    "ul",
    { class: "chart-legend" },
    items.map((item) => h("li", {}, item.pattern === undefined ? lineSwatch(item) : patternSwatch(item), item.title)),
  );
}

/**
 * @param {LegendItem} item
 * @returns {SVGElement}
 */
function lineSwatch({ color, symbol = "", dash }) {
  const path = symbolPaths[/** @type {keyof typeof symbolPaths} */ (symbol.replace("-open", ""))];
  const array = dash && dashArrays[/** @type {keyof typeof dashArrays} */ (dash)];
  const width = dash ? 24 : 12;
  return svg(
    "svg",
    { width, height: 12, viewBox: `${-width / 2} -6 ${width} 12`, "aria-hidden": "true" },
    dash ? svg("path", { d: `M${-width / 2} 0H${width / 2}`, stroke: color, "stroke-width": 1.8, "stroke-dasharray": array || null }) : null,
    path ? svg("path", { d: path, fill: symbol.endsWith("-open") ? "none" : color, stroke: color, "stroke-width": 1.2 }) : null,
  );
}

/**
 * @param {LegendItem} item
 * @returns {SVGElement}
 */
function patternSwatch({ color, pattern }) {
  const path = hatchPaths[/** @type {keyof typeof hatchPaths} */ (pattern)];
  return svg(
    "svg",
    { width: 12, height: 12, "aria-hidden": "true", class: "chart-hatch" },
    svg("rect", { width: 12, height: 12, rx: 2, fill: color }),
    path ? svg("path", { d: path, "stroke-width": pattern === "." ? 1.8 : 1, "stroke-linecap": "round" }) : null,
  );
}
