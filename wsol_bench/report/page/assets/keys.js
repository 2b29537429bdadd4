// The keys of the page. Each part of the page says which keys it has; the help shows them all.

/**
 * @typedef {object} Shortcut
 * @property {string[]} keys As KeyboardEvent.key names them.
 * @property {string} where Part of the page, for the help.
 * @property {string} what What the key does, for the help.
 * @property {(event: KeyboardEvent) => void} act
 * @property {() => boolean} [when] Whether the key means this now; always if it is left out.
 */

/** @type {Shortcut[]} */
const pageShortcuts = [];

/** @param {...Shortcut} shortcuts */
export function addShortcuts(...shortcuts) {
  pageShortcuts.push(...shortcuts);
}

/** @returns {readonly Shortcut[]} */
export function allShortcuts() {
  return pageShortcuts;
}

/** Begins to listen. Keys that a focused field or a browser needs for itself do nothing here. */
export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (keyBelongsTo(event.target, event.key) || document.querySelector("dialog.sheet[open]")) return;
    const meant = pageShortcuts.find(({ keys, when }) => keys.includes(event.key) && (!when || when()));
    if (!meant) return;
    event.preventDefault();
    meant.act(event);
  });
}

/**
 * Whether an element has its own use for a key.
 *
 * @param {EventTarget | null} target
 * @param {string} key
 * @returns {boolean}
 */
function keyBelongsTo(target, key) {
  if (!(target instanceof Element)) return false;
  const kind = target instanceof HTMLInputElement ? target.type : "";
  const moves = /^(Arrow|Page|Home$|End$)/.test(key);
  const presses = key === "Enter" || key === " ";
  if (kind === "checkbox") return presses;
  if (kind === "radio" || kind === "range") return moves || presses;
  if (target.closest("input, select, textarea, [contenteditable]")) return true;
  if (target.closest("[role=tab]")) return moves || presses;
  return presses && target.closest("button, a[href], summary") !== null;
}

/**
 * How a key is written in the help.
 *
 * @param {string} key
 * @returns {string}
 */
export function keyText(key) {
  /** @type {Record<string, string>} */
  const signs = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space", Escape: "Esc" };
  return signs[key] ?? key;
}
