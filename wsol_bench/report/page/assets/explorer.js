// The image explorer: filters, the grid of images, and one image large.

/** @import { LineColumns, Source } from "./types" */

import { h, replaceChildren } from "./dom.js";
import { exploredLine, exploredModel } from "./explored.js";
import { copyLinkButton } from "./explorer_buttons.js";
import { filterBar, filterChips, noFilters, orderField, shownText } from "./filter_bar.js";
import { countOutcomes, filterImages, imageQuery, linesOfQuery } from "./filters.js";
import { imageGrid } from "./grid.js";
import { addShortcuts } from "./keys.js";
import { bytesOfImage, loadImage } from "./loaded_image.js";
import { detailLoader } from "./loading.js";
import { overlayLegend } from "./overlay.js";
import { getState, onState, setState } from "./state.js";
import { imageViewer } from "./viewer.js";

// Keys of the state that change nothing in the grid, and those that change only how it looks.
const largeOnly = new Set(["image", "slot", "threshold", "number", "order", "columns"]);
const looks = new Set(["heat", "boxes", "opacity", ...largeOnly]);

/**
 * The explorer, which keeps itself up to date.
 *
 * @param {Source} source
 * @returns {HTMLElement}
 */
export function explorerView(source) {
  const { overview } = source;
  const loader = detailLoader((/** @type {number} */ image) => loadImage(source, image), bytesOfImage);
  const bar = filterBar(overview);
  const order = orderField(overview);
  const count = h("h2", { class: "explorer-count", "aria-live": "polite" }, "Loading images…");
  const chips = h("div", { class: "chips" });
  const empty = h("div", { class: "explorer-empty", hidden: true });
  const grid = imageGrid(source, loader, openImage);
  const viewer = imageViewer(source, loader, (image) => {
    if (stale) void refresh();
    grid.focusImage(image);
  });
  const filters = filterToggle(bar.element);
  /** @type {string[]} */
  let ids = [];
  let asked = 0;
  let ready = false;
  let stale = false; // true if the grid, below the large view, must be painted anew

  /** @param {number} image */
  function openImage(image) {
    const slot = getState().judge === "top1" ? 1 : 0; // the class whose box the card judges
    setState({ image: ids[image], view: "images", slot }, { push: true });
  }

  async function refresh() {
    const ask = ++asked;
    stale = false;
    const state = getState();
    const line = exploredLine(overview, state);
    const query = imageQuery(state, overview, line);
    const number = exploredModel(overview, state);
    if (!overview.models.length) return;
    try {
      const [index, model, ...columns] = await Promise.all([
        source.index(),
        source.model(number),
        ...linesOfQuery(query).map(async (each) => /** @type {const} */ ([each, await source.line(each)])),
      ]);
      if (ask !== asked) return; // a newer question is on its way
      /** @type {Map<number, LineColumns>} */
      const lines = new Map(columns);
      const images = filterImages(index, model, lines, query);
      const every = model.evaluated.reduce((sum, each) => sum + each, 0);
      if (!ready) bar.setIndex(index);
      ready = true;
      ids = index.ids;
      bar.update(state, line, countOutcomes(index, model, lines, query), outcomesThatOccur(lines.get(line)));
      order.update(state, line);
      count.textContent = shownText(images.length, every);
      replaceChildren(chips, ...filterChips(overview, index, state));
      empty.hidden = images.length > 0;
      if (!images.length) replaceChildren(empty, ...emptyWords(every));
      const view = { state, index, line, columns: lines.get(line) ?? null, model };
      grid.show(images, view);
      viewer.show(images, view);
    } catch (error) {
      if (ask === asked) showFailure(error);
    }
  }

  /** @param {unknown} error */
  function showFailure(error) {
    count.textContent = "The images could not be loaded";
    empty.hidden = false;
    const again = h("button", { class: "button", type: "button", onclick: () => void refresh() }, "Try again");
    replaceChildren(empty, h("p", {}, error instanceof Error ? error.message : String(error)), again);
  }

  onState((state, changed) => {
    if (state.view !== "images") return;
    const keys = [...changed];
    if (ready && keys.every((key) => largeOnly.has(key))) return; // the large view follows by itself
    if (viewer.element.open && keys.every((key) => looks.has(key))) stale = true;
    else void refresh();
  });
  if (getState().view === "images") void refresh();
  addGridKeys(grid, () => {
    filters.show(true); // a field that is not shown takes no focus
    bar.focusSearch();
  });
  return h(
    "div",
    { class: "explorer" },
    h("aside", { class: "explorer-filters", "aria-label": "Filters" }, filters.button, bar.element),
    h(
      "section",
      { class: "explorer-results", "aria-label": "Images" },
      h("div", { class: "explorer-head" }, count, chips, h("div", { class: "explorer-tools" }, order.element, copyLinkButton(overview))),
      overview.sampling && h("p", { class: "muted explorer-sampling" }, overview.sampling),
      overlayLegend(overview),
      empty,
      grid.element,
    ),
    viewer.element,
  );
}

/**
 * @param {LineColumns | undefined} columns
 * @returns {Set<number>} Outcomes that a line has on any image.
 */
function outcomesThatOccur(columns) {
  return new Set(columns && [...columns.gt_known, ...columns.top1]);
}

/**
 * @param {number} every
 * @returns {HTMLElement[]}
 */
function emptyWords(every) {
  if (!every) return [h("p", {}, "This model was evaluated on no image of this page.")];
  const clear = h("button", { class: "button", type: "button", onclick: () => setState(noFilters) }, "Show all images");
  return [h("p", {}, "No image fits all filters together. Remove one of the filters above, or"), clear];
}

/**
 * A button that shows the filters where the window is too narrow for both.
 *
 * @param {HTMLElement} filters
 */
function filterToggle(filters) {
  const button = h("button", { class: "button filter-toggle", type: "button", "aria-expanded": "false", "aria-controls": filters.id }, "Filters");
  const show = (/** @type {boolean} */ open) => {
    filters.classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => show(!filters.classList.contains("open")));
  return { button, show };
}

/**
 * @param {ReturnType<typeof imageGrid>} grid
 * @param {() => void} focusSearch
 */
function addGridKeys(grid, focusSearch) {
  const inGrid = () => getState().view === "images" && !getState().image;
  const where = "Images";
  const move = (/** @type {KeyboardEvent} */ event) => grid.move(event.key);
  addShortcuts(
    { keys: ["ArrowRight", "j", "ArrowLeft", "k"], where, what: "next and previous image", act: move, when: inGrid },
    { keys: ["ArrowUp", "ArrowDown"], where, what: "image above and below, once an image has the focus", act: move, when: () => inGrid() && grid.hasFocus() },
    // The image that has the focus is a button, which takes these keys by itself.
    { keys: ["Enter", " "], where, what: "show that image large", act: () => {}, when: () => false },
    { keys: ["PageUp", "PageDown", "Home", "End"], where, what: "move far", act: move, when: () => inGrid() && grid.hasFocus() },
    { keys: ["/"], where, what: "search", act: focusSearch, when: inGrid },
    { keys: ["h"], where, what: "heatmaps on and off", act: () => setState({ heat: getState().heat ? 0 : 1 }), when: () => getState().view === "images" },
    { keys: ["b"], where, what: "boxes, or the mask, on and off", act: () => setState({ boxes: getState().boxes ? 0 : 1 }), when: () => getState().view === "images" },
  );
}
