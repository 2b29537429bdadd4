// The theme of the page: that of the system, light, or dark. It belongs to the reader, so it is kept
// in the browser and not in the address.

import { h } from "./dom.js";

const pageThemes = ["system", "light", "dark"];
const themeSigns = { system: "◐", light: "☀", dark: "☾" };
const themeKey = "wsol_bench theme";

/** @type {HTMLButtonElement | null} */
let themeSwitch = null;

let chosenTheme = "system";

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
systemIsDark.addEventListener("change", () => applyTheme(chosenTheme));

/**
 * Takes a theme; the styles read from data-theme which of the two looks it comes to.
 *
 * @param {string} theme
 */
function applyTheme(theme) {
  chosenTheme = pageThemes.includes(theme) ? theme : "system";
  const ofSystem = systemIsDark.matches ? "dark" : "light";
  document.documentElement.dataset.theme = chosenTheme === "system" ? ofSystem : chosenTheme;
  if (!themeSwitch) return;
  const name = /** @type {keyof typeof themeSigns} */ (chosenTheme);
  themeSwitch.textContent = themeSigns[name];
  themeSwitch.title = `Theme: ${name} (t)`;
  themeSwitch.setAttribute("aria-label", `Theme: ${name}`);
}

/** Goes on to the next theme. */
export function toggleTheme() {
  const next = pageThemes[(pageThemes.indexOf(chosenTheme) + 1) % pageThemes.length];
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
