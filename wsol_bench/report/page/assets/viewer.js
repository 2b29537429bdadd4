// One image large: its heatmap and boxes by the chosen method, all methods side by side, and the
// threshold as a slider.

/** @import { ImageIndex, Overview, Source } from "./types" */
/** @import { GridView, Loader } from "./grid.js" */
/** @import { LoadedImage } from "./loaded_image.js" */
/** @import { State } from "./state.js" */

import { h, replaceChildren } from "./dom.js";
import { exploredLines, hasOnlyPixels, imageName, iouText, shortWords } from "./explored.js";
import { copyLinkButton } from "./explorer_buttons.js";
import { addShortcuts } from "./keys.js";
import { forgetLarge, maskOfRow, rowOfSlot } from "./loaded_image.js";
import { countText, modelTitle } from "./numbers.js";
import { hitSign, overlayLegend } from "./overlay.js";
import { shownResult } from "./shown_result.js";
import { getState, onState, setState } from "./state.js";
import { thresholdControls } from "./threshold_controls.js";
import { classTable, methodTile, overlaidPicture, reducedWords, rowNumbers } from "./viewer_parts.js";

/**
 * The large view, which opens and closes as the state says.
 *
 * @param {Source} source
 * @param {Loader} loader
 * @param {(image: number) => void} onClosed Called with the image that was open.
 */
