// The model and the lines that the explorer is about, and the words for its images.

/** @import { ImageIndex, LineColumns, Overview } from "./types" */
/** @import { State } from "./state.js" */

/**
 * @param {Overview} overview
 * @param {number} line Position that an address may have made up.
 * @returns {number} The line, or -1 if the page has no such line.
 */
export function knownLine(overview, line) {
  return overview.lines[line] ? line : -1;
}

/**
 * @param {LineColumns | null | undefined} columns
 * @param {string} judge `State.judge`
 * @returns {Float32Array | undefined} The IoU of the box that is judged, of each image.
 */
export function iousOf(columns, judge) {
  return judge === "top1" ? columns?.top1_iou : columns?.iou;
}

/**
 * @param {Overview} overview
 * @param {number} line
 * @returns {boolean} If true, the line has an IoU for each image, as lines with one box have.
 */
export function hasIous(overview, line) {
  return overview.runs[overview.lines[line]?.run]?.kind === "one_box";
}

/**
 * @param {Overview} overview
 * @returns {boolean} If true, no run has boxes: all protocols judge pixels.
 */
export function hasOnlyPixels({ runs }) {
  return runs.every(({ kind }) => kind === "pixels");
}

/**
 * @param {Overview} overview
 * @param {Readonly<State>} state
 * @returns {number} Model whose images are explored: that of the line, if the state names one.
 */
export function exploredModel(overview, state) {
  const line = overview.lines[state.line];
  if (line) return line.model;
  return overview.models[state.model] ? state.model : 0;
}

/**
 * Lines of a model that have results; those that the state shows, if it shows some of them.
 *
 * @param {Overview} overview
 * @param {Readonly<State>} state
 * @param {number} model
 * @returns {number[]}
 */
export function exploredLines(overview, state, model) {
  const every = overview.lines.map((_, n) => n).filter((n) => overview.lines[n].model === model);
  const usable = every.filter((n) => overview.lines[n].status === "ok");
  const wanted = new Set(state.lines.split(",").filter(Boolean).map(Number));
  const shown = usable.filter((n) => wanted.has(n));
  return shown.length ? shown : usable;
}

/**
 * @param {Overview} overview
 * @param {Readonly<State>} state
 * @returns {number} Line that outcomes, orders and heatmaps are of; -1 if the model has none.
 */
export function exploredLine(overview, state) {
  if (overview.lines[state.line]) return state.line;
  return exploredLines(overview, state, exploredModel(overview, state))[0] ?? -1;
}

/**
 * The line of another model that is the same method at the same layer, or -1.
 *
 * @param {Overview} overview
 * @param {number} line
 * @param {number} model
 * @returns {number}
 */
export function sameMethod(overview, line, model) {
  const wanted = overview.lines[line];
  if (!wanted) return -1;
  const same = overview.lines.findIndex((each) => each.model === model && each.name === wanted.name);
  if (same >= 0) return same;
  return overview.lines.findIndex((each) => each.model === model && each.method === wanted.method);
}

/**
 * The first of a class's words: "Siamese cat" of "Siamese cat, Siamese".
 *
 * @param {{wnid: string, words: string}} each
 * @returns {string} The wnid if a class has no words.
 */
export function shortWords({ wnid, words }) {
  return words.split(",")[0].trim() || wnid;
}

/**
 * The name of an image for a reader who does not see it.
 *
 * @param {ImageIndex} index
 * @param {number} image
 * @returns {string}
 */
export function imageName(index, image) {
  return `${shortWords(index.classes[index.label[image]])}, image ${index.ids[image]}`;
}

/**
 * @param {number | null | undefined} iou
 * @param {number | null} [least] Least IoU that is a hit.
 * @returns {string} "IoU 0.63"; empty if there is none.
 */
export function iouText(iou, least = null) {
  if (iou === null || iou === undefined || Number.isNaN(iou)) return "";
  // A miss of 0.4996 must not read as the 0.50 that is a hit.
  const rounded = least !== null && iou < least && Number(iou.toFixed(2)) >= least;
  return `IoU ${rounded ? (Math.floor(1000 * iou) / 1000).toFixed(3) : iou.toFixed(2)}`;
}

/**
 * @param {Overview} overview
 * @param {number} line
 * @returns {number | null} Least IoU that is a hit, in the run of a line.
 */
export function leastIouOf(overview, line) {
  return overview.runs[overview.lines[line]?.run]?.least_iou ?? null;
}
