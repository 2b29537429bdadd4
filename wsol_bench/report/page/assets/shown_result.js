// What a line says of an image: its stored box, or the box at the threshold of the slider.

/** @import { DetailRow, Overview } from "./types" */
/** @import { LoadedImage } from "./loaded_image.js" */

import { largeMapOf, placementOfRow } from "./loaded_image.js";
import { bestIouOf, boxAtThreshold, levelAt, mapAt } from "./map.js";

/**
 * @typedef {object} ShownResult
 * @property {DetailRow} row
 * @property {number[] | null} box In pixels of the original image.
 * @property {number | null} iou
 * @property {number | null} least Least IoU that is a hit.
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
  const { rule } = run;
  const stored = { row, box: row.box, iou: row.iou, least, hit: judged(row.iou), live: false, region: null };
  const chosen = threshold >= 0 ? threshold : line.threshold;
  if (!row.map || !placement || !rule || whyNoThreshold(overview, line.run) || chosen === null) return stored;
  if (threshold < 0 && !outlined) return stored;
  const large = largeMapOf(overview, loaded, number);
  if (!large) return stored;
  const map = mapAt(loaded.values, row.map);
  const region = outlined ? regionOutline(large, placement.input, levelAt(map, large, rule, chosen)) : null;
  if (threshold < 0) return { ...stored, region };
  const box = boxAtThreshold(map, large, placement, rule, threshold);
  const iou = bestIouOf(box, loaded.detail.truth[line.run] ?? [], placement, rule);
  return { row, box, iou, least, hit: judged(iou), live: true, region };
}

/**
 * The outline of the pixels that reach a level: a line of constant height between their centers
 * (marching squares).
 *
 * @param {Float32Array} values
 * @param {[number, number]} size Height and width.
 * @param {number} level
 * @returns {Path2D}
 */
function regionOutline(values, [height, width], level) {
  const path = new Path2D();
  // With a border of pixels that reach no level, so that every outline is closed.
  const wide = width + 2;
  const inside = new Uint8Array(wide * (height + 2));
  for (let y = 0, from = 0; y < height; y++) {
    for (let x = 0; x < width; x++, from++) if (values[from] >= level) inside[(y + 1) * wide + x + 1] = 1;
  }
  /** Where the line crosses from one pixel's center to the next; halfway at the border. */
  const crossing = (/** @type {number} */ y, /** @type {number} */ x, /** @type {0 | 1} */ down) => {
    const [y1, x1] = [y + down, x + 1 - down];
    if (y < 0 || x < 0 || y1 >= height || x1 >= width) return 0.5;
    const first = values[y * width + x];
    const part = (level - first) / (values[y1 * width + x1] - first);
    return part >= 0 && part <= 1 ? part : 0.5;
  };
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const at = (y + 1) * wide + x + 1;
      const a = inside[at];
      const b = inside[at + 1];
      const c = inside[at + wide + 1];
      const d = inside[at + wide];
      const sum = a + b + c + d;
      if (sum === 0 || sum === 4) continue;
      let started = false;
      /** @type {(to: number, down: number) => void} */
      const end = (to, down) => {
        if (started) path.lineTo(to + 0.5, down + 0.5);
        else path.moveTo(to + 0.5, down + 0.5);
        started = !started;
      };
      if (a !== b) end(x + crossing(y, x, 0), y);
      if (b !== c) end(x + 1, y + crossing(y, x + 1, 1));
      if (c !== d) end(x + crossing(y + 1, x, 0), y + 1);
      if (d !== a) end(x, y + crossing(y, x, 1));
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
