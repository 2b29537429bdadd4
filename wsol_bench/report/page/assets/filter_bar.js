// The filters of the explorer as controls, and as chips that can be removed.

/** @import { ImageIndex, Overview } from "./types" */
/** @import { State } from "./state.js" */

import { h, replaceChildren } from "./dom.js";
import { exploredLines, exploredModel, hasOnlyPixels, knownLine, sameMethod, shortWords } from "./explored.js";
import { imageFlags, imageQuery, possibleOrders, sizeBins, sizeRange } from "./filters.js";
import { countText, modelTitle } from "./numbers.js";
import { defaultState, getState, setState } from "./state.js";

/** The change that shows all images again. */
export const noFilters = Object.freeze({ outcome: "", a: -1, b: -1, pair: "split", class: "", size: "", text: "", flag: "" });

/** @typedef {{value: string | number, text: string, disabled?: boolean}} Option */

/**
 * A select with its label. Options are replaced only when they differ.
 *
 * @param {string} label
 * @param {(value: string) => void} onChange
 */
function selectField(label, onChange) {
  const select = h("select", { onchange: () => onChange(select.value) });
  let known = "";
  return {
    element: h("label", { class: "field" }, h("span", { class: "label" }, label), select),
    /**
     * @param {Option[]} options
     * @param {string | number} value
     */
    update(options, value) {
      const texts = JSON.stringify(options);
      if (texts !== known) {
        replaceChildren(select, ...options.map((each) => h("option", { value: each.value, disabled: each.disabled }, each.text)));
        known = texts;
      }
      select.value = String(value);
    },
  };
}

/**
 * The controls of the explorer's filters, beside its results.
 *
 * @param {Overview} overview
 */
export function filterBar(overview) {
  const search = h("input", { type: "search", placeholder: "image id or class", autocomplete: "off", spellcheck: "false" });
  search.addEventListener("input", () => setState({ text: search.value }));
  const model = selectField("Model", (value) => setState(ofModel(overview, Number(value))));
  const line = selectField("Method", (value) => setState({ line: Number(value) }));
  const first = selectField("A", (value) => setState({ a: Number(value) }));
  const second = selectField("B", (value) => setState({ b: Number(value) }));
  const swap = h("button", { class: "button square", type: "button", title: "Swap A and B", "aria-label": "Swap A and B" }, "⇅");
  swap.addEventListener("click", () => setState({ a: getState().b, b: getState().a }));
  const split = h("input", { type: "checkbox" });
  split.addEventListener("change", () => setState({ pair: split.checked ? "split" : "all" }));
  const splitOnly = h("label", { class: "split" }, split, "only where A hits and B misses");
  const size = selectField("Object size, share of the image", (value) => setState({ size: value }));
  const flag = selectField("Images", (value) => setState({ flag: value }));
  const judge = judgeField();
  const outcomes = outcomeField(overview);
  const classes = classField();
  const ofBoxes = !hasOnlyPixels(overview);
  const element = h(
    "div",
    { class: "filters", id: "image-filters" },
    h("label", { class: "field" }, h("span", { class: "label" }, "Search ", h("kbd", { "aria-hidden": "true" }, "/")), search),
    overview.models.length > 1 && model.element,
    line.element,
    ofBoxes && judge.element,
    outcomes.element,
    ofBoxes && h(
      "fieldset",
      { class: "pair" },
      h("legend", { class: "label" }, "Two methods"),
      first.element,
      second.element,
      swap,
      splitOnly,
    ),
    classes.element,
    ofBoxes && size.element,
    flag.element,
  );
  return {
    element,
    focusSearch() {
      search.focus();
      search.select();
    },
    /**
     * @param {Readonly<State>} state
     * @param {number} shown Line that is shown.
     * @param {Int32Array} counts Images by outcome.
     * @param {Set<number>} occurring Outcomes that the line has at all.
     */
    update(state, shown, counts, occurring) {
      if (search.value !== state.text) search.value = state.text;
      const ofLines = exploredLines(overview, state, exploredModel(overview, state));
      const lines = [...new Set([...ofLines, shown, state.a, state.b])]
        .filter((n) => overview.lines[n])
        .sort((a, b) => a - b)
        .map((value) => ({ value, text: overview.lines[value].name }));
      const any = [{ value: -1, text: "any" }, ...lines];
      model.update(overview.models.map((_, value) => ({ value, text: modelTitle(overview, value) })), exploredModel(overview, state));
      line.update(lines, shown);
      first.update(any, knownLine(overview, state.a));
      second.update(any, knownLine(overview, state.b));
      split.checked = state.pair !== "all";
      size.update([{ value: "", text: "any" }, ...sizeOptions(overview)], state.size);
      const flags = imageFlags.filter((each) => ofBoxes || !each.ofBoxes);
      flag.update(flags.map(({ name, title }) => ({ value: name, text: title })), state.flag);
      judge.update(state);
      outcomes.update(state, counts, occurring, overview.runs[overview.lines[shown]?.run]?.kind === "pixels");
      classes.update(state);
    },
    /** @param {ImageIndex} index */
    setIndex: classes.setIndex,
  };
}

