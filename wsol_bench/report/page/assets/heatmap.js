// Heatmaps as pictures: colors that color-blind people tell apart (viridis), the stronger the more
// opaque, so that the picture below stays visible where a map says little.

import { h } from "./dom.js";

// Viridis as a polynomial in the value, from its constant term on, by color channel.
const viridisTerms = [
  [0.27772733, 0.10509304, -0.33086183, -4.6342305, 6.22826994, 4.776385, -5.43545586],
  [0.00540734, 1.40461353, 0.21484756, -5.79910097, 14.17993337, -13.74514538, 4.64585261],
  [0.33409981, 1.38459016, 0.09509516, -19.33244096, 56.6905526, -65.35303263, 26.31243525],
];

/**
 * @param {number} value from 0 to 1
 * @returns {[number, number, number]} Red, green and blue, from 0 to 255.
 */
export function viridis(value) {
  const [red, green, blue] = viridisTerms.map((terms) => {
    const channel = terms.reduceRight((sum, term) => sum * value + term, 0);
    return Math.round(255 * Math.min(1, Math.max(0, channel)));
  });
  return [red, green, blue];
}

/** Steps of the table of colors, from 0 to the maximum of a map. */
const heatSteps = 256;

/** @type {Uint32Array | undefined} */
let heatColors;

/** @returns {Uint32Array} Pixels of each step: red in the lowest byte, opacity in the highest. */
function heatTable() {
  heatColors ??= Uint32Array.from({ length: heatSteps }, (_, step) => {
    const value = step / (heatSteps - 1);
    const [red, green, blue] = viridis(value);
    const alpha = Math.round(255 * heatAlpha(value));
    return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
  return heatColors;
}

/**
 * @param {number} value from 0 to 1
 * @returns {number} Opacity of a heatmap there, relative to that of its maximum.
 */
function heatAlpha(value) {
  return Math.min(1, 1.3 * value ** 0.9);
}

/**
 * A map as a picture: its positive part, as a share of its maximum.
 *
 * @param {Float32Array} values row by row
 * @param {number} height
 * @param {number} width
 * @returns {HTMLCanvasElement} A pixel for each value; transparent where nothing is positive.
 */
export function heatPicture(values, height, width) {
  const canvas = h("canvas", { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  let most = 0;
  for (const value of values) if (value > most && value < Infinity) most = value;
  if (!most) return canvas;
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const colors = heatTable();
  const factor = (heatSteps - 1) / most;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value > 0) pixels[i] = colors[Math.min(heatSteps - 1, Math.round(value * factor))];
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** @returns {HTMLElement} What the colors of a heatmap mean: a bar from 0 to the maximum. */
export function heatLegend() {
  const canvas = h("canvas", { class: "heat-bar", width: heatSteps, height: 1, "aria-hidden": "true" });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  for (let step = 0; step < heatSteps; step++) {
    context.fillStyle = `rgb(${viridis(step / (heatSteps - 1)).join(" ")})`;
    context.fillRect(step, 0, 1, 1);
  }
  return h("span", { class: "legend-item" }, "map 0", canvas, "maximum");
}
