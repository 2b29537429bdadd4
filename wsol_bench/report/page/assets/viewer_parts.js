// Parts of the large view: the classes of an image, the numbers of a row, and one method's picture.

/** @import { DetailRow, ImageIndex, Overview, Source } from "./types" */
/** @import { LoadedImage } from "./loaded_image.js" */
/** @import { ShownResult } from "./shown_result.js" */
/** @import { State } from "./state.js" */

import { h } from "./dom.js";
import { imageName, iouText } from "./explored.js";
import { fittedSize } from "./grid.js";
import { heatOfRow, maskOfRow, placementOfRow } from "./loaded_image.js";
import { fewDigits } from "./numbers.js";
import { drawOverlay, hitSign } from "./overlay.js";
import { setState } from "./state.js";

/**
 * The classes of an image that have maps, best prediction first.
 *
 * @param {Overview} overview
 * @param {LoadedImage} loaded
 * @param {number} model
 * @param {Readonly<State>} state
 * @returns {HTMLElement}
 */
export function classTable(overview, loaded, model, state) {
  /** @type {Map<number, DetailRow>} */
  const ofRank = new Map();
  for (const row of loaded.detail.rows) {
    if (overview.lines[row.line].model === model && !ofRank.has(row.rank)) ofRank.set(row.rank, row);
  }
  // A method without a network gives the label no rank, which a prediction file may give one.
  const ranked = new Set([...ofRank.values()].filter(({ rank }) => rank).map((row) => row.class));
  const rows = [...ofRank.values()].filter((row) => row.rank || !ranked.has(row.class)).sort((a, b) => a.rank - b.rank);
  const chosen = rows.find((row) => (state.slot ? row.rank === state.slot : row.is_label));
  return h(
    "table",
    { class: "classes" },
    h("thead", {}, h("tr", {}, ["rank", "class", "probability"].map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, rows.map((row) => classLine(row, row === chosen))),
  );
}

/**
 * @param {DetailRow} row
 * @param {boolean} chosen
 */
function classLine(row, chosen) {
  const choose = () => setState({ slot: row.is_label ? 0 : row.rank });
  const share = row.score ?? 0;
  return h(
    "tr",
    { class: chosen ? "chosen" : "", onclick: choose },
    h("td", {}, row.rank || "–"),
    h(
      "td",
      {},
      h(
        "button",
        { type: "button", class: "class-name", "aria-pressed": String(chosen), title: `Show the maps of this class (key ${row.is_label ? 0 : row.rank})` },
        row.words || row.class,
      ),
      h("span", { class: "muted wnid" }, row.class),
      row.is_label && h("span", { class: "badge" }, "label"),
    ),
    h(
      "td",
      { class: "score" },
      h("span", { class: "score-bar", "aria-hidden": "true" }, h("span", { style: { width: `${100 * share}%` } })),
      h("span", {}, row.score === null ? "–" : `${(100 * row.score).toFixed(1)}%`),
    ),
  );
}

/**
 * Numbers of a row.
 *
 * @param {DetailRow | null} row
 * @returns {HTMLElement | null}
 */
export function rowNumbers(row) {
  const numbers = Object.entries(row?.values ?? {});
  if (!numbers.length) return null;
  const pairs = numbers.map(([name, value]) =>
    h("div", {}, h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, Number.isFinite(value) ? fewDigits(value, 4) : "–")),
  );
  return h("div", {}, h("h3", {}, "Numbers of this map"), h("dl", { class: "row-numbers" }, pairs));
}

/**
 * A picture with an overlay.
 *
 * @param {Source} source
 * @param {"thumbnail" | "picture"} quality
 */
