// Links from the charts to images.

import { h } from "./dom.js";
import { setState } from "./state.js";

/**
 * @param {string} text
 * @param {Record<string, any>} patch
 * @returns {HTMLButtonElement}
 */
export function linkButton(text, patch) {
  return h("button", { class: "chart-link", type: "button", onclick: () => setState(patch, { push: true }) }, text);
}
