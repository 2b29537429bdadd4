// The grid of images. Only cells near the window exist, so that 50,000 images scroll as well as 50.

/** @import { ImageIndex, LineColumns, ModelColumns, Overview, Source } from "./types" */
/** @import { State } from "./state.js" */
/** @import { LoadedImage } from "./loaded_image.js" */

import { h, replaceChildren } from "./dom.js";
import { imageName, iousOf, iouText, leastIouOf, shortWords } from "./explored.js";
import { heatOfRow, maskOfRow, placementOfRow, rowOfSlot } from "./loaded_image.js";
import { drawOverlay, hitSign } from "./overlay.js";

/**
 * The results that the grid shows besides the images themselves.
 *
 * @typedef {object} GridView
 * @property {Readonly<State>} state
 * @property {ImageIndex} index
 * @property {number} line Line of outcomes and heatmaps; -1 for none.
 * @property {LineColumns | null} columns Its results.
 * @property {ModelColumns} model The model that is explored.
 */

/**
 * @typedef {object} Card
 * @property {HTMLElement} item
 * @property {HTMLButtonElement} button
 * @property {HTMLElement} stage
 * @property {HTMLCanvasElement} canvas
 * @property {() => void} paint Draws over the picture, if the image is loaded.
 */

/**
 * @typedef {object} Loader Of loading.js.
 * @property {(image: number) => LoadedImage | undefined} get
 * @property {(image: number, how?: {now?: boolean}) => Promise<LoadedImage | null>} load
 * @property {(image: number) => void} drop
 */

const [cardLeast, cardGap, captionHeight] = [184, 12, 50];

/**
 * @param {Source} source
 * @param {Loader} loader
 * @param {(image: number) => void} open Shows an image large.
 */
