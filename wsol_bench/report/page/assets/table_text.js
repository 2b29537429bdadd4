// A table as text: CSV for programs, Markdown for people.

/**
 * @param {(string | number | null)[][]} rows
 * @returns {string} CSV as in RFC 4180, with line feeds; null is an empty cell.
 */
export function csvText(rows) {
  return rows.map((row) => row.map(csvCell).join(",") + "\n").join("");
}

/**
 * A number stays as it is. A text that spreadsheets would take for a formula gets an apostrophe in
 * front, by which they take it as text.
 *
 * @param {string | number | null} cell
 * @returns {string}
 */
function csvCell(cell) {
  const isFormula = typeof cell === "string" && /^[=+@-]./s.test(cell);
  const text = cell === null ? "" : `${isFormula ? "'" : ""}${cell}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * @param {string[][]} rows The first row holds the titles.
 * @param {("left" | "right")[]} sides
 * @returns {string} A table of Markdown whose cells are Markdown.
 */
export function markdownTable(rows, sides) {
  const rule = sides.map((side) => (side === "right" ? "---:" : "---"));
  return [rows[0], rule, ...rows.slice(1)].map((row) => `| ${row.join(" | ")} |\n`).join("");
}

/**
 * Escapes a text as `markdown_text` of wsol_bench/common/harmless.py does.
 *
 * @param {string} text
 * @returns {string} The text as it is in a cell of Markdown, whatever markup it seems to hold.
 */
export function markdownCell(text) {
  return text
    .replace(/\s+/g, " ")
    .replace(/[\\`*|<>&[\]~$#]|(?<!\w)_|_(?!\w)/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