export function imageViewer(source, loader, onClosed) {
  const { overview } = source;
  const title = h("h2", { tabindex: "-1", autofocus: true });
  const facts = h("p", { class: "muted viewer-facts" });
  const place = h("span", { class: "muted viewer-place" });
  const notice = h("p", { class: "viewer-notice", role: "status" });
  const picture = overlaidPicture(source, "picture");
  const stage = h("div", { class: "viewer-stage" }, picture.element);
  const result = h("div", { class: "viewer-result", "aria-live": "polite" });
  const controls = thresholdControls(overview);
  const classes = h("div", { class: "viewer-classes" });
  const numbers = h("div", { class: "viewer-numbers" });
  const methods = h("div", { class: "viewer-methods" });
  const [previous, next, close] = [
    stepButton("←", "Previous image", () => step(-1)),
    stepButton("→", "Next image", () => step(1)),
    stepButton("✕", "Close", () => setState({ image: "" })),
  ];
  const body = h(
    "div",
    { class: "viewer-body" },
    h("section", { class: "viewer-main", "aria-label": "Image" }, notice, stage, overlayLegend(overview), controls.element, numbers),
    h(
      "section",
      { class: "viewer-side", "aria-label": "Classes and methods", tabindex: "0" },
      result,
      h("h3", {}, "Classes"),
      classes,
      methods,
    ),
  );
  const element = h(
    "dialog",
    { class: "viewer", "aria-label": "Image" },
    h("header", { class: "viewer-head" }, h("div", { class: "viewer-steps" }, previous, next, place), h("div", { class: "viewer-title" }, title, facts), copyLinkButton(overview), close),
    body,
  );

  /** @type {Int32Array} */
  let order = new Int32Array(0);
  /** @type {GridView | null} */
  let view = null;
  /** @type {Map<string, number>} */
  let numberOfId = new Map();
  /** @type {LoadedImage | null} */
  let loaded = null;
  let image = -1;
  let opened = ""; // id that the state asked for
  let frame = 0;
  /** @type {ReturnType<typeof methodTile>[]} */
  let tiles = [];
  let tileLines = "";
  let nextTile = 0;
  let tilesLeft = 0; // tiles that do not show the state yet
  let tileFrame = 0;
  let classesShown = "";

  /** @param {number} steps */
  function step(steps) {
    if (!view || !order.length) return;
    const at = order.indexOf(image);
    const to = at < 0 ? 0 : Math.min(order.length - 1, Math.max(0, at + steps));
    setState({ image: view.index.ids[order[to]] });
  }

  /** Opens, closes or changes the view, as the state says. */
  function follow() {
    const state = getState();
    const wanted = state.view === "images" && state.image !== "";
    if (!wanted) {
      if (element.open) element.close();
      return;
    }
    if (!view) return;
    if (!element.open) {
      element.showModal();
      document.documentElement.classList.add("viewer-open");
    }
    const number = numberOfId.get(state.image) ?? -1;
    if (state.image !== opened) void openImage(state.image, number);
    else schedule();
  }

  /**
   * @param {string} id
   * @param {number} number Position of the image; -1 if the page does not have it.
   */
  async function openImage(id, number) {
    const { index } = /** @type {GridView} */ (view);
    if (loaded && image !== number) forgetLarge(loaded);
    [image, opened] = [number, id];
    loaded = loader.get(number) ?? null;
    classesShown = "";
    const known = number >= 0;
    for (const part of [stage, controls.element, numbers, body.lastElementChild]) /** @type {HTMLElement} */ (part).hidden = !known;
    notice.textContent = known ? "" : `This page has no image “${id}”. ${overview.sampling}`;
    writeHead(known ? index : null);
    if (!known) return;
    fit();
    schedule();
    if (loaded) return loadNeighbors();
    try {
      const each = await loader.load(number, { now: true });
      if (image !== number) return;
      loaded = each;
      schedule();
      loadNeighbors();
    } catch (error) {
      if (image === number) notice.textContent = error instanceof Error ? error.message : String(error);
    }
  }

  function loadNeighbors() {
    const at = order.indexOf(image);
    for (const to of [at + 1, at - 1]) {
      if (at >= 0 && order[to] !== undefined) loader.load(order[to]).catch(() => {}); // the view tells it when the image is opened
    }
  }

  /** @param {ImageIndex | null} index */
  function writeHead(index) {
    const at = order.indexOf(image);
    place.textContent = at < 0 ? "" : `${(at + 1).toLocaleString("en-US")} of ${order.length.toLocaleString("en-US")}`;
    previous.disabled = at <= 0;
    next.disabled = at === order.length - 1;
    if (!index) {
      replaceChildren(title, "No such image");
      replaceChildren(facts);
      return;
    }
    const words = index.classes[index.label[image]];
    replaceChildren(title, words.words || words.wnid);
    const parts = [
      index.ids[image],
      words.wnid,
      `${index.width[image]} × ${index.height[image]}`,
      !hasOnlyPixels(overview) && countText(index.n_boxes[image], "box", "boxes"),
      index.n_boxes[image] > 0 && `object ${(100 * index.size[image]).toFixed(0)}% of the image`,
      index.blacklisted[image] && "blacklisted",
      view?.model.held_out[image] && "held out for thresholds",
    ];
    replaceChildren(facts, parts.filter(Boolean).join(" · "));
    element.setAttribute("aria-label", imageName(index, image));
  }

  /** Gives the picture the room that there is. */
  function fit() {
    if (!view || image < 0 || !element.open) return;
    const beside = window.matchMedia("(min-width: 961px)").matches;
    const room = beside ? window.innerHeight - stage.getBoundingClientRect().top - body.scrollTop - 230 : window.innerHeight * 0.6;
    picture.setImage(view.index, image, [stage.clientWidth, Math.max(200, room)]);
  }

  function schedule() {
    frame ||= requestAnimationFrame(paint);
  }

  function paint() {
    frame = 0;
    if (!view || image < 0 || !element.open) return;
    const { index } = view;
    const state = getState();
    makeTiles(state);
    for (const tile of tiles) tile.setImage(index, image, tileSize());
    controls.update(state, view.line, loaded);
    writeHead(index);
    element.classList.toggle("waiting", !loaded);
    if (!loaded) return;
    const row = rowOfSlot(loaded.detail, view.line, state.slot);
    const shown = resultOf(loaded, view.line, state, true);
    picture.paint(overview, index, loaded, row, shown, state);
    const problem = maskOfRow(overview, loaded, row)?.problem;
    replaceChildren(result, ...resultLine(overview, view.line, shown, index.classes), problem && h("span", { class: "muted" }, `There is no mask: ${problem}`));
    const ofClasses = [image, state.slot, view.line].join();
    if (classesShown !== ofClasses) {
      classesShown = ofClasses;
      replaceChildrenOnce(classes, classTable(overview, loaded, overview.lines[view.line]?.model ?? 0, state));
      replaceChildren(numbers, rowNumbers(shown?.row ?? null));
    }
    tilesLeft = tiles.length;
    tileFrame ||= requestAnimationFrame(paintTiles);
  }

  /**
   * @param {LoadedImage} from
   * @param {number} line
   * @param {Readonly<State>} state
   * @param {boolean} outlined
   */
  function resultOf(from, line, state, outlined) {
    const row = rowOfSlot(from.detail, line, state.slot);
    if (row < 0) return null;
    return shownResult(overview, from, row, state.threshold, outlined);
  }

  /** Paints tiles, a few at a time and in turn, so that a slider stays quick with many methods. */
  function paintTiles() {
    tileFrame = 0;
    if (!view || !loaded || !element.open) return;
    const state = getState();
    const end = performance.now() + 10;
    while (tilesLeft > 0 && performance.now() < end) {
      nextTile = (nextTile + 1) % tiles.length;
      tilesLeft--;
      const { line } = tiles[nextTile];
      tiles[nextTile].paint(view.index, loaded, resultOf(loaded, line, state, false), state, line === view.line);
    }
    if (tilesLeft > 0) tileFrame = requestAnimationFrame(paintTiles);
  }

  /** @returns {[number, number]} */
  function tileSize() {
    const frameOfTile = methods.querySelector(".tile-frame");
    const width = frameOfTile ? frameOfTile.clientWidth : 140;
    return [width, Math.round(width * 0.8)];
  }

  /** @param {Readonly<State>} state */
  function makeTiles(state) {
    const model = overview.lines[/** @type {GridView} */ (view).line]?.model ?? 0;
    const others = state.slot ? [] : overview.models.map((_, n) => n).filter((n) => n !== model);
    const groups = [model, ...others].map((n) => ({ model: n, lines: exploredLines(overview, state, n) }));
    const wanted = JSON.stringify(groups);
    if (wanted === tileLines) return;
    tileLines = wanted;
    tiles = [];
    replaceChildren(
      methods,
      groups.filter((group) => group.lines.length).map((group) => {
        const made = group.lines.map((line) => methodTile(source, line));
        tiles.push(...made);
        const name = overview.models.length > 1 ? `Methods · ${modelTitle(overview, group.model)}` : "Methods";
        return h("section", {}, h("h3", {}, name), h("div", { class: "tiles" }, made.map((tile) => tile.element)));
      }),
    );
  }

  element.addEventListener("cancel", (event) => {
    event.preventDefault();
    setState({ image: "" });
  });
  element.addEventListener("close", () => {
    document.documentElement.classList.remove("viewer-open");
    if (getState().image && getState().view === "images") setState({ image: "" });
    const closed = image;
    if (loaded) forgetLarge(loaded);
    [image, loaded, opened] = [-1, null, ""];
    onClosed(closed);
  });
  new ResizeObserver(() => {
    fit();
    schedule();
  }).observe(body);
  onState((_, changed) => {
    if (changed.has("image") || changed.has("view")) follow();
    else if (element.open && !changed.has("line")) schedule(); // a line comes with its columns, by show()
  });
  addViewerKeys(() => element.open, step, () => image >= 0);
  return {
    element,
    /**
     * @param {Int32Array} images Images in the order of the grid.
     * @param {GridView} seen
     */
    show(images, seen) {
      if (view?.index !== seen.index) numberOfId = new Map(seen.index.ids.map((id, n) => [id, n]));
      order = images;
      view = seen;
      follow();
    },
  };
}

