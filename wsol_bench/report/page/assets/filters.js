// The choice and the order of the images that the explorer shows: pure functions of columns, quick
// enough to run at every key stroke for 50,000 images.

/** @import { ImageIndex, LineColumns, ModelColumns, Overview } from "./types" */
/** @import { State } from "./state.js" */

import { hasIous, hasOnlyPixels, iousOf, knownLine } from "./explored.js";

/**
 * The question that a state asks, in positions instead of names.
 *
 * @typedef {object} ImageQuery
 * @property {"gt_known" | "top1"} judge
 * @property {number} line Line that outcomes and IoU are of; -1 for none.
 * @property {number[]} outcomes Outcomes that are kept, as positions in Overview.outcomes; empty for all.
 * @property {number} hit Position of the outcome "hit"; -1 if there is none.
 * @property {number} a First line of the pair; -1 for none.
 * @property {number} b Second line of the pair; -1 for none.
 * @property {boolean} split If true, only images are kept that `a` hits and `b` misses.
 * @property {string} wnid Label that is kept; empty for all.
 * @property {[number, number] | null} size Sizes that are kept, from the first to below the second.
 * @property {string} text
 * @property {string} flag
 * @property {string} sort
 */

/**
 * Edges of the bins of object sizes, as fractions of the image, for pages without the table `by_size`:
 * SIZE_EDGES of wsol_bench/metrics/breakdown.py.
 */
const sizeEdges = [0, 0.01, 0.04, 0.09, 0.16, 0.25, 0.36, 0.49, 0.64, 0.81, 1];

/** Flags that images can be filtered by; `ofBoxes` if they mean something only where there are boxes. */
export const imageFlags = [
  { name: "", title: "all images" },
  { name: "counted", title: "counted in the error" },
  { name: "blacklisted", title: "blacklisted" },
  { name: "held_out", title: "held out for thresholds" },
  { name: "several", title: "several objects", ofBoxes: true },
  { name: "no_box", title: "no box of the label", ofBoxes: true },
  { name: "right", title: "first prediction right" },
  { name: "wrong", title: "first prediction wrong" },
];

/** Orders of the images; `needs` names the results that an order needs besides images and model. */
export const imageOrders = [
  { name: "", title: "as in the run", needs: "" },
  { name: "iou", title: "IoU, lowest first", needs: "iou" },
  { name: "iou-down", title: "IoU, highest first", needs: "iou" },
  { name: "difference-down", title: "IoU of A minus B, highest first", needs: "pair" },
  { name: "difference", title: "IoU of A minus B, lowest first", needs: "pair" },
  { name: "confidence", title: "confidence in the label, lowest first", needs: "" },
  { name: "confidence-down", title: "confidence in the label, highest first", needs: "" },
  { name: "size", title: "object size, smallest first", needs: "boxes" },
  { name: "size-down", title: "object size, largest first", needs: "boxes" },
];

/**
 * The query that a state asks. Names that the page does not know keep everything.
 *
 * @param {Readonly<State>} state
 * @param {Overview} overview
 * @param {number} line Line that the state is about, where the state leaves it open.
 * @returns {ImageQuery}
 */
export function imageQuery(state, overview, line) {
  const names = overview.outcomes.map((outcome) => outcome.name);
  const wanted = state.outcome ? state.outcome.split(",") : [];
  return {
    judge: state.judge === "top1" ? "top1" : "gt_known",
    line: knownLine(overview, line),
    outcomes: wanted.map((name) => names.indexOf(name)).filter((code) => code >= 0),
    hit: names.indexOf("hit"),
    a: knownLine(overview, state.a),
    b: knownLine(overview, state.b),
    split: state.pair !== "all",
    wnid: state.class,
    size: sizeRange(state.size),
    text: state.text.trim().toLowerCase(),
    flag: state.flag,
    sort: state.sort,
  };
}

/**
 * The orders that a query can ask for: a line under a sweep or on pixels has no IoU to sort by.
 *
 * @param {Overview} overview
 * @param {ImageQuery} query
 * @returns {{name: string, title: string}[]}
 */
export function possibleOrders(overview, { line, a, b }) {
  /** @type {Record<string, boolean>} */
  const there = { iou: hasIous(overview, line), pair: hasIous(overview, a) && hasIous(overview, b), boxes: !hasOnlyPixels(overview) };
  return imageOrders.filter(({ needs }) => !needs || there[needs]);
}

