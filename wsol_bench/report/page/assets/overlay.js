// The marks over a picture: heatmap, region above the threshold, and boxes. Coordinates are pixels
// of the original image, unless said otherwise.

/** @import { Overview, Placement } from "./types" */
/** @import { MaskOutline } from "./loaded_image.js" */

import { h, svg } from "./dom.js";
import { heatLegend } from "./heatmap.js";

/**
 * @typedef {object} Overlay
 * @property {number} height Size of the original image in pixels.
 * @property {number} width
 * @property {CanvasImageSource | null} heat A heatmap of the network's input.
 * @property {Placement | null} placement Place of the network's input.
 * @property {number} opacity Opacity of the heatmap where it is highest.
 * @property {Path2D | null} region Outline of the region that gives the box, in pixels of the input.
 * @property {number[][]} truth Ground-truth boxes.
 * @property {MaskOutline | null} mask Outline of the ground-truth mask, in pixels of the input.
 * @property {number[] | null} box Predicted box.
 * @property {boolean | null} hit True for a box that is right; null if that is not defined.
 * @property {boolean} named If true, boxes carry their names.
 * @property {string} tag Text on the predicted box besides its sign.
 */

/** Colors of boxes, on pictures of any kind: the same in both themes. */
const boxInk = { truth: "#ffffff", hit: "#5fc4ff", miss: "#ff9d3d", none: "#d9dde2", halo: "rgb(0 0 0 / 65%)" };

/**
 * Draws an overlay over a picture.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {number} width Size of the picture on the page, in CSS pixels.
 * @param {number} height
 * @param {Overlay} overlay
 */
export function drawOverlay(canvas, width, height, overlay) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [across, down] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== across) canvas.width = across;
  if (canvas.height !== down) canvas.height = down;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const scale = { x: width / overlay.width, y: height / overlay.height };
  const { placement } = overlay;
  if (placement) drawInput(context, scale, placement, overlay, [width, height]);
  const line = width > 300 ? 2 : 1.5;
  for (const box of overlay.truth) {
    drawBox(context, scaledBox(box, scale), boxInk.truth, line, []);
    if (overlay.named) drawTag(context, scaledBox(box, scale), "truth", boxInk.truth, "end");
  }
  if (overlay.box) {
    const ink = overlay.hit === null ? boxInk.none : overlay.hit ? boxInk.hit : boxInk.miss;
    const box = scaledBox(overlay.box, scale);
    drawBox(context, box, ink, line, [4 * line, 2.5 * line]);
    drawTag(context, box, [hitSign(overlay.hit), overlay.tag].filter(Boolean).join(" "), ink, "start");
  }
}

/**
 * @param {boolean | null} hit
 * @returns {string} A sign that says so without color; empty if it is not defined.
 */
export function hitSign(hit) {
  return hit === null ? "" : hit ? "✓" : "✕";
}

/**
 * Draws what belongs to the network's input: heatmap, region, and the input's edge if it is inside
 * the image.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {{x: number, y: number}} scale
 * @param {Placement} placement
 * @param {Overlay} overlay
 * @param {[number, number]} size Width and height of the picture on the page.
 */
function drawInput(context, scale, placement, overlay, size) {
  const x = (scale.x * placement.original[1]) / placement.resized[1];
  const y = (scale.y * placement.original[0]) / placement.resized[0];
  const [top, left] = [placement.offset[0] * y, placement.offset[1] * x];
  const [height, width] = [placement.input[0] * y, placement.input[1] * x];
  if (top > 0.5 || left > 0.5 || left + width < size[0] - 0.5 || top + height < size[1] - 0.5) {
    context.fillStyle = "rgb(0 0 0 / 45%)"; // the network did not see this part
    context.beginPath();
    context.rect(0, 0, size[0], size[1]);
    context.rect(left, top, width, height);
    context.fill("evenodd");
  }
  if (overlay.heat) {
    context.globalAlpha = overlay.opacity;
    context.imageSmoothingQuality = "high";
    context.drawImage(overlay.heat, left, top, width, height);
    context.globalAlpha = 1;
  }
  const matrix = new DOMMatrix([x, 0, 0, y, left, top]);
  if (overlay.region) drawOutline(context, overlay.region, matrix, [["rgb(0 0 0 / 45%)", 2.5], ["rgb(255 255 255 / 85%)", 1]]);
  if (!overlay.mask) return;
  const line = size[0] > 300 ? 2 : 1.5;
  drawOutline(context, overlay.mask.object, matrix, [[boxInk.halo, line + 2], [boxInk.truth, line]]);
  context.setLineDash([1.5 * line, 1.5 * line]);
  drawOutline(context, overlay.mask.ignored, matrix, [[boxInk.halo, line + 1], [boxInk.none, line]]);
  context.setLineDash([]);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Path2D} path
 * @param {DOMMatrix} matrix From the path's pixels to those of the page.
 * @param {[string, number][]} strokes Inks and widths, one above the other.
 */
