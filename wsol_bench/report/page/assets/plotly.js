// Plotly lies in the page as deflated text, and starts when a chart is shown for the first time.

import { bytesOfBase64, inflateBytes } from "./bytes.js";
import { blockText } from "./source.js";

/** @type {Promise<any> | null} */
let plotlyStart = null;

/**
 * Plotly's functions, by name.
 *
 * @returns {Promise<any>}
 */
export function loadPlotly() {
  plotlyStart ??= startPlotly();
  return plotlyStart;
}

/** @returns {Promise<any>} */
async function startPlotly() {
  const program = await inflateBytes(bytesOfBase64(blockText("plotly")));
  // The page's content security policy names the hash of this text.
  const element = document.createElement("script");
  element.textContent = new TextDecoder().decode(program);
  document.head.append(element);
  element.remove();
  const { Plotly } = /** @type {any} */ (window);
  // What a chart shows stays here: without these settings it has a button that uploads it.
  Plotly.setPlotConfig({ showSendToCloud: false, plotlyServerURL: "", displaylogo: false });
  return Plotly;
}
