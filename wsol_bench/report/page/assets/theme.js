// The theme of the page: that of the system, light, or dark. It belongs to the reader, so it is kept
// in the browser and not in the address.

import { h } from "./dom.js";

const pageThemes = ["system", "light", "dark"];
const themeSigns = { system: "◐", light: "☀", dark: "☾" };
const themeKey = "wsol_bench theme";

/** @type {HTMLButtonElement | null} */
let themeSwitch = null;

/** @returns {string} */
function chosenTheme() {
  return document.documentElement.dataset.theme ?? "system";
}

/** @param {string} theme */
function applyTheme(theme) {
  if (theme === "system" || !pageThemes.includes(theme)) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  if (!themeSwitch) return;
  const name = /** @type {keyof typeof themeSigns} */ (chosenTheme());
  themeSwitch.textContent = themeSigns[name];
  themeSwitch.title = `Theme: ${name} (t)`;
  themeSwitch.setAttribute("aria-label", `Theme: ${name}`);
}

/** Goes on to the next theme. */
export function toggleTheme() {
  const next = pageThemes[(pageThemes.indexOf(chosenTheme()) + 1) % pageThemes.length];
  applyTheme(next);
  try {
    localStorage.setItem(themeKey, next);
  } catch {
    // a browser that keeps nothing of files: the theme lasts as long as the page
  }
}

/** @returns {HTMLElement} The button that changes the theme. */
export function themeButton() {
  themeSwitch = h("button", { class: "button quiet square", type: "button", onclick: toggleTheme });
  let kept = null;
  try {
    kept = localStorage.getItem(themeKey);
  } catch {
    // as above
  }
  applyTheme(kept ?? "system");
  return themeSwitch;
}
