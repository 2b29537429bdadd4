// The controls below a large image: threshold, opacity, and what is drawn.

/** @import { Overview } from "./types" */
/** @import { LoadedImage } from "./loaded_image.js" */
/** @import { State } from "./state.js" */

import { h } from "./dom.js";
import { hasOnlyPixels } from "./explored.js";
import { whyNoThreshold } from "./shown_result.js";
import { getState, setState } from "./state.js";

/** @param {Overview} overview */
export function thresholdControls(overview) {
  const slider = h("input", { type: "range", min: "0", max: "1", step: "0.005", "aria-label": "Threshold of boxes" });
  const output = h("output", { class: "slider-value" });
  const own = h("button", { class: "button", type: "button" }, "Each method's own");
  const why = h("p", { class: "muted slider-why" });
  const opacity = h("input", { type: "range", min: "0", max: "1", step: "0.05", "aria-label": "Opacity of the heatmap" });
  const percent = h("output", { class: "slider-value" });
  const [heat, boxes] = [toggleButton("Heatmap", "h", "heat"), toggleButton(hasOnlyPixels(overview) ? "Mask" : "Boxes", "b", "boxes")];
  slider.addEventListener("input", () => setState({ threshold: Number(slider.value) }));
  own.addEventListener("click", () => setState({ threshold: -1 }));
  opacity.addEventListener("input", () => setState({ opacity: Number(opacity.value) }));
  const element = h(
    "div",
    { class: "viewer-controls" },
    h("div", { class: "slider-line" }, h("span", { class: "label" }, "Threshold"), slider, output, own),
    why,
    h("div", { class: "slider-line" }, h("span", { class: "label" }, "Opacity"), opacity, percent, h("span", { class: "toggles" }, heat, boxes)),
  );
  return {
    element,
    /**
     * @param {Readonly<State>} state
     * @param {number} line Line that is shown large.
     * @param {LoadedImage | null} loaded
     */
    update(state, line, loaded) {
      const shown = overview.lines[line];
      const reason = shown ? whyNoThreshold(overview, shown.run) : "";
      const live = state.threshold >= 0 && !reason;
      const value = live ? state.threshold : (shown?.threshold ?? null);
      slider.value = String(value ?? 0);
      output.textContent = value === null ? "" : value.toFixed(3);
      own.setAttribute("aria-pressed", String(!live));
      const noMaps = loaded && !loaded.detail.rows.some((row) => row.map) ? whyNoMaps(overview, shown?.run) : "";
      why.textContent = reason || noMaps;
      why.hidden = !why.textContent;
      slider.disabled = own.disabled = Boolean(reason || noMaps);
      opacity.value = String(state.opacity);
      percent.textContent = `${Math.round(100 * state.opacity)}%`;
      for (const [button, on] of /** @type {[HTMLElement, number][]} */ ([[heat, state.heat], [boxes, state.boxes]])) {
        button.setAttribute("aria-pressed", String(Boolean(on)));
      }
    },
  };
}

/**
 * @param {Overview} overview
 * @param {number | undefined} run
 * @returns {string} The reason why the boxes of an image without maps stay as they are.
 */
function whyNoMaps(overview, run) {
  const reason = run === undefined ? "" : overview.runs[run].no_maps;
  return `${reason || "The run has stored no map of this image."} Its boxes stay as they are.`;
}

/**
 * @param {string} text
 * @param {string} key
 * @param {"heat" | "boxes"} name
 */
function toggleButton(text, key, name) {
  return h("button", { class: "button", type: "button", title: `Key ${key}`, onclick: () => setState({ [name]: getState()[name] ? 0 : 1 }) }, text);
}
