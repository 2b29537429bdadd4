// From a stored map to a box, and to its IoU, at any threshold. Every step is that of the Python
// package, in the same order and with the same rounding, so the page's boxes are those of the tables
// to the last bit: scoring/upsampling.py, scoring/extrema.py, boxes/levels.py,
// boxes/component_kernel.py, geometry.py and scoring/frames.py.

/** @import { LocalizationMap, MapPlace, Placement, Rule, Taps } from "./types" */

import { bytesOfBase64, inflateBytes } from "./bytes.js";

/** @typedef {[number, number, number, number]} PixelBox x0, y0, x1, y1; half-open. */

/**
 * The values of all maps of an image, one map after the other.
 *
 * @param {string} pack `Detail.pack`
 * @returns {Promise<Float32Array>}
 */
export async function unpackMaps(pack) {
  const halves = new Uint16Array(await inflateBytes(bytesOfBase64(pack)));
  halfFloatValues ??= valuesOfHalfFloats();
  const values = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) values[i] = halfFloatValues[halves[i]];
  return values;
}

/** The value of each float16, by its bits. @type {Float32Array | undefined} */
let halfFloatValues;

function valuesOfHalfFloats() {
  return Float32Array.from({ length: 1 << 16 }, (_, bits) => {
    const sign = bits >> 15 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
  });
}

/**
 * @param {Float32Array} values `unpackMaps`
 * @param {MapPlace} place
 * @returns {LocalizationMap}
 */
export function mapAt(values, { first, height, width }) {
  return { values: values.subarray(first, first + height * width), height, width };
}

/**
 * The map at the size of the network's input, as the protocol rectifies and interpolates it.
 *
 * @param {LocalizationMap} map
 * @param {[number, number]} input Height and width of the network's input.
 * @param {Record<string, Taps>} taps `Detail.taps` of the run.
 * @param {Rule} rule
 * @returns {Float32Array}
 */
export function upsampledMap(map, input, taps, rule) {
  const [height, width] = input;
  const rows = decodedTaps(taps, map.height, height);
  const columns = decodedTaps(taps, map.width, width);
  const values = rectifiedBefore(map.values, rule);
  if (wideMap.length < map.height * width) wideMap = new Float32Array(map.height * width);
  for (let y = 0; y < map.height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let tap = x * columns.n; tap < (x + 1) * columns.n; tap++) {
        const weight = columns.weight[tap];
        if (weight === 0) continue;
        // float32 throughout: a product and a sum are rounded one after the other.
        const value = values[y * map.width + columns.sample[tap]];
        sum = Math.fround(sum + Math.fround(weight * value));
      }
      wideMap[y * width + x] = sum;
    }
  }
  const large = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let tap = y * rows.n; tap < (y + 1) * rows.n; tap++) {
      const weight = rows.weight[tap];
      if (weight === 0) continue;
      const from = rows.sample[tap] * width;
      for (let x = 0, to = y * width; x < width; x++, to++) {
        large[to] = Math.fround(large[to] + Math.fround(weight * wideMap[from + x]));
      }
    }
  }
  return rule.rectify === "after_upsampling" ? withoutNegative(large) : large;
}

/** A map that is as wide as the input, but not yet as high; kept from call to call. */
let wideMap = new Float32Array();

/** @typedef {{ n: number, sample: Int32Array, weight: Float32Array }} DecodedTaps */

/** @type {WeakMap<Taps, DecodedTaps>} */
const decodedTapsOf = new WeakMap();

/**
 * @param {Record<string, Taps>} taps
 * @param {number} before
 * @param {number} after
 * @returns {DecodedTaps}
 */
function decodedTaps(taps, before, after) {
  const encoded = taps[`${before}>${after}`];
  if (!encoded) throw new Error(`no weights to interpolate ${before} samples to ${after}`);
  let decoded = decodedTapsOf.get(encoded);
  if (!decoded) {
    decoded = {
      n: encoded.n,
      sample: new Int32Array(bytesOfBase64(encoded.sample).buffer),
      weight: new Float32Array(bytesOfBase64(encoded.weight).buffer),
    };
    decodedTapsOf.set(encoded, decoded);
  }
  return decoded;
}

/**
 * @param {Float32Array} values
 * @param {Rule} rule
 * @returns {Float32Array}
 */
function rectifiedBefore(values, rule) {
  return rule.rectify === "before_upsampling" ? withoutNegative(values) : values;
}