export function imageGrid(source, loader, open) {
  const { overview } = source;
  const element = h("div", { class: "grid", role: "list", "aria-label": "Images" });
  /** @type {Map<number, Card>} By position in `order`. */
  const cards = new Map();
  /** @type {Int32Array} */
  let order = new Int32Array(0);
  /** @type {GridView | null} */
  let view = null;
  let layout = { columns: 1, width: cardLeast, row: 1 };
  let active = 0; // position that Tab reaches
  let frame = 0;

  function measure() {
    const space = element.clientWidth;
    const columns = Math.max(2, Math.floor((space + cardGap) / (cardLeast + cardGap)));
    const width = Math.floor((space - cardGap * (columns - 1)) / columns);
    layout = { columns, width, row: Math.round(width * 0.75) + captionHeight + cardGap };
    element.style.height = `${Math.ceil(order.length / columns) * layout.row}px`;
  }

  /** Makes the cards near the window and removes the others. */
  function update() {
    frame = 0;
    if (!view || !element.offsetParent) return;
    const top = -element.getBoundingClientRect().top;
    const near = window.innerHeight * 0.75;
    const first = Math.max(0, Math.floor((top - near) / layout.row)) * layout.columns;
    const last = Math.min(order.length, Math.ceil((top + window.innerHeight + near) / layout.row) * layout.columns);
    const focused = focusedPosition();
    for (const [position, card] of cards) {
      if ((position >= first && position < last) || position === focused) continue;
      card.item.remove();
      cards.delete(position);
      loader.drop(order[position]);
    }
    for (let position = first; position < last; position++) if (!cards.has(position)) addCard(position);
    if (active >= order.length) active = 0;
    if (!cards.has(active) && cards.size) setActive([...cards.keys()].reduce((a, b) => Math.min(a, b)));
  }

  function schedule() {
    frame ||= requestAnimationFrame(update);
  }

  /** @returns {number} Position of the card that has the focus; -1 if none has it. */
  function focusedPosition() {
    for (const [position, { button }] of cards) if (button === document.activeElement) return position;
    return -1;
  }

  /** @param {number} position */
  function addCard(position) {
    const card = makeCard(/** @type {GridView} */ (view), order[position]);
    const { columns, width, row } = layout;
    card.item.style.width = `${width}px`;
    card.item.style.transform =
      `translate(${(position % columns) * (width + cardGap)}px, ${Math.floor(position / columns) * row}px)`;
    card.item.setAttribute("aria-setsize", String(order.length));
    card.item.setAttribute("aria-posinset", String(position + 1));
    card.button.tabIndex = position === active ? 0 : -1;
    card.button.addEventListener("focus", () => setActive(position));
    card.button.addEventListener("click", () => open(order[position]));
    const next = [...cards.keys()].filter((each) => each > position).sort((a, b) => a - b)[0];
    element.insertBefore(card.item, next === undefined ? null : /** @type {Card} */ (cards.get(next)).item);
    cards.set(position, card);
    card.paint();
  }

  /** @param {number} position */
  function setActive(position) {
    const before = cards.get(active);
    if (before) before.button.tabIndex = -1;
    active = position;
    const card = cards.get(active);
    if (card) card.button.tabIndex = 0;
  }

  /**
   * @param {GridView} seen
   * @param {number} image
   * @returns {Card}
   */
  function makeCard(seen, image) {
    const { index } = seen;
    const [width, height] = fittedSize(index.width[image], index.height[image], layout.width, layout.width * 0.75);
    const canvas = h("canvas", { class: "over", "aria-hidden": "true" });
    const address = source.thumbnail(image);
    const picture = address
      ? h("img", { src: address, alt: "", decoding: "async", draggable: "false" })
      : h("span", { class: "no-picture" }, "no picture", h("span", { class: "unseen" }));
    const stage = h("span", { class: "stage", style: { width: `${width}px`, height: `${height}px` } }, picture, canvas);
    const caption = h("span", { class: "card-caption", "aria-hidden": "true" }); // the picture's text says the same
    const frameBox = h("span", { class: "card-frame", style: { height: `${Math.round(layout.width * 0.75)}px` } }, stage);
    const button = h("button", { class: "card", type: "button" }, frameBox, caption);
    const item = h("div", { class: "cell", role: "listitem" }, button);

    function paint() {
      const now = /** @type {GridView} */ (view);
      const words = cardWords(overview, now, image);
      replaceChildren(caption, ...words.caption);
      if (picture instanceof HTMLImageElement) picture.alt = words.spoken;
      else /** @type {Element} */ (picture.lastElementChild).textContent = words.spoken;
      const over = (/** @type {LoadedImage} */ loaded) =>
        item.isConnected && paintCard(overview, /** @type {GridView} */ (view), loaded, canvas, [width, height]);
      const loaded = loader.get(image);
      if (loaded) paintLater(canvas, () => over(loaded));
      else {
        loader.load(image).then(
          (each) => each && item.isConnected && paintLater(canvas, () => over(each)),
          (error) => stage.append(h("span", { class: "no-picture" }, String(error.message ?? error))),
        );
      }
    }
    return { item, button, stage, canvas, paint };
  }

  function clear() {
    for (const [position, card] of cards) {
      card.item.remove();
      loader.drop(order[position]);
    }
    cards.clear();
  }

  window.addEventListener("scroll", schedule, { passive: true });
  new ResizeObserver(() => {
    const before = layout;
    measure();
    if (before.columns !== layout.columns || before.width !== layout.width) {
      const focused = focusedPosition();
      clear();
      update();
      if (focused >= 0) focusPosition(focused);
    } else schedule();
  }).observe(element);

  /** @param {number} position */
  function focusPosition(position) {
    if (!order.length) return;
    const wanted = Math.min(order.length - 1, Math.max(0, position));
    const top = element.getBoundingClientRect().top + Math.floor(wanted / layout.columns) * layout.row;
    const header = 72;
    if (top < header) window.scrollBy(0, top - header);
    else if (top + layout.row > window.innerHeight) window.scrollBy(0, top + layout.row - window.innerHeight + 8);
    update();
    if (!cards.has(wanted)) addCard(wanted);
    setActive(wanted);
    cards.get(wanted)?.button.focus({ preventScroll: true });
  }

  return {
    element,
    /**
     * Shows images in an order, or the same images anew.
     *
     * @param {Int32Array} images
     * @param {GridView} seen
     */
    show(images, seen) {
      view = seen;
      const same = images.length === order.length && images.every((image, n) => image === order[n]);
      if (same) {
        for (const card of cards.values()) card.paint();
        schedule();
        return;
      }
      clear();
      order = images;
      active = 0;
      measure();
      update();
    },
    /** Moves the focus to an image, if the grid has it. @param {number} image */
    focusImage(image) {
      const position = order.indexOf(image);
      if (position >= 0) focusPosition(position);
    },
    /** Moves the focus by a key; from elsewhere it goes to the card that Tab would reach. @param {string} key */
    move(key) {
      const from = focusedPosition();
      const page = Math.max(1, Math.floor((window.innerHeight - 100) / layout.row)) * layout.columns;
      /** @type {Record<string, number>} */
      const steps = {
        ArrowLeft: -1, ArrowRight: 1, k: -1, j: 1, ArrowUp: -layout.columns, ArrowDown: layout.columns,
        PageUp: -page, PageDown: page, Home: -order.length, End: order.length,
      };
      if (from < 0) focusPosition(active);
      else if (from + steps[key] >= 0 || !key.endsWith("Up")) focusPosition(from + steps[key]);
    },
    /** @returns {boolean} If true, a card has the focus. */
    hasFocus: () => focusedPosition() >= 0,
  };
}

