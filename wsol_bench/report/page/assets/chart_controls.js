// The choices that all charts share: the number, the model and the lines.

/** @import { Overview } from "./types" */
/** @import { ChartContext } from "./chart_card.js" */

import { equalLines } from "./chart_lines.js";
import { h, replaceChildren } from "./dom.js";
import { modelTitle, numbersOf, phraseOfModel } from "./numbers.js";
import { popover, tickBox } from "./popover.js";
import { getState, setState } from "./state.js";

/**
 * The row of choices that all charts share.
 *
 * @param {Overview} overview
 * @returns {{element: HTMLElement, fill: (context: Omit<ChartContext, "width">) => void}}
 */
export function chartControls(overview) {
  const numbers = h(
    "select",
    { onchange: () => setState({ number: numbers.value }) },
    numbersOf(overview, overview.lines).map((info) => h("option", { value: info.name }, info.title)),
  );
  const models = h(
    "select",
    { onchange: () => setState({ model: Number(models.value), lines: "", line: -1 }) },
    overview.models.map((_, i) => h("option", { value: i }, modelTitle(overview, i))),
  );
  const ticks = h("div", { class: "chart-ticks" });
  const usual = h("button", { class: "button", type: "button", onclick: () => setState({ lines: "" }) }, "Usual lines");
  const chooser = popover("", h("div", {}, usual, ticks));
  const label = /** @type {HTMLElement} */ (chooser.querySelector(".popover-label"));
  const about = h("p", { class: "chart-about muted" });
  const element = h(
    "div",
    { class: "chart-bar" },
    h(
      "div",
      { class: "chart-controls" },
      h("label", { class: "field" }, h("span", { class: "label" }, "Number"), numbers),
      overview.models.length > 1 ? h("label", { class: "field" }, h("span", { class: "label" }, "Model"), models) : null,
      h("div", { class: "field" }, h("span", { class: "label" }, "Lines"), chooser),
    ),
    about,
  );
  const fill = (/** @type {Omit<ChartContext, "width">} */ context) => {
    const { lines } = getState();
    numbers.value = context.info.name;
    models.value = String(context.model);
    const drawn = context.drawn(() => true);
    label.textContent = lines ? `${drawn.length} chosen` : `usual: ${drawn.length} of ${overview.lines.length}`;
    about.textContent = aboutLines(context, drawn, Boolean(lines));
    fillTicks(ticks, context, drawn);
  };
  return { element, fill };
}

/**
 * @param {Omit<ChartContext, "width">} context
 * @param {number[]} drawn
 * @param {boolean} chosen
 * @returns {string}
 */
function aboutLines({ overview, info, model }, drawn, chosen) {
  if (chosen) return "All charts show the lines that you chose.";
  const equal = equalLines(overview, drawn);
  const same = equal.length ? ` Equal in every number: ${equal.join("; ")}.` : "";
  return `The first two charts compare all lines; the others show the methods and baselines${phraseOfModel(overview, model)} that are best by ${info.title}.${same}`;
}

/**
 * @param {HTMLElement} ticks
 * @param {Omit<ChartContext, "width">} context
 * @param {number[]} drawn
 */
function fillTicks(ticks, { overview }, drawn) {
  const focused = document.activeElement?.closest("[data-line]")?.getAttribute("data-line");
  const set = (/** @type {number[]} */ lines) => setState({ lines: [...lines].sort((a, b) => a - b).join(",") });
  const groups = overview.models.map((_, model) => {
    const own = overview.lines.flatMap((line, i) => (line.model === model && line.status === "ok" ? i : []));
    if (!own.length) return null;
    const boxes = own.map((i) =>
      tickBox(
        overview.lines[i].name,
        drawn.includes(i),
        (checked) => set(checked ? [...drawn, i] : drawn.filter((j) => j !== i)),
        { "data-line": i },
      ),
    );
    return h(
      "fieldset",
      {},
      h("legend", {}, modelTitle(overview, model)),
      linesButton("all", model, () => set([...new Set([...drawn, ...own])])),
      linesButton("none", model, () => set(drawn.filter((i) => !own.includes(i)))),
      h("div", { class: "chart-tick-columns" }, boxes),
    );
  });
  replaceChildren(ticks, groups);
  if (!focused) return;
  const part = ticks.querySelector(`[data-line="${CSS.escape(focused)}"]`);
  const control = part?.querySelector("input") ?? part;
  if (control instanceof HTMLElement) control.focus();
}

/**
 * @param {string} text
 * @param {number} model
 * @param {() => void} onClick
 * @returns {HTMLButtonElement}
 */
function linesButton(text, model, onClick) {
  return h("button", { class: "chart-link", type: "button", "data-line": `${text} ${model}`, onclick: onClick }, text);
}