/**
 * @param {Float32Array} values
 * @returns {Float32Array}
 */
function withoutNegative(values) {
  return values.map((value) => Math.max(value, 0));
}

/**
 * The box of the largest component of the pixels that reach a threshold.
 *
 * @param {LocalizationMap} map
 * @param {Float32Array} large `upsampledMap`
 * @param {Placement} placement
 * @param {Rule} rule
 * @param {number} threshold
 * @returns {PixelBox | null} In pixels of the original image; null if there is none.
 */
export function boxAtThreshold(map, large, placement, rule, threshold) {
  if (rule.extractor !== "components") throw new Error("boxes of contours are not computed here");
  const level = levelAt(map, large, rule, threshold);
  if (Number.isNaN(level)) return null;
  const [height, width] = placement.input;
  const reach = rule.connectivity === 8 ? 1 : 0;
  const nRuns = findRuns(large, height, width, level, rule.comparison === "above", reach);
  const box = boxOfLargestTree(nRuns);
  return box && boxInOriginal(box, placement);
}

/**
 * The value at which a map is cut; NaN if the map has no box.
 *
 * @param {LocalizationMap} map
 * @param {Float32Array} large
 * @param {Rule} rule
 * @param {number} threshold
 * @returns {number}
 */
export function levelAt(map, large, rule, threshold) {
  const [low, high] = extremaOfMap(map, large, rule);
  if (rule.of === "range") return low + threshold * (high - low);
  return high > 0 ? threshold * high : NaN;
}

/**
 * The extrema of each map that its levels are fractions of, by the map at the input's size: they are
 * the same at every threshold.
 *
 * @type {WeakMap<Float32Array, [number, number]>}
 */
const extremaOfLargeMaps = new WeakMap();

/**
 * @param {LocalizationMap} map
 * @param {Float32Array} large
 * @param {Rule} rule
 * @returns {[number, number]} NaN if a value of the map is not finite.
 */
function extremaOfMap(map, large, rule) {
  const known = extremaOfLargeMaps.get(large);
  if (known) return known;
  const measured = rule.measured_on === "upsampled" ? large : rectifiedBefore(map.values, rule);
  let [low, high] = map.values.every(Number.isFinite) ? [Infinity, -Infinity] : [NaN, NaN];
  for (let i = 0; i < measured.length; i++) {
    if (measured[i] < low) low = measured[i];
    if (measured[i] > high) high = measured[i];
  }
  extremaOfLargeMaps.set(large, [low, high]);
  return [low, high];
}

// A run is a stretch of pixels in one row that reach the level. Runs are numbered in raster order; a
// component is a tree of runs, whose root is its first run. The arrays have one entry a run.
let mostRuns = 0;
let runFirst = new Int32Array();
let runLast = new Int32Array();
let runRow = new Int32Array();
let runParent = new Int32Array();
let treeSize = new Int32Array();
let treeX0 = new Int32Array();
let treeX1 = new Int32Array();
let treeY1 = new Int32Array();

/** @param {number} most */
function makeRoomForRuns(most) {
  if (most <= mostRuns) return;
  mostRuns = most;
  [runFirst, runLast, runRow, runParent] = Array.from({ length: 4 }, () => new Int32Array(most));
  [treeSize, treeX0, treeX1, treeY1] = Array.from({ length: 4 }, () => new Int32Array(most));
}

/**
 * Fills the arrays of runs, joins the runs that touch, and returns the number of runs.
 *
 * @param {Float32Array} values
 * @param {number} height
 * @param {number} width
 * @param {number} level
 * @param {boolean} above Whether a pixel must be above the level, not only at it.
 * @param {number} reach Columns by which pixels of neighboring rows may be apart and still touch.
 * @returns {number}
 */
function findRuns(values, height, width, level, above, reach) {
  makeRoomForRuns(height * ((width + 1) >> 1));
  let nRuns = 0;
  let rowAbove = 0; // first run of the row above
  for (let y = 0; y < height; y++) {
    const start = nRuns;
    const row = y * width;
    for (let x = 0; x < width; x++) {
      const value = values[row + x];
      if (above ? !(value > level) : !(value >= level)) continue;
      if (nRuns > start && runLast[nRuns - 1] === x - 1) {
        runLast[nRuns - 1] = x;
        continue;
      }
      runFirst[nRuns] = runLast[nRuns] = x;
      runRow[nRuns] = y;
      runParent[nRuns] = nRuns;
      nRuns++;
    }
    joinRows(rowAbove, start, nRuns, reach);
    rowAbove = start;
  }
  return nRuns;
}