/**
 * The bins of object sizes that the page's tables have, as "low-high"; all bins if there are no tables.
 *
 * @param {Overview} overview
 * @returns {string[]}
 */
export function sizeBins(overview) {
  const bins = new Set(overview.charts.by_size.map(({ bin }) => bin));
  if (!bins.size) return sizeEdges.slice(1).map((high, n) => `${sizeEdges[n]}-${high}`);
  return [...bins].sort((a, b) => parseFloat(a) - parseFloat(b));
}

/**
 * @param {ImageQuery} query
 * @returns {number[]} Lines whose columns the query needs.
 */
export function linesOfQuery(query) {
  return [...new Set([query.line, query.a, query.b])].filter((line) => line >= 0);
}

/**
 * @param {string} text "low-high", as in "0.01-0.04"
 * @returns {[number, number] | null}
 */
export function sizeRange(text) {
  const [low, high] = text.split("-").map(Number);
  return text && Number.isFinite(low) && Number.isFinite(high) ? [low, high] : null;
}

/**
 * Images that the query keeps, in its order.
 *
 * Images that have no number to sort by come last; equal images stay in the order of the run.
 *
 * @param {ImageIndex} index
 * @param {ModelColumns} model
 * @param {ReadonlyMap<number, LineColumns>} lines Columns of `linesOfQuery(query)`.
 * @param {ImageQuery} query
 * @returns {Int32Array}
 */
export function filterImages(index, model, lines, query) {
  const kept = keptButOutcome(index, model, lines, query);
  const outcomes = outcomesOf(lines, query);
  if (outcomes && query.outcomes.length) {
    const wanted = new Uint8Array(256);
    for (const code of query.outcomes) wanted[code] = 1;
    for (let n = 0; n < kept.length; n++) kept[n] &= wanted[outcomes[n]];
  }
  return sortImages(positionsOf(kept), orderKeys(index, model, lines, query), query.sort.endsWith("-down"));
}

/**
 * Counts the images that have each outcome, among those that all other filters keep.
 *
 * @param {ImageIndex} index
 * @param {ModelColumns} model
 * @param {ReadonlyMap<number, LineColumns>} lines
 * @param {ImageQuery} query
 * @returns {Int32Array} By outcome; 255 counts images without one.
 */
export function countOutcomes(index, model, lines, query) {
  const counts = new Int32Array(256);
  const outcomes = outcomesOf(lines, query);
  if (!outcomes) return counts;
  const kept = keptButOutcome(index, model, lines, query);
  for (let n = 0; n < kept.length; n++) counts[outcomes[n]] += kept[n];
  return counts;
}

/**
 * 1 for each image that all filters but the outcomes keep.
 *
 * @param {ImageIndex} index
 * @param {ModelColumns} model
 * @param {ReadonlyMap<number, LineColumns>} lines
 * @param {ImageQuery} query
 * @returns {Uint8Array}
 */
function keptButOutcome(index, model, lines, query) {
  const kept = Uint8Array.from(model.evaluated);
  if (query.wnid || query.text) {
    const { ofId, ofClass } = searchedTexts(index);
    const { text, wnid } = query;
    const inClass = index.classes.map((each) => !wnid || each.wnid === wnid);
    const textInClass = ofClass.map((each) => each.includes(text));
    for (let n = 0; n < kept.length; n++) {
      const label = index.label[n];
      if (!inClass[label] || !(textInClass[label] || ofId[n].includes(text))) kept[n] = 0;
    }
  }
  if (query.size) {
    const [low, high] = query.size;
    // The last bin includes its upper edge. Sizes are float32, and so must the edges be.
    const [from, to] = [Math.fround(low), high >= 1 ? Infinity : Math.fround(high)];
    for (let n = 0; n < kept.length; n++) {
      if (!index.n_boxes[n] || index.size[n] < from || index.size[n] >= to) kept[n] = 0;
    }
  }
  keepFlagged(kept, index, model, lines.get(query.line), query.flag);
  if (query.split) keepPair(kept, lines, query);
  return kept;
}

/**
 * @param {Uint8Array} kept
 * @param {ImageIndex} index
 * @param {ModelColumns} model
 * @param {LineColumns | undefined} line The line that is judged.
 * @param {string} flag
 */
