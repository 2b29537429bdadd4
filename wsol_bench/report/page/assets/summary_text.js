// The summary as text, to be copied.

/** @import { Line, Overview, Run } from "./types" */
/** @import { SummaryColumn } from "./summary_columns.js" */

import { intervalText } from "./numbers.js";
import { csvText, markdownCell, markdownTable } from "./table_text.js";

/**
 * Lines as CSV: all digits, fractions from 0 to 1, with intervals, marks and papers' numbers.
 *
 * @param {Overview} overview
 * @param {Line[]} lines
 * @param {SummaryColumn[]} columns
 * @returns {string}
 */
export function summaryCsv(overview, lines, columns) {
  /** @type {[string, (line: Line) => string | number | null][]} */
  const fields = [
    ["run", (line) => overview.runs[line.run].name],
    ["model", (line) => overview.models[line.model].name],
    ["method", (line) => line.method],
    ["layer", (line) => line.layer],
    ["kind", (line) => line.kind],
    ["status", (line) => line.status],
  ];
  for (const column of columns) {
    fields.push([column.name, column.value]);
    if (!column.info) continue;
    const value = (/** @type {Line} */ line) => line.values[column.name];
    fields.push([`${column.name}_low`, (line) => value(line)?.low ?? null]);
    fields.push([`${column.name}_high`, (line) => value(line)?.high ?? null]);
    if (lines.some((line) => value(line)?.mark)) fields.push([`${column.name}_mark`, (line) => value(line)?.mark ?? null]);
    if (lines.some((line) => value(line)?.paper)) {
      fields.push([`${column.name}_paper`, (line) => value(line)?.paper?.value ?? null]);
    }
  }
  return csvText([fields.map(([name]) => name), ...lines.map((line) => fields.map(([, field]) => field(line)))]);
}

/**
 * Lines as Markdown: percent, the best number in bold, and a "†" at numbers that do not differ from it.
 *
 * @param {Overview} overview
 * @param {Run} run
 * @param {Line[]} lines
 * @param {SummaryColumn[]} columns
 * @returns {string}
 */
export function summaryMarkdown(overview, run, lines, columns) {
  const titles = columns.map((column) => markdownCell(column.info?.percent ? `${column.title} (%)` : column.title));
  const rows = lines.map((line) => [
    markdownCell(overview.models[line.model].name),
    markdownCell(line.name),
    markdownCell(line.layer),
    ...columns.map((column) => markdownNumber(column, line)),
  ]);
  const table = markdownTable(
    [["model", "method", "layer", ...titles], ...rows],
    [.../** @type {const} */ (["left", "left", "left"]), ...columns.map(() => /** @type {const} */ ("right"))],
  );
  const { dataset, protocol } = run;
  const facts = `${dataset.name}, protocol ${protocol.name} (${protocol.hash.slice(0, 12)})`;
  return `${table}\n${markdownCell(facts)}. In brackets: 95% interval over images. Bold: best of the model's methods; †: does not differ from it (paired test, Holm-corrected).\n`;
}

/**
 * @param {SummaryColumn} column
 * @param {Line} line
 * @returns {string}
 */
function markdownNumber(column, line) {
  if (line.status !== "ok" && column.info) return line.status.replaceAll("_", " ");
  const value = line.values[column.name];
  const text = column.text(column.value(line));
  const number = value?.mark === "best" ? `**${text}**` : value?.mark === "tied" ? `${text}†` : text;
  const interval = column.info ? intervalText(column.info, value) : "";
  return interval ? `${number} [${interval}]` : number;
}
