// The summary: a table for each run, and the facts that belong to its numbers.

/** @import { Line, Overview, Run, Source, Value } from "./types" */
/** @import { SummaryColumn } from "./summary_columns.js" */

import { h, replaceChildren } from "./dom.js";
import { intervalText, numberText } from "./numbers.js";
import { copyButton, popover, tickBox } from "./popover.js";
import { getState, onState, setState, stateToText } from "./state.js";
import {
  liftedNumbers,
  modelFacts,
  orderedLines,
  sharedLayer,
  shownColumns,
  summaryColumns,
  withColumn,
} from "./summary_columns.js";
import { runFacts } from "./summary_facts.js";
import { summaryCsv, summaryMarkdown } from "./summary_text.js";

/** Signs of the marks; each has its word besides. */
const markSigns = {
  best: { sign: "●", word: "best", title: "the best of the model's methods" },
  tied: { sign: "○", word: "tied", title: "does not differ from the best" },
};

/** The groups of a model's lines, in the order in which they stand. */
const lineKinds = /** @type {const} */ ([
  ["method", ""],
  ["baseline", "Baselines"],
  ["sanity", "Sanity checks"],
]);

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
          summaryCsv(overview, tableLines(lines, columns), shown()),
        ),
        copyButton("Copy Markdown", "Copies the table as Markdown", () =>
          summaryMarkdown(overview, run, tableLines(lines, columns), shown()),
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
  return `${dataset.name}, ${dataset.n_images.toLocaleString("en-US")} images · protocol ${protocol.name} (${protocol.hash.slice(0, 12)})`;
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
 * @returns {HTMLElement} What the signs of the table say.
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
      ? [h("span", { class: "summary-best" }, "○"), " does not differ from the best (paired test, Holm-corrected, p ≥ 0.05)."]
      : null,
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

/**
 * The lines in the order in which the table shows them: by model, by kind, then sorted.
 *
 * @param {Line[]} lines
 * @param {SummaryColumn[]} columns
 * @returns {Line[]}
 */
function tableLines(lines, columns) {
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
function drawTable(overview, lines, columns, frame) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.closest("th")?.dataset.column;
  const shown = shownColumns(columns, getState().columns);
  const scales = new Map(shown.map((column) => [column, columnScale(column, lines)]));
  const sources = paperSources(lines, shown);
  const ordered = tableLines(lines, columns);
  const models = [...new Set(lines.map((line) => line.model))];
  const bodies = models.flatMap((model) => [
    h("tbody", {}, modelRow(overview, model, lines, shown.length + 1)),
    ...lineKinds.map(([kind, title]) => {
      const own = ordered.filter((line) => line.model === model && line.kind === kind);
      if (!own.length) return null;
      const shared = sharedLayer(model, lines);
      const rows = own.map((line) => {
        const layer = line.layer === shared || line.name.includes(line.layer) ? "" : line.layer;
        return lineRow(overview, line, layer, shown, scales, sources);
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
      h("div", {}, h("strong", {}, overview.models[model].name || "no model"), ...facts, ...numbers),
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
 * @param {string} layer What is said of its layer.
 * @param {SummaryColumn[]} shown
 * @param {Map<SummaryColumn, [number, number] | null>} scales
 * @param {string[]} sources
 * @returns {HTMLElement}
 */
function lineRow(overview, line, layer, shown, scales, sources) {
  const patch = { view: "images", model: line.model, line: overview.lines.indexOf(line), image: "" };
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
      column.info ? numberCell(column, line, scales.get(column) ?? null, sources) : plainCell(column, line),
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

/**
 * @param {SummaryColumn} column
 * @param {Line} line
 * @param {[number, number] | null} scale
 * @param {string[]} sources
 * @returns {HTMLElement}
 */
function numberCell(column, line, scale, sources) {
  const value = line.values[column.name];
  const { info } = column;
  if (!value || !info) return h("td", { class: "is-number is-missing", "data-column": column.name }, "–");
  const mark = value.mark && markSigns[value.mark];
  const p = value.p === null ? "" : `, p = ${value.p.toPrecision(2)}`;
  return h(
    "td",
    { class: `is-number${value.mark ? ` is-${value.mark}` : ""}`, "data-column": column.name },
    h(
      "span",
      { class: "summary-value" },
      mark ? h("span", { class: "summary-mark", role: "img", "aria-label": mark.word, title: mark.title + p }, mark.sign) : null,
      h(value.mark === "best" ? "b" : "span", { title: p ? `against the best${p}` : null }, column.text(value.value)),
      h("small", {}, intervalText(info, value)),
    ),
    strip(value, scale),
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
function columnScale(column, lines) {
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
function paperSources(lines, shown) {
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
  const difference = value.value - value.paper.value;
  const sign = difference < 0 ? "−" : "+";
  return h(
    "span",
    { class: "summary-paper", title: value.paper.source },
    `paper ${numberText(column.info, value.paper.value)}`,
    h("sup", {}, sources.indexOf(value.paper.source) + 1),
    ` (${sign}${numberText(column.info, Math.abs(difference))})`,
  );
}

/**
 * @param {string[]} sources
 * @returns {HTMLElement | null}
 */
function paperNotes(sources) {
  if (!sources.length) return null;
  return h(
    "ol",
    { class: "summary-papers muted", "aria-label": "Papers" },
    sources.map((source) => h("li", {}, source)),
  );
}
