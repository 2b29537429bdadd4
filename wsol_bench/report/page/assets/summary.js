// The summary: a part for each run, with its table and the facts that belong to its numbers.

/** @import { Line, Overview, Run, Source } from "./types" */
/** @import { SummaryColumn } from "./summary_columns.js" */

import { h, replaceChildren } from "./dom.js";
import { countText } from "./numbers.js";
import { copyButton, popover, tickBox } from "./popover.js";
import { getState, onState, setState } from "./state.js";
import { liftedNumbers, shownColumns, summaryColumns, withColumn } from "./summary_columns.js";
import { runFacts } from "./summary_facts.js";
import { untestedValues } from "./summary_number.js";
import { drawTable, tableLines } from "./summary_table.js";
import { summaryCsv, summaryMarkdown } from "./summary_text.js";

/**
 * @param {Source} source
 * @returns {HTMLElement}
 */
export function summaryView(source) {
  const { overview } = source;
  return h(
    "div",
    { class: "summary" },
    overview.runs.map((run, position) => runSection(overview, run, position)),
  );
}

/**
 * @param {Overview} overview
 * @param {Run} run
 * @param {number} position
 * @returns {HTMLElement}
 */
function runSection(overview, run, position) {
  const lines = overview.lines.filter((line) => line.run === position);
  const columns = summaryColumns(overview, lines);
  const shown = () => shownColumns(columns, getState().columns);
  // What stands in a model's heading, since all its lines have it, is a column of the copied table.
  const lifted = new Set(liftedNumbers(overview, lines));
  const copied = () => {
    const chosen = new Set(shown());
    return columns.filter((column) => chosen.has(column) || (column.info && column.info.shown && lifted.has(column.info)));
  };
  const frame = h("div", { class: "summary-frame" });
  const chooser = h("div", { class: "summary-chooser" });
  const facts = runFacts(overview, run, lines);
  const usual = h("button", { class: "button", type: "button", onclick: () => setState({ columns: "" }) }, "Usual columns");
  const findings = run.findings.length
    ? h("button", { class: "summary-findings-link", type: "button" }, findingsText(run.findings.length))
    : null;
  findings?.addEventListener("click", () => facts.querySelector(".summary-findings")?.scrollIntoView());
  const draw = () => drawTable(overview, lines, columns, frame);
  const drawChooser = () => fillChooser(chooser, columns);
  onState((_, changed) => {
    if (changed.has("columns")) drawChooser();
    if (changed.has("columns") || changed.has("order")) draw();
  });
  new ResizeObserver(() => {
    const table = frame.firstElementChild;
    if (table) frame.classList.toggle("is-scrolled", table.scrollWidth > frame.clientWidth + 1);
  }).observe(frame);
  drawChooser();
  draw();
  return h(
    "section",
    { class: "summary-run", "aria-labelledby": `summary-run-${position}` },
    h(
      "header",
      { class: "summary-head" },
      h(
        "div",
        { class: "summary-heading" },
        h("h2", { id: `summary-run-${position}` }, run.name),
        h("p", { class: "muted" }, runLine(run), findings ? " · " : null, findings),
      ),
      h(
        "div",
        { class: "summary-tools" },
        popover("Columns", h("div", {}, chooser, usual)),
        copyButton("Copy CSV", "Copies the table as CSV: fractions, all digits", () =>
          summaryCsv(overview, tableLines(lines, columns), copied()),
        ),
        copyButton("Copy Markdown", "Copies the table as Markdown", () =>
          summaryMarkdown(overview, run, tableLines(lines, columns), copied()),
        ),
      ),
    ),
    frame,
    legend(lines),
    facts,
  );
}

/**
 * @param {Run} run
 * @returns {string}
 */
function runLine(run) {
  const { dataset, protocol } = run;
  return `${dataset.name}, ${countText(dataset.n_images, "image")} · protocol ${protocol.name} (${protocol.hash.slice(0, 12)})`;
}

/**
 * @param {number} n
 * @returns {string}
 */
function findingsText(n) {
  return n === 1 ? "⚠ 1 finding" : `⚠ ${n} findings`;
}

/**
 * @param {Line[]} lines
 * @returns {HTMLElement} A paragraph that explains the signs that the table has.
 */
function legend(lines) {
  const values = lines.flatMap((line) => Object.values(line.values));
  const marks = new Set(values.map((value) => value.mark));
  return h(
    "p",
    { class: "summary-legend muted" },
    values.some((value) => value.low !== null) ? "Small numbers: 95% interval over images. " : null,
    marks.has("best") ? [h("b", { class: "summary-best" }, "●"), " best of the model's methods. "] : null,
    marks.has("tied")
      ? [h("span", { class: "summary-best" }, "○"), " does not differ from the best (paired test, Holm-corrected, p ≥ 0.05). "]
      : null,
    untestedValues(lines).size ? "Methods with fewer than six images in common with the best are not tested against it." : null,
  );
}

/**
 * @param {HTMLElement} chooser
 * @param {SummaryColumn[]} columns
 */
function fillChooser(chooser, columns) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.closest("label")?.dataset.column;
  const shown = shownColumns(columns, getState().columns);
  const titles = { number: "Numbers", cost: "Cost of an image", count: "Counts and thresholds" };
  replaceChildren(
    chooser,
    Object.entries(titles).map(([group, title]) => {
      const own = columns.filter((column) => column.group === group);
      if (!own.length) return null;
      const boxes = own.map((column) =>
        tickBox(
          group === "cost" ? `${column.title} (${column.hint})` : column.title,
          shown.includes(column),
          (checked) => setState({ columns: withColumn(column, checked, getState().columns) }),
          { "data-column": column.name, title: column.meaning },
        ),
      );
      return h("fieldset", {}, h("legend", {}, title), boxes);
    }),
  );
  const input = focused && chooser.querySelector(`[data-column="${CSS.escape(focused)}"] input`);
  if (input instanceof HTMLElement) input.focus();
}
