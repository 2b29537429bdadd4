// The state of the page. It stands in the address (after #), so that a link shows the same to a
// colleague; what equals its default is left out. Models and lines are positions in the state and
// names in the address: a page that is made again with more methods has other positions.

/** @import { Overview } from "./types" */

/**
 * @typedef {object} State
 * @property {string} view The part of the page that is open: summary, charts, images.
 * @property {string} image Id of the image that is shown large; empty for none.
 * @property {number} model Model whose images are explored: position in Overview.models.
 * @property {string} lines Lines that are shown, by position and separated by commas; empty for all.
 * @property {string} judge Box that outcomes are about: gt_known (the label's), top1.
 * @property {number} line Line that outcome, sort and heatmaps of the grid are about; -1 for the first shown.
 * @property {string} outcome Names of the outcomes that are kept, separated by commas; empty for all.
 * @property {number} a First line of a pair, which must hit in "a hits and b misses"; -1 for none.
 * @property {number} b Second line of the pair, which must miss; -1 for none.
 * @property {string} pair "split" keeps images that a hits and b misses; "all" keeps the others as well.
 * @property {string} class wnid of the label that is kept; empty for all.
 * @property {string} size Bin of the object's size that is kept, "low-high"; empty for all.
 * @property {string} text Text that id, wnid or words of the label contain.
 * @property {string} flag Name of the flag that kept images have (filters.js); empty for all.
 * @property {string} sort Order of the images (filters.js); empty for that of the run.
 * @property {number} slot Rank of the class whose maps are shown large; 0 for the label.
 * @property {number} threshold Threshold of the slider; -1 for each line's own.
 * @property {number} heat 1 if heatmaps are shown, else 0.
 * @property {number} boxes 1 if boxes are shown, else 0.
 * @property {number} opacity Opacity of heatmaps where they are highest, from 0 to 1.
 * @property {string} number Number that charts are about; empty for the first.
 * @property {string} cost Cost that the chart of costs is about.
 * @property {string} curve Number whose curves over thresholds are drawn; empty for the first that
 *     the lines have which are drawn.
 * @property {string} find Text that the classes contain that the list of classes shows; empty for all.
 * @property {string} order Column by which the summary is sorted, and "-" in front for descending.
 * @property {string} columns Columns that the summary shows besides the usual ones, and, with "-" in front, hides.
 */

/** @type {Readonly<State>} */
export const defaultState = Object.freeze({
  view: "summary",
  image: "",
  model: 0,
  lines: "",
  judge: "gt_known",
  line: -1,
  outcome: "",
  a: -1,
  b: -1,
  pair: "split",
  class: "",
  size: "",
  text: "",
  flag: "",
  sort: "",
  slot: 0,
  threshold: -1,
  heat: 1,
  boxes: 1,
  opacity: 0.75,
  number: "",
  cost: "passes",
  curve: "",
  find: "",
  order: "",
  columns: "",
});

/**
 * Least and greatest value of each number of the state, besides its default. Only numbers that are
 * shares can lie between whole numbers.
 *
 * @type {Record<string, [number, number]>}
 */
const stateRanges = {
  slot: [0, Infinity],
  threshold: [0, 1],
  heat: [0, 1],
  boxes: [0, 1],
  opacity: [0, 1],
};
const stateShares = new Set(["threshold", "opacity"]);

/** @type {Record<string, "models" | "lines">} Keys whose values are positions of models or of lines. */
const statePositions = { model: "models", line: "lines", lines: "lines", a: "lines", b: "lines" };

/** @type {Record<"models" | "lines", string[]>} The name that the address has for each. */
let stateNames = { models: [], lines: [] };

/** @type {State} */
let currentState = { ...defaultState };

/** @type {((state: Readonly<State>, changed: Set<string>) => void)[]} */
const stateListeners = [];

/** Timer of an address that is not written yet. */
let addressTimer = 0;

/** @returns {Readonly<State>} The state as it is now. */
export function getState() {
  return currentState;
}

/**
 * Changes the state, writes it into the address and tells the listeners.
 *
 * Browsers refuse an address that changes often, as under a slider, so it is written a moment later.
 *
 * @param {Partial<State>} patch
 * @param {{push?: boolean}} [how] `push`: as a step that the browser's Back undoes.
 */
