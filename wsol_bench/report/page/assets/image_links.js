// Links from the summary and the charts to the images of a line.

/** @import { Overview } from "./types" */
/** @import { State } from "./state.js" */

import { h } from "./dom.js";
import { noFilters } from "./filter_bar.js";
import { setState } from "./state.js";

/**
 * The change of the state that shows the images of a line, and no filter that was set before.
 *
 * @param {Overview} overview
 * @param {number} line
 * @param {Partial<State>} [filters]
 * @returns {Partial<State>}
 */
export function imagesOfLine(overview, line, filters = {}) {
  return { ...noFilters, view: "images", image: "", model: overview.lines[line].model, line, ...filters };
}

/**
 * @param {string} text
 * @param {Partial<State>} patch
 * @returns {HTMLButtonElement}
 */
export function linkButton(text, patch) {
  return h("button", { class: "chart-link", type: "button", onclick: () => setState(patch, { push: true }) }, text);
}
