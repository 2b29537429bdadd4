// Buttons that the grid and the large view share.

import { h } from "./dom.js";
import { putIntoClipboard } from "./popover.js";
import { currentAddress } from "./state.js";

/** @returns {HTMLElement} A button that copies the address of the page as it is. */
export function copyLinkButton() {
  const button = h("button", { class: "button", type: "button", title: "Copy the address of this view" }, "Copy link");
  button.addEventListener("click", async () => {
    const done = await putIntoClipboard(currentAddress());
    button.textContent = done ? "Copied" : "Not copied";
    setTimeout(() => (button.textContent = "Copy link"), 1500);
  });
  return button;
}
