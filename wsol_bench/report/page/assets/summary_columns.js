// The columns of the summary: which there are, which are shown, and in which order they put lines.

/** @import { Line, NumberInfo, Overview, Value } from "./types" */

import { compareNumbers, countText, fewDigits, numbersOf, numberText } from "./numbers.js";

/**
 * @typedef {object} SummaryColumn
 * @property {string} name Name in the address and in CSV.
 * @property {string} title
 * @property {string} hint Small text below the title.
 * @property {string} meaning
 * @property {"number" | "cost" | "count"} group
 * @property {boolean} lowerFirst True if the first click sorts the lowest value to the top.
 * @property {NumberInfo | null} info For the numbers of a protocol.
 * @property {boolean} usual True if it is shown unless the reader hides it.
 * @property {(line: Line) => number | null} value
 * @property {(value: number | null) => string} text
 */

const costMeanings = {
  forward: ["forward", "passes", "Forward passes of the network an image, as if the method ran alone."],
  backward: ["backward", "passes", "Backward passes an image: vector-Jacobian products behind the target layer."],
  head: ["head", "passes", "Passes of the part behind the target layer alone, an image."],
  seconds: ["time", "s an image", "Seconds an image on the device of the run, as if the method ran alone."],
};

/** @type {Record<string, string>} */
const countTitles = {
  n_images: "images",
  n_scored: "images scored",
  n_skipped: "images skipped",
  n_blacklisted: "images on the blacklist",
  n_without_box: "images without a box of the label",
  n_held_out: "images held out",
  n_missing: "maps or boxes missing",
  n_not_finite: "maps not finite",
  n_zero: "maps zero everywhere",
  n_not_positive: "maps without a positive value",
  n_constant: "constant maps",
};

/**
 * @param {string} name
 * @returns {string} "images skipped" for "n_skipped".
 */
export function countTitle(name) {
  return countTitles[name] ?? name.replace(/^n_/, "").replaceAll("_", " ");
}

/**
 * All columns that a run's lines have a value of.
 *
 * @param {Overview} overview
 * @param {Line[]} lines The lines of a run.
 * @returns {SummaryColumn[]}
 */
export function summaryColumns(overview, lines) {
  const lifted = liftedNumbers(overview, lines);
  return [
    ...numbersOf(overview, lines).map((info) => numberColumn(info, lifted)),
    ...costColumns(lines),
    ...thresholdColumns(overview, lines),
    ...countColumns(lines),
  ];
}

/**
 * @param {NumberInfo} info
 * @param {NumberInfo[]} lifted
 * @returns {SummaryColumn}
 */
function numberColumn(info, lifted) {
  const better = info.better === "lower" ? "↓ lower is better" : "↑ higher is better";
  return {
    name: info.name,
    title: info.title,
    hint: info.percent ? `%, ${better}` : better,
    meaning: info.meaning,
    group: "number",
    lowerFirst: info.better === "lower",
    info,
    usual: info.shown && !lifted.includes(info),
    value: (line) => line.values[info.name]?.value ?? null,
    text: (value) => numberText(info, value),
  };
}

/**
 * @param {Line[]} lines
 * @returns {SummaryColumn[]}
 */
function costColumns(lines) {
  const names = /** @type {(keyof typeof costMeanings)[]} */ (Object.keys(costMeanings));
  return names
    .filter((name) => lines.some((line) => line.cost[name] !== null))
    .map((name) => {
      const [title, hint, meaning] = costMeanings[name];
      return {
        name: `cost_${name}`,
        title,
        hint,
        meaning,
        group: "cost",
        lowerFirst: true,
        info: null,
        usual: name !== "head" || lines.some((line) => line.cost.head),
        value: (line) => line.cost[name],
        text: (value) => (value === null ? "–" : fewDigits(value, name === "seconds" ? 2 : 4)),
      };
    });
}

/**
 * @param {Overview} overview
 * @param {Line[]} lines
 * @returns {SummaryColumn[]} The thresholds of boxes, where there are any.
 */
function thresholdColumns(overview, lines) {
  const swept = lines.some((line) => overview.runs[line.run].kind === "box_sweep");
  /** @type {[string, string, string, (line: Line) => number | null][]} */
  const columns = [
    swept
      ? ["threshold", "best threshold", "Threshold that is best for the line's own images (the oracle's), at which its boxes and outcomes are taken: that of MaxBoxAcc, or else of the protocol's first IoU.", (line) => line.threshold]
      : ["threshold", "threshold", "Threshold of the protocol, at which the line's boxes are taken.", (line) => line.threshold],
    ["selected_threshold", "selected threshold", "Threshold that is best for other images, of the same number as the best threshold.", (line) => line.selected_threshold],
  ];
  return columns
    .filter(([, , , value]) => lines.some((line) => value(line) !== null))
    .map(([name, title, meaning, value]) => ({
      name,
      title,
      hint: "of boxes",
      meaning,
      group: "count",
      lowerFirst: true,
      info: null,
      usual: new Set(lines.map(value).filter((threshold) => threshold !== null)).size > 1,
      value,
      text: (threshold) => (threshold === null ? "–" : fewDigits(threshold, 3)),
    }));
}

