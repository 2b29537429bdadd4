// The summary as text, to be copied.

/** @import { Line, Overview, Run } from "./types" */
/** @import { SummaryColumn } from "./summary_columns.js" */

import { intervalText, modelName, numberText } from "./numbers.js";
import { paperSources } from "./summary_number.js";
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
 * Lines as Markdown: percent, the best number in bold, a "†" at numbers that do not differ from it, and
 * the papers' numbers. Below the table stands what its signs mean, as far as it has them.
 *
 * @param {Overview} overview
 * @param {Run} run
 * @param {Line[]} lines
 * @param {SummaryColumn[]} columns
 * @returns {string}
 */
export function summaryMarkdown(overview, run, lines, columns) {
  const titles = columns.map((column) => markdownCell(column.info?.percent ? `${column.title} (%)` : column.title));
  const sources = paperSources(lines, columns);
  const rows = lines.map((line) => [
    markdownCell(modelName(overview, line.model)),
    kindTitles[line.kind],
    markdownCell(line.name),
    markdownCell(line.layer),
    ...columns.map((column) => markdownNumber(column, line, sources)),
  ]);
  const table = markdownTable(
    [["model", "kind", "method", "layer", ...titles], ...rows],
    [.../** @type {const} */ (["left", "left", "left", "left"]), ...columns.map(() => /** @type {const} */ ("right"))],
  );
  const { dataset, protocol } = run;
  const facts = `${dataset.name}, protocol ${protocol.name} (${protocol.hash.slice(0, 12)})`;
  const values = lines.flatMap((line) => (line.status === "ok" ? columns.flatMap(({ name }) => line.values[name] ?? []) : []));
  const notes = [
    `${markdownCell(facts)}.`,
    values.some(({ low, high }) => low !== null && high !== null) && "In brackets: 95% interval over images.",
    values.some(({ mark }) => mark === "best") && "Bold: best of the model's methods.",
    values.some(({ mark }) => mark === "tied") && "†: does not differ from the best (paired test, Holm-corrected, p ≥ 0.05).",
    sources.length && `Papers: ${sources.map((source, i) => `(${i + 1}) ${markdownCell(source)}`).join("; ")}.`,
  ];
  return `${table}\n${notes.filter(Boolean).join(" ")}\n`;
}

/** @type {Record<Line["kind"], string>} */
const kindTitles = { method: "method", baseline: "baseline", sanity: "sanity check" };

/**
 * @param {SummaryColumn} column
 * @param {Line} line
 * @param {string[]} sources Sources of the papers' numbers, which are cited by position.
 * @returns {string}
 */
function markdownNumber(column, line, sources) {
  if (line.status !== "ok" && column.info) return line.status.replaceAll("_", " ");
  const value = line.values[column.name];
  const text = column.text(column.value(line));
  const number = value?.mark === "best" ? `**${text}**` : value?.mark === "tied" ? `${text}†` : text;
  const interval = column.info ? intervalText(column.info, value) : "";
  const paper = column.info && value?.paper ? `, paper ${numberText(column.info, value.paper.value)} (${sources.indexOf(value.paper.source) + 1})` : "";
  return `${number}${interval && ` [${interval}]`}${paper}`;
}
