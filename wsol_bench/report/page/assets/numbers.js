// Numbers and names as text, the same in the table and in the charts.

/** @import { Line, NumberInfo, Overview, Value } from "./types" */

/**
 * A number as people read it: percent with two decimals, other numbers with four digits.
 *
 * @param {NumberInfo} info
 * @param {number | null | undefined} value
 * @returns {string} A dash if there is no number.
 */
export function numberText(info, value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return info.percent ? (100 * value).toFixed(2) : fewDigits(value, 4);
}

/**
 * The ends of a number's interval, with a decimal less than the number itself.
 *
 * @param {NumberInfo} info
 * @param {Value | undefined} value
 * @returns {string} Empty if there is no interval.
 */
export function intervalText(info, value) {
  if (!value || value.low === null || value.high === null) return "";
  const end = (/** @type {number} */ x) => (info.percent ? (100 * x).toFixed(1) : fewDigits(x, 3));
  return `${end(value.low)}–${end(value.high)}`;
}

/**
 * @param {number} value
 * @param {number} digits
 * @returns {string} With at most so many significant digits, and no exponent for usual numbers.
 */
export function fewDigits(value, digits) {
  return String(Number(value.toPrecision(digits)));
}

/**
 * @param {number} n
 * @param {string} one
 * @param {string} [many]
 * @returns {string} "1 image", "1,000 images".
 */
export function countText(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en-US")} ${n === 1 ? one : many}`;
}

/**
 * The name of a line among all lines of the page.
 *
 * @param {Overview} overview
 * @param {Line} line
 * @returns {string}
 */
export function fullLineName(overview, line) {
  const parts = [line.name];
  if (overview.models.length > 1) parts.push(modelTitle(overview, line.model));
  return parts.join(" · ");
}

/**
 * The name of a model among all models of the page.
 *
 * @param {Overview} overview
 * @param {number} model
 * @returns {string}
 */
export function modelTitle(overview, model) {
  const { name, run } = overview.models[model];
  return overview.runs.length > 1 ? `${name || "no model"}, ${overview.runs[run].name}` : name || "no model";
}

/**
 * The numbers that a line of `lines` has a value of.
 *
 * @param {Overview} overview
 * @param {Line[]} lines
 * @returns {NumberInfo[]} Those that are shown from the beginning come first.
 */
export function numbersOf(overview, lines) {
  const known = overview.numbers.filter((info) => lines.some((line) => info.name in line.values));
  return [...known.filter((info) => info.shown), ...known.filter((info) => !info.shown)];
}

/**
 * @param {NumberInfo} info
 * @returns {boolean} Whether the number depends on the method, as errors of classification do not.
 */
export function isOfBoxes(info) {
  return !/_cls_/.test(info.name);
}

/**
 * Compares two numbers so that the better one comes first, and a missing one last.
 *
 * @param {number | null | undefined} a
 * @param {number | null | undefined} b
 * @param {boolean} ascending
 * @returns {number}
 */
export function compareNumbers(a, b, ascending) {
  const [noA, noB] = [a, b].map((x) => x === null || x === undefined || Number.isNaN(x));
  if (noA || noB) return Number(noA) - Number(noB);
  const difference = /** @type {number} */ (a) - /** @type {number} */ (b);
  return ascending ? difference : -difference;
}