/**
 * @param {Line[]} lines
 * @returns {SummaryColumn[]} Numbers of images that are not all 0.
 */
function countColumns(lines) {
  const names = [...new Set(lines.flatMap((line) => Object.keys(line.counts)))];
  return names
    .filter((name) => lines.some((line) => line.counts[name]))
    .map((name) => ({
      name,
      title: countTitle(name),
      hint: "",
      meaning: `Number of ${countTitle(name)}.`,
      group: "count",
      lowerFirst: name !== "n_images",
      info: null,
      usual: false,
      value: (line) => line.counts[name] ?? null,
      text: (value) => (value === null ? "–" : value.toLocaleString("en-US")),
    }));
}

/**
 * The numbers that do not depend on the method, such as the error of classification. They stand once
 * beside the model's name instead of in every line.
 *
 * @param {Overview} overview
 * @param {Line[]} lines The lines of a run.
 * @returns {NumberInfo[]}
 */
export function liftedNumbers(overview, lines) {
  const byModel = [...new Set(lines.map((line) => line.model))].map((model) =>
    lines.filter((line) => line.model === model),
  );
  return numbersOf(overview, lines).filter((info) => {
    const values = byModel.map((group) => group.flatMap((line) => line.values[info.name] ?? []));
    return values.every((group) => group.every((v) => isSameNumber(v, group[0]))) && values.some((g) => g.length > 1);
  });
}

/**
 * @param {Value} a
 * @param {Value} b
 * @returns {boolean} True if both are the same number, which no test or paper is about.
 */
function isSameNumber(a, b) {
  return [a, b].every((v) => !v.mark && !v.paper) && ["value", "low", "high"].every((key) => {
    const end = /** @type {"value" | "low" | "high"} */ (key);
    return a[end] === b[end];
  });
}

/**
 * The target layer that all lines of a model have that have one; it stands once beside the model's name.
 *
 * @param {number} model
 * @param {Line[]} lines The lines of the run.
 * @returns {string} Empty if there are several or none.
 */
export function sharedLayer(model, lines) {
  const layers = new Set(lines.flatMap((line) => (line.model === model && line.layer ? line.layer : [])));
  return layers.size === 1 ? [...layers][0] : "";
}

/**
 * Facts of a model that hold for all its lines.
 *
 * @param {Overview} overview
 * @param {number} model
 * @param {Line[]} lines The lines of the run.
 * @returns {string[]}
 */
export function modelFacts(overview, model, lines) {
  const own = lines.filter((line) => line.model === model);
  const { n_classes: nClasses } = overview.models[model];
  const facts = nClasses === null ? [] : [countText(nClasses, "class", "classes")];
  for (const name of new Set(own.flatMap((line) => Object.keys(line.counts)))) {
    const counts = new Set(own.map((line) => line.counts[name]));
    const [n] = counts;
    if (counts.size !== 1 || !n) continue;
    facts.push(name === "n_images" ? countText(n, "image") : `${countTitle(name)}: ${n.toLocaleString("en-US")}`);
  }
  const layer = sharedLayer(model, lines);
  if (layer) facts.push(`target layer ${layer}`);
  return facts;
}

/**
 * The columns that are shown. The state names those that differ from usual: a name is shown besides,
 * a name behind "-" is hidden.
 *
 * @param {SummaryColumn[]} columns
 * @param {string} text `State.columns`
 * @returns {SummaryColumn[]}
 */
export function shownColumns(columns, text) {
  const chosen = new Set(text.split(","));
  return columns.filter(({ name, usual }) => (usual ? !chosen.has(`-${name}`) : chosen.has(name)));
}

/**
 * `State.columns` after a column was shown or hidden.
 *
 * @param {SummaryColumn} column
 * @param {boolean} shown
 * @param {string} text
 * @returns {string}
 */
export function withColumn(column, shown, text) {
  const chosen = text.split(",").filter((name) => name && name !== column.name && name !== `-${column.name}`);
  if (shown !== column.usual) chosen.push(shown ? column.name : `-${column.name}`);
  return chosen.join(",");
}

/**
 * The lines in the order that the state names: by a column, or as in the experiment. Lines without a
 * value are last either way.
 *
 * @param {Line[]} lines
 * @param {SummaryColumn[]} columns
 * @param {string} order `State.order`
 * @returns {Line[]}
 */
export function orderedLines(lines, columns, order) {
  const name = order.replace(/^-/, "");
  const ascending = order === name;
  if (name === "method") {
    const byName = [...lines].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
    return ascending ? byName : byName.reverse();
  }
  const column = columns.find((other) => other.name === name);
  if (!column) return lines;
  return [...lines].sort((a, b) => compareNumbers(column.value(a), column.value(b), ascending));
}
