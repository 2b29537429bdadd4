// Small parts that the table and the charts share: a button that opens choices, and one that copies.

import { h } from "./dom.js";

/**
 * A button that shows some content below it. Escape and a click elsewhere close it.
 *
 * @param {string} label
 * @param {HTMLElement} content
 * @returns {HTMLDetailsElement}
 */
export function popover(label, content) {
  const opener = h("summary", { class: "button" }, h("span", { class: "popover-label" }, label));
  const details = h("details", { class: "popover" }, opener, h("div", { class: "popover-content" }, content));
  details.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !details.open) return;
    event.stopPropagation();
    details.open = false;
    opener.focus();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!details.contains(/** @type {Node} */ (event.target))) details.open = false;
  });
  return details;
}

/**
 * A box to tick, with its label.
 *
 * @param {string} label
 * @param {boolean} checked
 * @param {(checked: boolean) => void} onChange
 * @param {Record<string, any>} [props] Of the label.
 * @returns {HTMLLabelElement}
 */
export function tickBox(label, checked, onChange, props = {}) {
  const input = h("input", { type: "checkbox" });
  input.checked = checked;
  input.addEventListener("change", () => onChange(input.checked));
  return h("label", { class: "tick", ...props }, input, h("span", {}, label));
}

/**
 * A button that copies a text.
 *
 * @param {string} label
 * @param {string} title
 * @param {() => string} text
 * @returns {HTMLButtonElement}
 */
export function copyButton(label, title, text) {
  const button = h("button", { class: "button", type: "button", title }, label);
  button.addEventListener("click", async () => {
    const done = await putIntoClipboard(text());
    button.textContent = done ? "Copied" : "Not copied";
    setTimeout(() => (button.textContent = label), 1600);
  });
  button.setAttribute("aria-live", "polite");
  return button;
}

/**
 * Puts a text into the clipboard, also where a page has no right to use the new way.
 *
 * @param {string} text
 * @returns {Promise<boolean>} Whether it did.
 */
export async function putIntoClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "unseen", readonly: true });
    area.value = text;
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (focused instanceof HTMLElement) focused.focus();
    return done;
  }
}