export function overlaidPicture(source, quality) {
  const image = h("img", { alt: "", draggable: "false" });
  const canvas = h("canvas", { class: "over", role: "img", "aria-label": "" });
  const missing = h("span", { class: "no-picture", hidden: true });
  const element = h("span", { class: "stage" }, image, missing, canvas);
  let shown = -1;
  return {
    element,
    /**
     * @param {ImageIndex} index
     * @param {number} number
     * @param {[number, number]} most Width and height that it may have.
     */
    setImage(index, number, most) {
      const [width, height] = fittedSize(index.width[number], index.height[number], ...most);
      Object.assign(element.style, { width: `${width}px`, height: `${height}px` });
      if (shown === number) return;
      shown = number;
      const address = source[quality](number);
      image.hidden = !address;
      missing.hidden = Boolean(address);
      missing.textContent = "no picture";
      image.alt = imageName(index, number);
      if (address) image.src = address;
      canvas.width = 1;
      canvas.setAttribute("aria-label", "loading");
    },
    /**
     * @param {Overview} overview
     * @param {ImageIndex} index
     * @param {LoadedImage} loaded
     * @param {number} row Position in the image's rows; -1 for none.
     * @param {ShownResult | null} result
     * @param {Readonly<State>} state
     */
    paint(overview, index, loaded, row, result, state) {
      const { detail } = loaded;
      const large = quality === "picture";
      if (large && detail.no_picture && !missing.hidden) missing.textContent = detail.no_picture;
      drawOverlay(canvas, parseFloat(element.style.width), parseFloat(element.style.height), {
        height: index.height[detail.image],
        width: index.width[detail.image],
        heat: state.heat ? heatOfRow(overview, loaded, row) : null,
        placement: placementOfRow(overview, detail, row),
        opacity: state.opacity,
        region: state.boxes ? (result?.region ?? null) : null,
        truth: state.boxes ? detail.boxes : [],
        mask: state.boxes ? maskOfRow(overview, loaded, row) : null,
        box: (state.boxes && result?.box) || null,
        hit: result?.hit ?? null,
        named: large,
        tag: large && result ? iouText(result.iou, result.least) : "",
      });
      const line = overview.lines[detail.rows[row]?.line];
      const words = [imageName(index, detail.image), line?.name, result && iouText(result.iou, result.least), result?.words];
      canvas.setAttribute("aria-label", words.filter(Boolean).join(", "));
    },
  };
}

/**
 * The picture of a method, with its result, as a button that shows it large.
 *
 * @param {Source} source
 * @param {number} line
 */
export function methodTile(source, line) {
  const { overview } = source;
  const { name, layer } = overview.lines[line];
  const picture = overlaidPicture(source, "thumbnail");
  const words = h("span", { class: "tile-result" });
  const button = h(
    "button",
    { class: "tile", type: "button", title: layer ? `${name}, layer ${layer}` : name },
    h("span", { class: "tile-frame" }, picture.element),
    h("span", { class: "tile-name" }, name),
    words,
  );
  button.addEventListener("click", () => setState({ line }));
  return {
    element: button,
    line,
    /**
     * @param {ImageIndex} index
     * @param {number} image
     * @param {[number, number]} most
     */
    setImage(index, image, most) {
      picture.setImage(index, image, most);
    },
    /**
     * @param {ImageIndex} index
     * @param {LoadedImage} loaded
     * @param {ShownResult | null} result
     * @param {Readonly<State>} state
     * @param {boolean} active
     */
    paint(index, loaded, result, state, active) {
      const row = result ? loaded.detail.rows.indexOf(result.row) : -1;
      picture.paint(overview, index, loaded, row, result, state);
      button.setAttribute("aria-pressed", String(active));
      words.replaceChildren(...tileWords(result));
    },
  };
}

export const reducedWords = "This page has a smaller picture of the map, so its box stays that of its own threshold.";

/**
 * @param {ShownResult | null} result
 * @returns {HTMLElement[]}
 */
function tileWords(result) {
  if (!result) return [h("span", { class: "muted" }, "no map of this class")];
  const color = result.hit === null ? "muted" : result.hit ? "hit" : "miss";
  const words = [
    h("span", { class: color }, `${hitSign(result.hit)} ${result.words}`.trim()),
    h("span", { class: "muted" }, iouText(result.iou, result.least)),
  ];
  if (result.row.map?.reduced) words.push(h("span", { class: "muted no-map", title: reducedWords }, "map shown smaller"));
  else if (result.row.no_map) words.push(h("span", { class: "muted no-map", title: result.row.no_map }, result.row.no_map));
  return words;
}