function keepFlagged(kept, index, model, line, flag) {
  /** @type {Record<string, (n: number) => boolean | number>} */
  const tests = {
    counted: (n) => line?.counted[n] ?? 0,
    blacklisted: (n) => index.blacklisted[n],
    held_out: (n) => model.held_out[n],
    several: (n) => index.n_boxes[n] > 1,
    no_box: (n) => index.n_boxes[n] === 0,
    right: (n) => model.top1[n] === index.label[n],
    wrong: (n) => model.top1[n] >= 0 && model.top1[n] !== index.label[n],
  };
  if (!Object.hasOwn(tests, flag)) return;
  const test = tests[flag];
  for (let n = 0; n < kept.length; n++) if (!test(n)) kept[n] = 0;
}

/**
 * Keeps images that line a hits and line b misses; with one of the two, what that one says.
 *
 * @param {Uint8Array} kept
 * @param {ReadonlyMap<number, LineColumns>} lines
 * @param {ImageQuery} query
 */
function keepPair(kept, lines, query) {
  const right = lines.get(query.a)?.[query.judge];
  const wrong = lines.get(query.b)?.[query.judge];
  for (let n = 0; n < kept.length; n++) {
    if (right && right[n] !== query.hit) kept[n] = 0;
    if (wrong && (wrong[n] === query.hit || wrong[n] === 255)) kept[n] = 0;
  }
}

/**
 * @param {ReadonlyMap<number, LineColumns>} lines
 * @param {ImageQuery} query
 * @returns {Uint8Array | undefined}
 */
function outcomesOf(lines, query) {
  return lines.get(query.line)?.[query.judge];
}

/**
 * @param {Uint8Array} kept
 * @returns {Int32Array}
 */
function positionsOf(kept) {
  const positions = new Int32Array(kept.length);
  let count = 0;
  for (let n = 0; n < kept.length; n++) if (kept[n]) positions[count++] = n;
  return positions.subarray(0, count);
}

/**
 * The number by which images are sorted, of every image; null for the order of the run.
 *
 * @param {ImageIndex} index
 * @param {ModelColumns} model
 * @param {ReadonlyMap<number, LineColumns>} lines
 * @param {ImageQuery} query
 * @returns {Float32Array | null}
 */
function orderKeys(index, model, lines, query) {
  const name = query.sort.replace(/-down$/, "");
  if (name === "iou") return iousOf(lines.get(query.line), query.judge) ?? null;
  if (name === "confidence") return model.label_score;
  if (name === "size") return index.size.map((size, n) => (index.n_boxes[n] ? size : NaN));
  const first = iousOf(lines.get(query.a), query.judge);
  const second = iousOf(lines.get(query.b), query.judge);
  if (name !== "difference" || !first || !second) return null;
  return first.map((iou, n) => iou - second[n]);
}

/**
 * Images by ascending or descending keys, stable, NaN last.
 *
 * Sorting numbers without a comparing function is many times as fast as with one. So the bits of a
 * key, in an order that integers share, and the image's place are one number of 53 bits.
 *
 * @param {Int32Array} images
 * @param {Float32Array | null} keys By image.
 * @param {boolean} down
 * @returns {Int32Array}
 */
function sortImages(images, keys, down) {
  if (!keys) return images;
  const places = 2 ** 21;
  const value = new Float32Array(1);
  const bits = new Uint32Array(value.buffer);
  const packed = new Float64Array(images.length);
  for (let place = 0; place < images.length; place++) {
    value[0] = keys[images[place]] + 0; // -0 becomes 0
    const ascending = (bits[0] >>> 31 ? ~bits[0] : bits[0] | 0x80000000) >>> 0;
    const rank = Number.isNaN(value[0]) ? 0xffffffff : down ? ~ascending >>> 0 : ascending;
    packed[place] = rank * places + place;
  }
  packed.sort();
  return Int32Array.from(packed, (both) => images[both % places]);
}

/** @type {WeakMap<ImageIndex, {ofId: string[], ofClass: string[]}>} */
const searchedTextsOf = new WeakMap();

/**
 * The texts that the search looks into, in lower case, made once for all searches.
 *
 * @param {ImageIndex} index
 */
function searchedTexts(index) {
  let texts = searchedTextsOf.get(index);
  if (!texts) {
    texts = {
      ofId: index.ids.map((id) => id.toLowerCase()),
      ofClass: index.classes.map((each) => `${each.wnid} ${each.words}`.toLowerCase()),
    };
    searchedTextsOf.set(index, texts);
  }
  return texts;
}
