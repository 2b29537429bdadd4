// What a line says of an image: its stored box, or the box at the threshold of the slider.

/** @import { DetailRow, Overview } from "./types" */
/** @import { LoadedImage } from "./loaded_image.js" */

import { largeMapOf, placementOfRow } from "./loaded_image.js";
import { boxAtLevel, levelOf, mapAt } from "./map.js";

/**
 * @typedef {object} ShownResult
 * @property {DetailRow} row
 * @property {number[] | null} box In pixels of the original image.
 * @property {number | null} iou
 * @property {boolean | null} hit Whether the class is the label and the box fits; null if not defined.
 * @property {boolean} live Whether the box is that of the slider's threshold.
 * @property {Path2D | null} region Outline of the pixels that reach the threshold, in pixels of the input.
 */

/**
 * Why the page cannot take boxes at other thresholds for a run.
 *
 * @param {Overview} overview
 * @param {number} run
 * @returns {string} Empty if it can.
 */
export function whyNoThreshold(overview, run) {
  const { rule } = overview.runs[run];
  if (!rule) return "This protocol judges pixels, not boxes, so there is no box to move.";
  if (rule.extractor === "contours") {
    return "Boxes of this protocol are those of OpenCV's contours, which this page does not trace. It shows the stored boxes.";
  }
  return "";
}

/**
 * @param {Overview} overview
 * @param {LoadedImage} loaded
 * @param {number} number Position in the image's rows.
 * @param {number} threshold Threshold of the slider; -1 for each line's own.
 * @param {boolean} outlined Whether the region is wanted.
 * @returns {ShownResult}
 */
export function shownResult(overview, loaded, number, threshold, outlined) {
  const row = loaded.detail.rows[number];
  const line = overview.lines[row.line];
  const run = overview.runs[line.run];
  const placement = placementOfRow(overview, loaded.detail, number);
  const least = run.least_iou;
  const judged = (/** @type {number | null} */ iou) => (least === null || iou === null ? null : row.is_label && iou >= least);
  const stored = { row, box: row.box, iou: row.iou, hit: judged(row.iou), live: false, region: null };
  const chosen = threshold >= 0 ? threshold : line.threshold;
  if (!row.map || !placement || !run.rule || whyNoThreshold(overview, line.run) || chosen === null) return stored;
  if (threshold < 0 && !outlined) return stored;
  const large = largeMapOf(overview, loaded, number);
  if (!large) return stored;
  const level = levelOf(mapAt(loaded.values, row.map), large, run.rule, chosen);
  const region = outlined ? regionOutline(large, placement.input, level, run.rule.comparison === "above") : null;
  if (threshold < 0) return { ...stored, region };
  const small = boxAtLevel(large, placement.input, level, run.rule);
  const x = placement.original[1] / placement.resized[1], y = placement.original[0] / placement.resized[0];
  const box = small && [(small[0] + placement.offset[1]) * x, (small[1] + placement.offset[0]) * y, (small[2] + placement.offset[1]) * x, (small[3] + placement.offset[0]) * y];
  const iou = box ? Math.max(0, ...loaded.detail.boxes.map((t) => { const w = Math.min(box[2], t[2]) - Math.max(box[0], t[0]), hh = Math.min(box[3], t[3]) - Math.max(box[1], t[1]); const i = w > 0 && hh > 0 ? w * hh : 0; return i / ((box[2] - box[0]) * (box[3] - box[1]) + (t[2] - t[0]) * (t[3] - t[1]) - i); })) : 0;
  return { row, box, iou, hit: judged(iou), live: true, region };
}

/**
 * The outline of the pixels that reach a level, as runs of edges between pixels.
 *
 * @param {Float32Array} values
 * @param {[number, number]} size Height and width.
 * @param {number} level
 * @param {boolean} above Whether pixels have to be above the level.
 * @returns {Path2D}
 */
function regionOutline(values, [height, width], level, above) {
  const path = new Path2D();
  const inside = (/** @type {number} */ y, /** @type {number} */ x) => {
    if (y < 0 || x < 0 || y >= height || x >= width) return false;
    const value = values[y * width + x];
    return above ? value > level : value >= level;
  };
  for (let y = 0; y <= height; y++) {
    for (let x = 0, from = -1; x <= width; x++) {
      const edge = x < width && inside(y - 1, x) !== inside(y, x);
      if (edge && from < 0) from = x;
      if (!edge && from >= 0) {
        path.moveTo(from, y);
        path.lineTo(x, y);
        from = -1;
      }
    }
  }
  for (let x = 0; x <= width; x++) {
    for (let y = 0, from = -1; y <= height; y++) {
      const edge = y < height && inside(y, x - 1) !== inside(y, x);
      if (edge && from < 0) from = y;
      if (!edge && from >= 0) {
        path.moveTo(x, from);
        path.lineTo(x, y);
        from = -1;
      }
    }
  }
  return path;
}

/**
 * @param {ShownResult} result
 * @returns {string} "hit", or why not; empty if that is not defined.
 */
export function resultWords({ row, box, hit }) {
  if (hit) return "hit";
  if (!row.is_label && hit !== null) return "wrong class";
  if (!box) return "no box";
  return hit === null ? "" : "miss";
}