/** A choice of the box that outcomes are about. */
function judgeField() {
  const radios = [
    { value: "gt_known", text: "GT-known", hint: "the box of the map of the image's label" },
    { value: "top1", text: "top-1", hint: "class and box of the first prediction" },
  ].map(({ value, text, hint }) => {
    const radio = h("input", { type: "radio", name: "judge", value });
    radio.addEventListener("change", () => setState({ judge: value }));
    return { radio, element: h("label", { title: hint }, radio, h("span", {}, text)) };
  });
  return {
    element: h("fieldset", { class: "segments" }, h("legend", { class: "label" }, "Judged by"), h("div", {}, radios.map((each) => each.element))),
    /** @param {Readonly<State>} state */
    update(state) {
      const judged = state.judge === "top1" ? "top1" : "gt_known";
      for (const { radio } of radios) radio.checked = radio.value === judged;
    },
  };
}

/** @param {Overview} overview */
function outcomeField(overview) {
  const rows = overview.outcomes.map((outcome) => {
    const box = h("input", { type: "checkbox" });
    box.addEventListener("change", () => {
      const wanted = new Set(getState().outcome.split(",").filter(Boolean));
      if (box.checked) wanted.add(outcome.name);
      else wanted.delete(outcome.name);
      setState({ outcome: overview.outcomes.map((each) => each.name).filter((name) => wanted.has(name)).join(",") });
    });
    const count = h("span", { class: "count" });
    const bar = h("span", { class: "bar", "aria-hidden": "true" });
    const hit = outcome.name === "hit";
    const title = h("span", { class: "name" }, h("span", { class: hit ? "hit" : "miss", "aria-hidden": "true" }, hit ? "✓ " : "✕ "), outcome.title);
    return { outcome, box, count, bar, element: h("label", { class: "outcome", title: outcome.meaning }, box, title, count, bar) };
  });
  const none = h("p", { class: "muted" });
  return {
    element: h("fieldset", { class: "outcomes" }, h("legend", { class: "label" }, "Outcome"), rows.map((each) => each.element), none),
    /**
     * @param {Readonly<State>} state
     * @param {Int32Array} counts
     * @param {Set<number>} occurring
     * @param {boolean} ofPixels
     */
    update(state, counts, occurring, ofPixels) {
      const wanted = new Set(state.outcome.split(","));
      const total = rows.reduce((sum, _, code) => sum + counts[code], 0);
      none.textContent = ofPixels ? "This protocol judges pixels, not boxes." : "No image of this page has an outcome.";
      none.hidden = rows.some((_, code) => occurring.has(code));
      rows.forEach(({ outcome, box, count, bar, element }, code) => {
        box.checked = wanted.has(outcome.name);
        element.hidden = !occurring.has(code) && !box.checked && (ofPixels || outcome.name !== "hit");
        element.classList.toggle("empty", counts[code] === 0);
        count.textContent = counts[code].toLocaleString("en-US");
        bar.style.width = `${total ? (100 * counts[code]) / total : 0}%`;
      });
    },
  };
}

/** A field that finds a class by its words or wnid. */
function classField() {
  const list = h("datalist", { id: "class-list" });
  const input = h("input", { list: "class-list", placeholder: "any", autocomplete: "off", spellcheck: "false" });
  const wrong = h("span", { class: "field-error", role: "status" });
  /** @type {ImageIndex["classes"]} */
  let classes = [];
  const text = (/** @type {{wnid: string, words: string}} */ each) => (each.words ? `${each.words} (${each.wnid})` : each.wnid);
  input.addEventListener("change", () => {
    const typed = input.value.trim().toLowerCase();
    const exact = classes.find((each) => [text(each), each.wnid, each.words, shortWords(each)].some((name) => name.toLowerCase() === typed));
    const found = exact ?? classes.find((each) => text(each).toLowerCase().includes(typed));
    wrong.textContent = typed && !found ? "No image has such a class." : "";
    if (!typed) setState({ class: "" });
    else if (found) setState({ class: found.wnid });
  });
  return {
    element: h("label", { class: "field" }, h("span", { class: "label" }, "Class"), input, list, wrong),
    /** @param {ImageIndex} index Only labels of images can be chosen. */
    setIndex(index) {
      const labels = new Set(index.label);
      classes = index.classes.filter((_, position) => labels.has(position));
      replaceChildren(list, ...classes.map((each) => h("option", { value: text(each) })));
    },
    /** @param {Readonly<State>} state */
    update(state) {
      const chosen = classes.find((each) => each.wnid === state.class);
      if (document.activeElement !== input) input.value = chosen ? text(chosen) : state.class;
    },
  };
}