export function setState(patch, how = {}) {
  const before = currentState;
  currentState = { ...before, ...patch };
  const changed = changedKeys(before, currentState);
  if (!changed.size) return;
  if (how.push) {
    writeAddress(before);
    history.pushState(null, "", "#" + stateToText(currentState));
  } else if (!addressTimer) {
    addressTimer = window.setTimeout(() => writeAddress(currentState), 200);
  }
  for (const listener of stateListeners) listener(currentState, changed);
}

/**
 * @param {Partial<State>} [named] What the address says besides the state.
 * @returns {string} The address that shows the page as it is now.
 */
export function currentAddress(named = {}) {
  return location.href.replace(/#.*$/, "") + "#" + stateToText({ ...currentState, ...named });
}

/**
 * Writes a state that the address does not have yet.
 *
 * @param {Readonly<State>} state
 */
function writeAddress(state) {
  if (!addressTimer) return;
  window.clearTimeout(addressTimer);
  addressTimer = 0;
  history.replaceState(null, "", "#" + stateToText(state));
}

/** @param {(state: Readonly<State>, changed: Set<string>) => void} listener */
export function onState(listener) {
  stateListeners.push(listener);
}

/**
 * Takes the state from the address, now and whenever the address changes.
 *
 * @param {Overview} overview
 */
export function followAddress({ models, lines }) {
  stateNames = { models: models.map(({ key }) => key), lines: lines.map(({ key }) => key) };
  currentState = stateFromText(location.hash.slice(1));
  const follow = () => {
    window.clearTimeout(addressTimer);
    addressTimer = 0;
    const before = currentState;
    currentState = stateFromText(location.hash.slice(1));
    const changed = changedKeys(before, currentState);
    if (changed.size) for (const listener of stateListeners) listener(currentState, changed);
  };
  window.addEventListener("popstate", follow);
  window.addEventListener("hashchange", follow);
}

/**
 * @param {Readonly<State>} state
 * @returns {string}
 */
export function stateToText(state) {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) {
    if (value === defaultState[/** @type {keyof State} */ (key)]) continue;
    const names = stateNames[statePositions[key]];
    const text = names ? String(value).split(",").map((position) => names[Number(position)]).join(",") : String(value);
    parameters.set(key, text);
  }
  // These mean nothing behind #, and a link is easier to read with them.
  return parameters.toString().replaceAll("%2C", ",").replaceAll("%2F", "/").replaceAll("%40", "@");
}

/**
 * The state in a text; what it does not say, or says wrongly, is the default.
 *
 * @param {string} text
 * @returns {State}
 */
export function stateFromText(text) {
  const parameters = new URLSearchParams(text);
  /** @type {Record<string, string | number>} */
  const state = { ...defaultState };
  for (const [key, usual] of Object.entries(defaultState)) {
    const value = parameters.get(key);
    if (!value) continue;
    if (statePositions[key]) {
      const positions = knownNames(key, value).map((name) => stateNames[statePositions[key]].indexOf(name));
      if (typeof usual === "string") state[key] = positions.join(",");
      else if (positions.length === 1) state[key] = positions[0];
    } else if (typeof usual === "string") state[key] = value;
    else if (isInRange(key, Number(value))) state[key] = Number(value);
  }
  return /** @type {State} */ (/** @type {unknown} */ (state));
}

/**
 * @param {string} text An address's part behind #.
 * @returns {string[]} The models and lines that it names and that this page does not have.
 */
export function unknownNames(text) {
  const named = [...new URLSearchParams(text)].filter(([key]) => statePositions[key]);
  return [...new Set(named.flatMap(([key, value]) => value.split(",").filter((name) => name && !knownNames(key, name).length)))];
}

/**
 * @param {string} key Key of the state whose value is a position, or several.
 * @param {string} text Names, separated by commas.
 * @returns {string[]} Those that the page has.
 */
function knownNames(key, text) {
  return text.split(",").filter((name) => stateNames[statePositions[key]].includes(name));
}

/**
 * @param {string} key
 * @param {number} value
 * @returns {boolean} If true, the state can have the number.
 */
function isInRange(key, value) {
  const [least, most] = stateRanges[key];
  if (!Number.isFinite(value) || !(stateShares.has(key) || Number.isInteger(value))) return false;
  return value >= least && value <= most;
}

/**
 * @param {Readonly<State>} before
 * @param {Readonly<State>} after
 * @returns {Set<string>}
 */
function changedKeys(before, after) {
  const keys = /** @type {(keyof State)[]} */ (Object.keys(defaultState));
  return new Set(keys.filter((key) => before[key] !== after[key]));
}
