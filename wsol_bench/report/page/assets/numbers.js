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
  return signedText(info.percent ? (100 * value).toFixed(2) : fewDigits(value, 4));
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
  const [low, high] = [value.low, value.high].map((end) => signedText(info.percent ? (100 * end).toFixed(1) : fewDigits(end, 3)));
  return low.startsWith("−") || high.startsWith("−") ? `${low} to ${high}` : `${low}–${high}`;
}

/**
 * @param {string} text A number in digits.
 * @returns {string} The number with a minus sign instead of a hyphen, and without a sign if it is 0.
 */
function signedText(text) {
  return text.replace(/^-/, /[1-9]/.test(text) ? "−" : "");
}

/**
 * @param {number} value
 * @param {number} digits
 * @returns {string} The number with so many significant digits at most, but with all digits in front
 *     of the point, and without an exponent if it is of a usual size.
 */
export function fewDigits(value, digits) {
  return String(Math.abs(value) >= 10 ** digits ? Math.round(value) : Number(value.toPrecision(digits)));
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
  const name = modelName(overview, model);
  return overview.runs.length > 1 ? `${name}, ${overview.runs[overview.models[model].run].name}` : name;
}

/**
 * @param {Overview} overview
 * @param {number} model
 * @returns {string} The model's name in its run; a run without a model has one that is named "-".
 */
export function modelName(overview, model) {
  return hasName(overview, model) ? overview.models[model].name : "no model";
}

/**
 * The end of a phrase such as "methods and baselines of squeezenet".
 *
 * @param {Overview} overview
 * @param {number} model
 * @returns {string} " of" and a name: of the run if it has no model, and empty if it is the only one.
 */
export function phraseOfModel(overview, model) {
  if (hasName(overview, model)) return ` of ${modelTitle(overview, model)}`;
  return overview.runs.length > 1 ? ` of ${overview.runs[overview.models[model].run].name}` : "";
}

/**
 * @param {Overview} overview
 * @param {number} model
 * @returns {boolean}
 */
function hasName(overview, model) {
  return !["", "-"].includes(overview.models[model].name);
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
 * @returns {boolean} True if the number depends on the method, as errors of classification do not.
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