function drawOutline(context, path, matrix, strokes) {
  const outline = new Path2D();
  outline.addPath(path, matrix);
  for (const [ink, line] of strokes) {
    context.strokeStyle = ink;
    context.lineWidth = line;
    context.stroke(outline);
  }
}

/**
 * @param {number[]} box x0, y0, x1, y1
 * @param {{x: number, y: number}} scale
 * @returns {number[]}
 */
function scaledBox(box, scale) {
  return [box[0] * scale.x, box[1] * scale.y, box[2] * scale.x, box[3] * scale.y];
}

/**
 * Draws a box whose line lies inside it.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {number[]} box
 * @param {string} ink
 * @param {number} line
 * @param {number[]} dash
 */
function drawBox(context, box, ink, line, dash) {
  const [x0, y0, x1, y1] = box;
  const inside = line / 2 + 0.5;
  const width = Math.max(1, x1 - x0 - 2 * inside);
  const height = Math.max(1, y1 - y0 - 2 * inside);
  context.lineJoin = "miter";
  context.strokeStyle = boxInk.halo;
  context.lineWidth = line + 2;
  context.setLineDash([]);
  context.globalAlpha = dash.length ? 0.6 : 1;
  context.strokeRect(x0 + inside, y0 + inside, width, height);
  context.globalAlpha = 1;
  context.strokeStyle = ink;
  context.lineWidth = line;
  context.setLineDash(dash);
  context.strokeRect(x0 + inside, y0 + inside, width, height);
  context.setLineDash([]);
}

/**
 * Draws a small label into a corner of a box: at the top left, or ("end") at the bottom right.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {number[]} box
 * @param {string} text
 * @param {string} ink
 * @param {"start" | "end"} side
 */
function drawTag(context, box, text, ink, side) {
  if (!text) return;
  context.font = "600 11px system-ui, sans-serif";
  const [width, height] = [context.measureText(text).width + 8, 16];
  const x = side === "start" ? box[0] : Math.max(box[0], box[2] - width);
  const y = side === "start" ? box[1] : Math.max(box[1], box[3] - height);
  context.fillStyle = ink;
  context.fillRect(x, y, width, height);
  context.fillStyle = "#14171a";
  context.textBaseline = "middle";
  context.fillText(text, x + 4, y + height / 2 + 0.5);
}

/**
 * @param {Overview} overview
 * @returns {HTMLElement} The meaning of the marks on pictures.
 */
export function overlayLegend({ runs }) {
  const item = (/** @type {string} */ ink, /** @type {string} */ dash, /** @type {string} */ words) =>
    h("span", { class: "legend-item" }, legendBox(ink, dash), words);
  const hasMasks = runs.some(({ kind }) => kind === "pixels");
  const hasBoxes = runs.some(({ kind }) => kind !== "pixels");
  return h(
    "p",
    { class: "legend" },
    item(boxInk.truth, "", "ground truth"),
    hasMasks && item(boxInk.none, "2 2", "ignored"),
    hasBoxes && [item(boxInk.hit, "4 2.5", "✓ box that hits"), item(boxInk.miss, "4 2.5", "✕ box that misses")],
    heatLegend(),
  );
}

/**
 * A box as pictures show it, on the gray of no picture in particular.
 *
 * @param {string} ink
 * @param {string} dash
 */
function legendBox(ink, dash) {
  return svg(
    "svg",
    { class: "legend-box", viewBox: "0 0 26 18", width: 26, height: 18, "aria-hidden": "true" },
    svg("rect", { width: 26, height: 18, rx: 2, fill: "#565d66" }),
    svg("rect", { x: 4, y: 4, width: 18, height: 10, fill: "none", stroke: ink, "stroke-width": 2, "stroke-dasharray": dash || false }),
  );
}