/**
 * The order of the images as a control.
 *
 * @param {Overview} overview
 */
export function orderField(overview) {
  const field = selectField("Sort", (value) => setState({ sort: value }));
  return {
    element: field.element,
    /**
     * @param {Readonly<State>} state
     * @param {number} line Line that is shown.
     */
    update(state, line) {
      const orders = possibleOrders(overview, imageQuery(state, overview, line));
      /** @type {Option[]} */
      const options = orders.map(({ name, title }) => ({ value: name, text: title }));
      const named = (/** @type {string} */ name) => orders.some((order) => order.name === name);
      if (named("iou") && !named("difference")) options.push({ value: "pair", text: "IoU of A minus B (choose A and B)", disabled: true });
      field.update(options, named(state.sort) ? state.sort : "");
    },
  };
}

/**
 * @param {Overview} overview
 * @returns {Option[]}
 */
function sizeOptions(overview) {
  return sizeBins(overview).map((value) => {
    const [low, high] = (sizeRange(value) ?? []).map((edge) => Math.round(100 * edge));
    return { value, text: `${low} to ${high}%` };
  });
}

/**
 * The change that shows another model with the same methods.
 *
 * @param {Overview} overview
 * @param {number} model
 * @returns {Partial<State>}
 */
function ofModel(overview, model) {
  const { line, a, b } = getState();
  return { model, line: sameMethod(overview, line, model), a: sameMethod(overview, a, model), b: sameMethod(overview, b, model) };
}

/**
 * The filters that are in force, each as a button that removes it.
 *
 * @param {Overview} overview
 * @param {ImageIndex} index
 * @param {Readonly<State>} state
 * @returns {HTMLElement[]}
 */
export function filterChips(overview, index, state) {
  /** @type {[string, Partial<State>][]} */
  const chips = [];
  const name = (/** @type {number} */ line) => (state.pair === "all" ? "" : (overview.lines[line]?.name ?? ""));
  if (state.text.trim()) chips.push([`“${state.text.trim()}”`, { text: "" }]);
  const names = state.outcome.split(",").filter(Boolean);
  for (const each of names) {
    const title = overview.outcomes.find((outcome) => outcome.name === each)?.title ?? each;
    chips.push([title, { outcome: names.filter((other) => other !== each).join(",") }]);
  }
  if (name(state.a)) chips.push([`${name(state.a)} hits`, { a: defaultState.a }]);
  if (name(state.b)) chips.push([`${name(state.b)} misses`, { b: defaultState.b }]);
  const chosen = index.classes.find((each) => each.wnid === state.class);
  if (state.class) chips.push([chosen ? shortWords(chosen) : state.class, { class: "" }]);
  const size = sizeOptions(overview).find((option) => option.value === state.size);
  if (state.size) chips.push([`size ${size?.text ?? state.size}`, { size: "" }]);
  const flag = imageFlags.find((each) => each.name === state.flag);
  if (state.flag && flag) chips.push([flag.title, { flag: "" }]);
  const buttons = chips.map(([text, patch]) =>
    h("button", { class: "chip", type: "button", "aria-label": `Remove filter: ${text}`, onclick: () => setState(patch) }, text, h("span", { "aria-hidden": "true" }, " ×")),
  );
  if (buttons.length) {
    buttons.push(h("button", { class: "chip clear", type: "button", onclick: () => setState(noFilters) }, buttons.length > 1 ? "Clear all" : "Clear"));
  }
  return buttons;
}

/**
 * @param {number} shown
 * @param {number} every
 * @returns {string} "37 of 500 images", or "500 images".
 */
export function shownText(shown, every) {
  return shown === every ? countText(every, "image") : `${shown.toLocaleString("en-US")} of ${countText(every, "image")}`;
}
