// The table of a run: a body for each model and kind of lines, and a row for each line.

/** @import { Line, Overview } from "./types" */
/** @import { SummaryColumn } from "./summary_columns.js" */
/** @import { NumberContext } from "./summary_number.js" */

import { h, replaceChildren } from "./dom.js";
import { imagesOfLine } from "./image_links.js";
import { intervalText, modelName, numberText } from "./numbers.js";
import { getState, setState, stateToText } from "./state.js";
import { liftedNumbers, modelFacts, orderedLines, sharedLayer, shownColumns } from "./summary_columns.js";
import { columnScale, numberCell, paperNotes, paperSources, untestedValues } from "./summary_number.js";

/** The groups of a model's lines, in the order in which they stand. */
const lineKinds = /** @type {const} */ ([
  ["method", ""],
  ["baseline", "Baselines"],
  ["sanity", "Sanity checks"],
]);

/**
 * The lines in the order in which the table shows them: by model, by kind, then sorted.
 *
 * @param {Line[]} lines
 * @param {SummaryColumn[]} columns
 * @returns {Line[]}
 */
export function tableLines(lines, columns) {
  const models = [...new Set(lines.map((line) => line.model))];
  return models.flatMap((model) =>
    lineKinds.flatMap(([kind]) =>
      orderedLines(
        lines.filter((line) => line.model === model && line.kind === kind),
        columns,
        getState().order,
      ),
    ),
  );
}

/**
 * @param {Overview} overview
 * @param {Line[]} lines
 * @param {SummaryColumn[]} columns
 * @param {HTMLElement} frame
 */
export function drawTable(overview, lines, columns, frame) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.closest("th")?.dataset.column;
  const shown = shownColumns(columns, getState().columns);
  const scales = new Map(shown.map((column) => [column, columnScale(column, lines)]));
  const sources = paperSources(lines, shown);
  const ordered = tableLines(lines, columns);
  const models = [...new Set(lines.map((line) => line.model))];
  const untested = untestedValues(lines);
  const bodies = models.flatMap((model) => [
    h("tbody", {}, modelRow(overview, model, lines, shown.length + 1)),
    ...lineKinds.map(([kind, title]) => {
      const own = ordered.filter((line) => line.model === model && line.kind === kind);
      if (!own.length) return null;
      const shared = sharedLayer(model, lines);
      const rows = own.map((line) => {
        const layer = line.layer === shared || line.name.includes(line.layer) ? "" : line.layer;
        return lineRow(overview, line, layer, shown, { scales, sources, untested });
      });
      return h("tbody", { class: `is-${kind}` }, title ? kindRow(title, shown.length + 1) : null, rows);
    }),
  ]);
  const table = h(
    "table",
    { class: "summary-table" },
    h("caption", { class: "unseen" }, "Numbers of each method"),
    h("thead", {}, h("tr", {}, headerCell(null), shown.map(headerCell))),
    bodies.filter((body) => body !== null),
  );
  replaceChildren(frame, table, paperNotes(sources));
  if (focused !== undefined) {
    const button = frame.querySelector(`th[data-column="${CSS.escape(focused)}"] button`);
    if (button instanceof HTMLElement) button.focus();
  }
}

/**
 * @param {SummaryColumn | null} column Null for the names of methods.
 * @returns {HTMLElement}
 */
function headerCell(column) {
  const name = column?.name ?? "method";
  const { order } = getState();
  const [usual, other] = column && !column.lowerFirst ? [`-${name}`, name] : [name, `-${name}`];
  const next = order === usual ? other : order === other ? "" : usual;
  const sorted = order === name ? "ascending" : order === `-${name}` ? "descending" : "none";
  return h(
    "th",
    {
      scope: "col",
      class: column ? `is-${column.group}` : "summary-name",
      "data-column": name,
      "aria-sort": sorted,
    },
    h(
      "button",
      { type: "button", title: column?.meaning ?? null, onclick: () => setState({ order: next }) },
      h(
        "span",
        { class: "summary-title" },
        column?.title ?? "method",
        h("span", { class: "summary-sort", "aria-hidden": "true" }, { ascending: "▲", descending: "▼", none: "" }[sorted]),
      ),
      column?.hint ? h("span", { class: "summary-hint" }, column.hint) : null,
    ),
  );
}

/**
 * @param {Overview} overview
 * @param {number} model
 * @param {Line[]} lines
 * @param {number} span
 * @returns {HTMLElement}
 */
function modelRow(overview, model, lines, span) {
  const own = lines.find((line) => line.model === model && Object.keys(line.values).length);
  const numbers = liftedNumbers(overview, lines)
    .filter((info) => info.shown && own?.values[info.name])
    .map((info) => {
      const value = own?.values[info.name];
      return h(
        "span",
        { title: info.meaning },
        `${info.title} `,
        h("b", {}, numberText(info, value?.value), info.percent ? "%" : ""),
        h("small", {}, ` ${intervalText(info, value)}`),
      );
    });
  const facts = modelFacts(overview, model, lines).map((fact) => h("span", {}, fact));
  return h(
    "tr",
    { class: "summary-model" },
    h(
      "th",
      { colspan: span, scope: "rowgroup" },
      h("div", {}, h("strong", {}, modelName(overview, model)), ...facts, ...numbers),
    ),
  );
}

/**
 * @param {string} title
 * @param {number} span
 * @returns {HTMLElement}
 */
function kindRow(title, span) {
  return h("tr", { class: "summary-kind" }, h("th", { colspan: span, scope: "rowgroup" }, h("div", {}, title)));
}

/**
 * @param {Overview} overview
 * @param {Line} line
 * @param {string} layer The layer as the row names it; empty if it does not.
 * @param {SummaryColumn[]} shown
 * @param {NumberContext} context
 * @returns {HTMLElement}
 */
function lineRow(overview, line, layer, shown, context) {
  const patch = imagesOfLine(overview, overview.lines.indexOf(line));
  const link = h(
    "a",
    { href: `#${stateToText({ ...getState(), ...patch })}`, title: "Show the images of this line" },
    breakableName(line.name),
  );
  const open = (/** @type {MouseEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    if (!link.contains(/** @type {Node} */ (event.target)) && String(getSelection())) return;
    event.preventDefault();
    setState(patch, { push: true });
  };
  const name = h("th", { scope: "row", class: "summary-name" }, link, layer && h("small", {}, layer));
  if (line.status !== "ok") {
    const numbers = shown.filter((column) => column.group === "number").length;
    const reason = h("td", { colspan: numbers, class: "summary-reason" }, statusText(line));
    const others = shown.filter((column) => column.group !== "number");
    return h("tr", {}, name, numbers ? reason : null, others.map((column) => plainCell(column, line)));
  }
  return h(
    "tr",
    { onclick: open },
    name,
    shown.map((column) =>
      column.info ? numberCell(column, line, context) : plainCell(column, line),
    ),
  );
}

/**
 * @param {string} name
 * @returns {(string | HTMLElement)[]} The name, which may break behind each "_".
 */
function breakableName(name) {
  return name.split(/(?<=_)/).flatMap((part, i) => (i ? [h("wbr"), part] : [part]));
}

/**
 * @param {Line} line
 * @returns {string}
 */
function statusText(line) {
  const status = { not_applicable: "not applicable", no_images: "no image was evaluated", ok: "" }[line.status];
  return line.reason ? `${status}: ${line.reason}` : status;
}

/**
 * @param {SummaryColumn} column
 * @param {Line} line
 * @returns {HTMLElement}
 */
function plainCell(column, line) {
  return h("td", { class: `is-${column.group}`, "data-column": column.name }, column.text(column.value(line)));
}
