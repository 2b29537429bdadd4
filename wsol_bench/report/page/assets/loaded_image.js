// An image with its maps, unpacked: what cards and the large view draw.

/** @import { Detail, Mask, Overview, Rule, Source } from "./types" */

import { bytesOfBase64, inflateBytes } from "./bytes.js";
import { heatPicture } from "./heatmap.js";
import { mapAt, unpackMaps, upsampledMap } from "./map.js";
import { regionOutline } from "./outline.js";

/**
 * @typedef {object} LoadedImage
 * @property {Detail} detail Without its pack, which is in `values`, and without its masks.
 * @property {Float32Array} values Values of all maps.
 * @property {Map<number, Float32Array>} large Maps at the size of the network's input, by row.
 * @property {Map<number, HTMLCanvasElement>} heats Heatmaps, by row.
 * @property {(MaskOutline | null)[]} masks The ground-truth masks, by run, in pixels of the input.
 */

/**
 * @typedef {object} MaskOutline
 * @property {Path2D} object The edge of the object.
 * @property {Path2D} ignored The edge of the pixels that count neither as object nor as background.
 * @property {string} problem Why there is no mask; empty if there is one.
 */

/**
 * @param {Source} source
 * @param {number} image
 * @returns {Promise<LoadedImage>}
 */
export async function loadImage(source, image) {
  const detail = await source.image(image);
  const values = await unpackMaps(detail.pack);
  const masks = await Promise.all(detail.masks.map((mask) => mask && maskOutline(mask)));
  return { detail: { ...detail, pack: "", masks: [] }, values, large: new Map(), heats: new Map(), masks };
}

/**
 * @param {Mask} mask
 * @returns {Promise<MaskOutline>}
 */
async function maskOutline({ height, width, pack, problem }) {
  if (problem) return { object: new Path2D(), ignored: new Path2D(), problem };
  const mask = new Uint8Array(await inflateBytes(bytesOfBase64(pack)));
  /** @param {number} kind */
  const edgeOf = (kind) => regionOutline(Float32Array.from(mask, (value) => Number(value === kind)), [height, width], 0.5, "at_least");
  return { object: edgeOf(1), ignored: edgeOf(255), problem };
}

/**
 * @param {LoadedImage} loaded
 * @returns {number} About how many bytes of memory the image takes now.
 */
export function bytesOfImage({ detail, values, large, heats }) {
  let bytes = values.byteLength + 1000 * detail.rows.length; // a row has texts and tens of numbers
  for (const map of large.values()) bytes += map.byteLength;
  for (const heat of heats.values()) bytes += 4 * heat.width * heat.height;
  return bytes;
}

/**
 * The row of a line for a class slot.
 *
 * @param {Detail} detail
 * @param {number} line
 * @param {number} slot Rank of the class; 0 for the label.
 * @returns {number} Position in `detail.rows`; -1 if there is none.
 */
export function rowOfSlot(detail, line, slot) {
  return detail.rows.findIndex((row) => row.line === line && (slot ? row.rank === slot : row.is_judged));
}

/** The rule by which maps are shown where none takes boxes from them. @type {Rule} */
const bareMap = {
  threshold: null, of: "maximum", measured_on: "upsampled", comparison: "at_least", connectivity: 8,
  extractor: "components", component: "largest", rectify: "never", frame: "original",
};

/**
 * The map of a row at the size of the network's input, as the box rule sees it.
 *
 * @param {Overview} overview
 * @param {LoadedImage} loaded
 * @param {number} row
 * @returns {Float32Array | null} null if the row has no map, or only a smaller picture of it.
 */
export function largeMapOf(overview, loaded, row) {
  const { detail, large } = loaded;
  const place = detail.rows[row]?.map;
  const run = overview.lines[detail.rows[row]?.line]?.run;
  const placement = detail.placements[run];
  if (!place || place.reduced || !placement) return null;
  let values = large.get(row);
  if (!values) {
    const rule = overview.runs[run].rule ?? bareMap;
    values = upsampledMap(mapAt(loaded.values, place), placement.input, detail.taps[run], rule);
    large.set(row, values);
  }
  return values;
}

/**
 * The heatmap of a row.
 *
 * @param {Overview} overview
 * @param {LoadedImage} loaded
 * @param {number} row
 * @returns {HTMLCanvasElement | null} null if the row has no map.
 */
export function heatOfRow(overview, loaded, row) {
  const ready = loaded.heats.get(row);
  if (ready) return ready;
  const place = loaded.detail.rows[row]?.map;
  const placement = placementOfRow(overview, loaded.detail, row);
  if (!place || !placement) return null;
  const large = largeMapOf(overview, loaded, row);
  const map = mapAt(loaded.values, place);
  const heat = large ? heatPicture(large, ...placement.input) : heatPicture(map.values, map.height, map.width);
  loaded.heats.set(row, heat);
  return heat;
}

/**
 * @param {Overview} overview
 * @param {Detail} detail
 * @param {number} row
 */
export function placementOfRow(overview, detail, row) {
  return detail.placements[overview.lines[detail.rows[row]?.line]?.run] ?? null;
}

/**
 * @param {Overview} overview
 * @param {LoadedImage} loaded
 * @param {number} row
 * @returns {MaskOutline | null} The mask that the row's map is scored by, if it is one.
 */
export function maskOfRow(overview, { detail, masks }, row) {
  return masks[overview.lines[detail.rows[row]?.line]?.run] ?? null;
}

/**
 * Forgets all that can be made again, so that images that wait in memory are small.
 *
 * @param {LoadedImage} loaded
 */
export function forgetLarge(loaded) {
  loaded.large.clear();
  loaded.heats.clear();
}
