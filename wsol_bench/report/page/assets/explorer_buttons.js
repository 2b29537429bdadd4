// Buttons that the grid and the large view share.

/** @import { Overview } from "./types" */

import { h } from "./dom.js";
import { exploredLine } from "./explored.js";
import { putIntoClipboard } from "./popover.js";
import { currentAddress, getState } from "./state.js";

/**
 * @param {Overview} overview
 * @returns {HTMLElement} A button that copies the address of the page as it is. It names the line also
 *     where that is the first one, which another page may not have as its first.
 */
export function copyLinkButton(overview) {
  const button = h("button", { class: "button", type: "button", title: "Copy the address of this view" }, "Copy link");
  button.addEventListener("click", async () => {
    const done = await putIntoClipboard(currentAddress({ line: exploredLine(overview, getState()) }));
    button.textContent = done ? "Copied" : "Not copied";
    setTimeout(() => (button.textContent = "Copy link"), 1500);
  });
  return button;
}