/**
 * @param {string} sign
 * @param {string} name
 * @param {() => void} act
 */
function stepButton(sign, name, act) {
  return h("button", { class: "button square", type: "button", "aria-label": name, title: name, onclick: act }, sign);
}

/**
 * Puts a new table in the place of the old one, and keeps the focus in it.
 *
 * @param {HTMLElement} parent
 * @param {HTMLElement} table
 */
function replaceChildrenOnce(parent, table) {
  const buttons = [...parent.querySelectorAll("button")];
  const focused = buttons.findIndex((button) => button === document.activeElement);
  parent.replaceChildren(table);
  if (focused >= 0) parent.querySelectorAll("button")[focused]?.focus();
}

/**
 * The result of the chosen method, in words.
 *
 * @param {Overview} overview
 * @param {number} line
 * @param {import("./shown_result.js").ShownResult | null} shown
 * @param {ImageIndex["classes"]} classes
 */
function resultLine(overview, line, shown, classes) {
  const name = overview.lines[line]?.name ?? "";
  const words = [h("strong", {}, name)];
  if (!shown) return [...words, h("span", { class: "muted" }, "has no map of this class")];
  const color = shown.hit === null ? "muted" : shown.hit ? "hit" : "miss";
  const ofClass = classes.find((each) => each.wnid === shown.row.class) ?? { wnid: shown.row.class, words: shown.row.words };
  words.push(h("span", { class: "muted" }, `of “${shortWords(ofClass)}”`));
  if (shown.words) words.push(h("span", { class: `verdict ${color}` }, `${hitSign(shown.hit)} ${shown.words}`.trim()));
  if (shown.iou !== null) words.push(h("span", {}, iouText(shown.iou, shown.least)));
  if (shown.row.map?.reduced) words.push(h("span", { class: "muted" }, reducedWords));
  if (shown.row.no_map) words.push(h("span", { class: "muted" }, shown.row.no_map));
  return words;
}

/**
 * @param {() => boolean} open
 * @param {(steps: number) => void} step
 * @param {() => boolean} known
 */
function addViewerKeys(open, step, known) {
  const where = "Large view";
  const shut = () => setState({ image: "" });
  addShortcuts(
    { keys: ["ArrowRight", "j"], where, what: "next image", act: () => step(1), when: open },
    { keys: ["ArrowLeft", "k"], where, what: "previous image", act: () => step(-1), when: open },
    { keys: ["0", "1", "2", "3", "4", "5"], where, what: "maps of the label (0), or of a prediction", act: (event) => setState({ slot: Number(event.key) }), when: () => open() && known() },
    { keys: [" ", "Enter", "Escape"], where, what: "close", act: shut, when: open },
  );
}
