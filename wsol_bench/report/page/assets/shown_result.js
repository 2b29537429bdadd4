// The result of a line on an image: its stored box, or the box at the threshold of the slider.

/** @import { DetailRow, Overview } from "./types" */
/** @import { LoadedImage } from "./loaded_image.js" */

import { largeMapOf, placementOfRow } from "./loaded_image.js";
import { bestIouOf, boxAtThreshold, levelAt, mapAt } from "./map.js";
import { regionOutline } from "./outline.js";

/**
 * @typedef {object} ShownResult
 * @property {DetailRow} row
 * @property {number[] | null} box In pixels of the original image.
 * @property {number | null} iou
 * @property {number | null} least Least IoU that is a hit.
 * @property {boolean | null} hit True for a box of the label that fits; null if that is not defined.
 * @property {string} words The verdict: "hit", or why not; empty if there is none.
 * @property {Path2D | null} region Outline of the pixels that reach the threshold, in pixels of the input.
 */

/**
 * The reason why the page cannot take boxes at other thresholds for a run.
 *
 * @param {Overview} overview
 * @param {number} run
 * @returns {string} Empty if it can.
 */
export function whyNoThreshold(overview, run) {
  const { rule, kind } = overview.runs[run];
  if (!rule) return "This protocol judges pixels: there is no box and no IoU.";
  if (rule.extractor !== "contours") return "";
  const shown =
    kind === "box_sweep"
      ? "The boxes shown were taken from the stored maps when the page was made, at each method's best threshold."
      : "It shows the stored boxes.";
  return `Boxes of this protocol are those of OpenCV's contours, which this page does not trace. ${shown}`;
}

/**
 * @param {Overview} overview
 * @param {LoadedImage} loaded
 * @param {number} number Position in the image's rows.
 * @param {number} threshold Threshold of the slider; -1 for each line's own.
 * @param {boolean} [outlined] If true, the region is asked for.
 * @returns {ShownResult}
 */
export function shownResult(overview, loaded, number, threshold, outlined = false) {
  const row = loaded.detail.rows[number];
  const line = overview.lines[row.line];
  const run = overview.runs[line.run];
  const placement = placementOfRow(overview, loaded.detail, number);
  const least = run.least_iou;
  const { rule } = run;
  const own = storedVerdict(overview, row, run);
  const stored = { row, box: row.box, iou: row.iou, least, ...own, region: null };
  const chosen = threshold >= 0 ? threshold : line.threshold;
  if (!row.map || !placement || !rule || whyNoThreshold(overview, line.run) || chosen === null) return stored;
  if (threshold < 0 && !outlined) return stored;
  const large = largeMapOf(overview, loaded, number);
  if (!large) return stored;
  const map = mapAt(loaded.values, row.map);
  const region = outlined ? regionOutline(large, placement.input, levelAt(map, large, rule, chosen), rule.comparison) : null;
  if (threshold < 0) return { ...stored, region };
  const box = boxAtThreshold(map, large, placement, rule, threshold);
  const iou = bestIouOf(box, loaded.detail.truth[line.run] ?? [], placement, rule);
  // An image that is in no number is not judged at any threshold.
  const verdict = row.is_judged && row.outcome === null ? own : verdictOfBox(row, Boolean(box), iou, least);
  return { row, box, iou, least, ...verdict, region };
}

/**
 * The verdict on a box at the line's own threshold: its outcome, which Python has found.
 *
 * @param {Overview} overview
 * @param {DetailRow} row
 * @param {Overview["runs"][number]} run
 * @returns {{hit: boolean | null, words: string}}
 */
function storedVerdict({ outcomes }, row, { kind, least_iou }) {
  if (kind === "pixels") return { hit: null, words: "" };
  if (row.status === "not_applicable") return { hit: null, words: "not applicable" };
  if (row.status === "not_kept" && row.outcome === null) return { hit: null, words: "wrong class" };
  const isMissing = row.status === "missing";
  if (row.outcome !== null) {
    const { name, title } = outcomes[row.outcome];
    return { hit: name === "hit", words: isMissing && row.is_label ? "no map or box was given: a miss" : title };
  }
  if (isMissing) return { hit: null, words: "no map or box was given" };
  if (row.is_judged) return { hit: null, words: "not judged" }; // an image that is in no number
  // Of predictions besides the first there is no outcome, and a sweep keeps no boxes of them.
  if (kind === "box_sweep" && row.iou === null) return { hit: null, words: "" };
  return verdictOfBox(row, row.box !== null, row.iou, least_iou);
}

/**
 * @param {DetailRow} row
 * @param {boolean} isThere If false, the map gives no box.
 * @param {number | null} iou
 * @param {number | null} least
 * @returns {{hit: boolean | null, words: string}}
 */
function verdictOfBox(row, isThere, iou, least) {
  const hit = least === null || iou === null ? null : row.is_label && iou >= least;
  if (hit) return { hit, words: "hit" };
  if (!row.is_label && hit !== null) return { hit, words: "wrong class" };
  if (!isThere) return { hit, words: "no box" };
  return { hit, words: hit === null ? "" : "miss" };
}
