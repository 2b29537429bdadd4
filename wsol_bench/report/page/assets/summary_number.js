// A number in the table: its mark, its interval, its place on the scale, and the paper's number.

/** @import { Line, Value } from "./types" */
/** @import { SummaryColumn } from "./summary_columns.js" */

import { h } from "./dom.js";
import { intervalText, numberText } from "./numbers.js";

/** Signs of the marks; each has its word besides. */
const markSigns = {
  best: { sign: "●", word: "best", title: "the best of the model's methods" },
  tied: { sign: "○", word: "tied", title: "does not differ from the best" },
};

/**
 * Facts of all numbers of a table.
 *
 * @typedef {object} NumberContext
 * @property {Map<SummaryColumn, [number, number] | null>} scales
 * @property {string[]} sources Sources of the papers' numbers.
 * @property {Set<Value>} untested
 */

/**
 * The numbers of methods that no test compared with the best one: their images are too few.
 *
 * @param {Line[]} lines The lines of a run.
 * @returns {Set<Value>}
 */
export function untestedValues(lines) {
  const methods = lines.filter((line) => line.kind === "method");
  /** @type {Set<Value>} */
  const found = new Set();
  for (const { model, values } of methods) {
    for (const [name, value] of Object.entries(values)) {
      const hasBest = methods.some((other) => other.model === model && other.values[name]?.mark === "best");
      if (hasBest && value.mark === null && value.p === null) found.add(value);
    }
  }
  return found;
}

/**
 * @param {SummaryColumn} column
 * @param {Line} line
 * @param {NumberContext} context
 * @returns {HTMLElement}
 */
export function numberCell(column, line, { scales, sources, untested }) {
  const value = line.values[column.name];
  const { info } = column;
  if (!value || !info) return h("td", { class: "is-number is-missing", "data-column": column.name }, "–");
  const mark = value.mark && markSigns[value.mark];
  const p = value.p === null ? "" : `, p = ${value.p.toPrecision(2)}`;
  const test = p ? `against the best${p}` : untested.has(value) ? "not tested against the best" : null;
  return h(
    "td",
    { class: `is-number${value.mark ? ` is-${value.mark}` : ""}`, "data-column": column.name },
    h(
      "span",
      { class: "summary-value" },
      mark ? h("span", { class: "summary-mark", role: "img", "aria-label": mark.word, title: mark.title + p }, mark.sign) : null,
      h(value.mark === "best" ? "b" : "span", { title: test }, column.text(value.value)),
      h("small", {}, intervalText(info, value)),
    ),
    strip(value, scales.get(column) ?? null),
    value.paper ? paperPart(column, value, sources) : null,
  );
}

/**
 * A number and its interval as a mark on the column's scale.
 *
 * @param {Value} value
 * @param {[number, number] | null} scale
 * @returns {HTMLElement | null}
 */
function strip(value, scale) {
  if (!scale) return null;
  const at = (/** @type {number} */ x) => `${((100 * (x - scale[0])) / (scale[1] - scale[0])).toFixed(2)}%`;
  const whole = h("span", { class: "summary-strip", "aria-hidden": "true" });
  if (value.low !== null && value.high !== null) {
    const width = `${((100 * (value.high - value.low)) / (scale[1] - scale[0])).toFixed(2)}%`;
    whole.append(h("span", { class: "range", style: { left: at(value.low), width } }));
  }
  whole.append(h("span", { class: "dot", style: { left: at(value.value) } }));
  return whole;
}

/**
 * The least and greatest value of a column, with intervals.
 *
 * @param {SummaryColumn} column
 * @param {Line[]} lines
 * @returns {[number, number] | null} Null if there is no scale.
 */
export function columnScale(column, lines) {
  if (!column.info) return null;
  const ends = lines.flatMap((line) => {
    const value = line.values[column.name];
    return value ? [value.low ?? value.value, value.high ?? value.value] : [];
  });
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  return low < high ? [low, high] : null;
}

/**
 * @param {Line[]} lines
 * @param {SummaryColumn[]} shown
 * @returns {string[]} Sources of the papers' numbers, each once; they are cited by position.
 */
export function paperSources(lines, shown) {
  const values = lines.flatMap((line) => shown.map((column) => line.values[column.name]?.paper?.source));
  return [...new Set(values.filter((source) => source !== undefined))];
}

/**
 * @param {SummaryColumn} column
 * @param {Value} value
 * @param {string[]} sources
 * @returns {HTMLElement | null}
 */
function paperPart(column, value, sources) {
  if (!value.paper || !column.info) return null;
  const difference = numberText(column.info, value.value - value.paper.value);
  return h(
    "span",
    { class: "summary-paper", title: value.paper.source },
    `paper ${numberText(column.info, value.paper.value)}`,
    h("sup", {}, sources.indexOf(value.paper.source) + 1),
    ` (${difference.startsWith("−") ? "" : "+"}${difference})`,
  );
}

/**
 * @param {string[]} sources
 * @returns {HTMLElement | null}
 */
export function paperNotes(sources) {
  if (!sources.length) return null;
  return h(
    "ol",
    { class: "summary-papers muted", "aria-label": "Papers" },
    sources.map((source) => h("li", {}, source)),
  );
}