/** Canvases that are still to be painted, each once, as its last wish was. */
const waitingPaints = /** @type {Map<HTMLCanvasElement, () => void>} */ (new Map());

/**
 * Paints a few milliseconds a frame, so that scrolling does not stutter.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {() => void} paint
 */
function paintLater(canvas, paint) {
  if (!waitingPaints.size) requestAnimationFrame(paintWaiting);
  waitingPaints.set(canvas, paint);
}

function paintWaiting() {
  const end = performance.now() + 8;
  for (const [canvas, paint] of waitingPaints) {
    waitingPaints.delete(canvas);
    paint();
    if (performance.now() > end) break;
  }
  if (waitingPaints.size) requestAnimationFrame(paintWaiting);
}

/**
 * @param {number} width
 * @param {number} height
 * @param {number} mostWidth
 * @param {number} mostHeight
 * @returns {[number, number]} The largest size of that aspect that fits.
 */
export function fittedSize(width, height, mostWidth, mostHeight) {
  const scale = Math.min(mostWidth / width, mostHeight / height);
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/**
 * @param {Overview} overview
 * @param {GridView} view
 * @param {LoadedImage} loaded
 * @param {HTMLCanvasElement} canvas
 * @param {[number, number]} size
 */
function paintCard(overview, view, loaded, canvas, size) {
  const { state, index, line } = view;
  const { detail } = loaded;
  const row = rowOfSlot(detail, line, state.judge === "top1" ? 1 : 0);
  const outcome = outcomeOfCard(overview, view, detail.image);
  drawOverlay(canvas, ...size, {
    height: index.height[detail.image],
    width: index.width[detail.image],
    heat: state.heat ? heatOfRow(overview, loaded, row) : null,
    placement: placementOfRow(overview, detail, row),
    opacity: state.opacity,
    region: null,
    truth: state.boxes ? detail.boxes : [],
    mask: state.boxes ? maskOfRow(overview, loaded, row) : null,
    box: (state.boxes && detail.rows[row]?.box) || null,
    hit: outcome && outcome.name === "hit",
    named: false,
    tag: "",
  });
}

/**
 * @param {Overview} overview
 * @param {GridView} view
 * @param {number} image
 */
function outcomeOfCard(overview, view, image) {
  const judge = view.state.judge === "top1" ? "top1" : "gt_known";
  return overview.outcomes[view.columns?.[judge][image] ?? 255] ?? null;
}

/**
 * @param {Overview} overview
 * @param {GridView} view
 * @param {number} image
 */
function cardWords(overview, view, image) {
  const { index } = view;
  const outcome = outcomeOfCard(overview, view, image);
  const hit = outcome ? outcome.name === "hit" : null;
  const label = shortWords(index.classes[index.label[image]]);
  const predicted = index.classes[view.model.top1[image]];
  const instead = view.state.judge === "top1" && outcome?.name === "wrong_class" && predicted;
  const result = instead ? `predicted ${shortWords(predicted)}` : (outcome?.title ?? "not judged");
  const value = iousOf(view.columns, view.state.judge)?.[image] ?? NaN; // a sweep has none
  const iou = Number.isNaN(value) ? "" : iouText(value, leastIouOf(overview, view.line));
  const method = overview.lines[view.line]?.name ?? "";
  return {
    spoken: [imageName(index, image), method, iou, outcome?.title, instead && result].filter(Boolean).join(", "),
    caption: [
      h("span", { class: "card-label" }, label),
      h(
        "span",
        { class: "card-result" },
        h("span", { class: hit === null ? "muted" : hit ? "hit" : "miss" }, `${hitSign(hit)} ${result}`.trim()),
        h("span", { class: "muted" }, iou),
      ),
    ],
  };
}
