// The data that stand in the page's own file. Each lies in a <script type="application/json"> of its
// own, which is parsed when it is asked for.

/** @import { Detail, ImageIndex, LineColumns, ModelColumns, Overview, Source, ThresholdCurve } from "./types" */

import { bytesOfBase64, inflateBytes } from "./bytes.js";

/**
 * @param {string} id
 * @returns {string} Text of a block of the file; empty if there is none.
 */
export function blockText(id) {
  return document.querySelector(`script#${id}`)?.textContent ?? "";
}

/** @returns {Overview} */
export function readOverview() {
  return parseBlock("overview");
}

/**
 * The source of a page whose file holds everything.
 *
 * @returns {Source}
 */
export function fileSource() {
  /** @type {Detail["taps"] | undefined} */
  let taps;
  /** @param {number} image */
  const picture = (image) => {
    const jpeg = blockText(`picture-${image}`);
    return jpeg && `data:image/jpeg;base64,${jpeg}`;
  };
  return {
    overview: readOverview(),
    index: async () => /** @type {ImageIndex} */ (decodeColumns(parseBlock("index"))),
    curves: async () => /** @type {ThresholdCurve[]} */ (parseBlock("curves")),
    model: async (model) => /** @type {ModelColumns} */ (decodeColumns(parseBlock(`model-${model}`))),
    line: async (line) => /** @type {LineColumns} */ (decodeColumns(parseBlock(`line-${line}`))),
    image: async (image) => {
      taps ??= parseBlock("taps"); // which all images share
      const json = new TextDecoder().decode(await inflateBytes(bytesOfBase64(requiredBlock(`image-${image}`))));
      return /** @type {Detail} */ ({ ...JSON.parse(json), taps });
    },
    thumbnail: picture,
    picture,
  };
}

/**
 * @param {string} id
 * @returns {any}
 */
function parseBlock(id) {
  return JSON.parse(requiredBlock(id));
}

/**
 * @param {string} id
 * @returns {string}
 */
function requiredBlock(id) {
  const text = blockText(id);
  if (!text) throw new Error(`this page has no part "${id}"`);
  return text;
}

/** The kinds of columns, by the name that Python gives them. */
const columnTypes = { u8: Uint8Array, i32: Int32Array, f32: Float32Array };

/**
 * An object with a typed array in place of every `{type: "u8" | "i32" | "f32", data: base64}`.
 *
 * The numbers are little-endian, as on every machine that has a browser.
 *
 * @param {Record<string, any>} json
 * @returns {any}
 */
export function decodeColumns(json) {
  const entries = Object.entries(json).map(([name, value]) => {
    const Column = columnTypes[/** @type {keyof typeof columnTypes} */ (value?.type)];
    return [name, Column ? new Column(bytesOfBase64(value.data).buffer) : value];
  });
  return Object.fromEntries(entries);
}