/**
 * Joins the runs `upper` to `start` of a row and the runs up to `end` of the next row.
 *
 * @param {number} upper
 * @param {number} start
 * @param {number} end
 * @param {number} reach
 */
function joinRows(upper, start, end, reach) {
  let lower = start;
  while (upper < start && lower < end) {
    if (
      runFirst[upper] <= runLast[lower] + reach &&
      runFirst[lower] <= runLast[upper] + reach
    ) {
      const upperRoot = rootOfRun(upper);
      const lowerRoot = rootOfRun(lower);
      runParent[Math.max(upperRoot, lowerRoot)] = Math.min(upperRoot, lowerRoot);
    }
    if (runLast[upper] < runLast[lower]) upper++;
    else lower++;
  }
}

/** @param {number} run */
function rootOfRun(run) {
  while (runParent[run] !== run) {
    runParent[run] = runParent[runParent[run]];
    run = runParent[run];
  }
  return run;
}

/**
 * The box of the tree with most pixels, the first of several, in pixels of the input.
 *
 * @param {number} nRuns
 * @returns {PixelBox | null} Null if there is no run.
 */
function boxOfLargestTree(nRuns) {
  let best = -1;
  for (let run = 0; run < nRuns; run++) {
    const root = rootOfRun(run);
    if (root === run) {
      treeSize[run] = 0;
      treeX0[run] = runFirst[run];
      treeX1[run] = runLast[run];
    }
    treeSize[root] += runLast[run] - runFirst[run] + 1;
    treeX0[root] = Math.min(treeX0[root], runFirst[run]);
    treeX1[root] = Math.max(treeX1[root], runLast[run]);
    treeY1[root] = runRow[run];
  }
  for (let run = 0; run < nRuns; run++) {
    if (runParent[run] === run && (best < 0 || treeSize[run] > treeSize[best])) best = run;
  }
  return best < 0 ? null : [treeX0[best], runRow[best], treeX1[best] + 1, treeY1[best] + 1];
}

/**
 * @param {PixelBox} box In pixels of the network's input.
 * @param {Placement} placement
 * @returns {PixelBox} In pixels of the original image.
 */
function boxInOriginal(box, { original, resized, offset }) {
  /** @type {(at: number, axis: 0 | 1) => number} */
  const corner = (at, axis) => ((at + offset[axis]) * original[axis]) / resized[axis];
  return [corner(box[0], 1), corner(box[1], 0), corner(box[2], 1), corner(box[3], 0)];
}

/**
 * The best IoU of a map's box with a ground-truth box, in the protocol's frame.
 *
 * @param {PixelBox | null} box `boxAtThreshold`
 * @param {number[][]} truth `Detail.truth` of the run.
 * @param {Placement} placement
 * @param {Rule} rule
 * @returns {number} 0 without a box.
 */
export function bestIouOf(box, truth, placement, rule) {
  if (!box) return 0;
  const compared = rule.frame === "original" ? box : boxInInput(box, placement);
  return truth.reduce((best, other) => Math.max(best, boxIou(compared, other)), 0);
}

/**
 * The inverse of `boxInOriginal`: the corners of a map's box are whole pixels of the input, so that
 * rounding gives them back exactly.
 *
 * @param {PixelBox} box
 * @param {Placement} placement
 * @returns {PixelBox}
 */
function boxInInput(box, { original, resized, offset }) {
  /** @type {(at: number, axis: 0 | 1) => number} */
  const corner = (at, axis) => Math.round((at * resized[axis]) / original[axis]) - offset[axis];
  return [corner(box[0], 1), corner(box[1], 0), corner(box[2], 1), corner(box[3], 0)];
}

/**
 * @param {number[]} first
 * @param {number[]} second
 * @returns {number} Intersection over union; 0 for boxes that share nothing.
 */
function boxIou(first, second) {
  const width = Math.min(first[2], second[2]) - Math.max(first[0], second[0]);
  const height = Math.min(first[3], second[3]) - Math.max(first[1], second[1]);
  if (!(width > 0 && height > 0)) return 0;
  const shared = width * height;
  return shared / (boxArea(first) + boxArea(second) - shared);
}

/** @param {number[]} box */
function boxArea([x0, y0, x1, y1]) {
  return (x1 - x0) * (y1 - y0);
}
