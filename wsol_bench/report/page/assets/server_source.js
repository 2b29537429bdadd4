// The data that `wsol-bench view` serves. All addresses are relative to that of the page, since the
// secret in its path has to be in theirs.

/** @import { Detail, ImageIndex, LineColumns, ModelColumns, Source, ThresholdCurve } from "./types" */

import { decodeColumns, readOverview } from "./source.js";

/**
 * The source of a page that is served, of all images of its runs.
 *
 * @returns {Source}
 */
export function serverSource() {
  return {
    overview: readOverview(),
    index: async () => /** @type {ImageIndex} */ (decodeColumns(await fetchJson("index.json"))),
    curves: servedCurves,
    model: async (model) =>
      /** @type {ModelColumns} */ (decodeColumns(await fetchJson(`models/${model}.json`))),
    line: async (line) =>
      /** @type {LineColumns} */ (decodeColumns(await fetchJson(`lines/${line}.json`))),
    // Columns decide which images are shown, so details of images wait for them.
    image: async (image) => /** @type {Detail} */ (await fetchJson(`images/${image}.json`, "low")),
    thumbnail: (image) => `pictures/${image}.jpg?longest=384`,
    picture: (image) => `pictures/${image}.jpg?longest=1280`,
  };
}

/**
 * The curves, which the server draws from the first request on.
 *
 * @returns {Promise<ThresholdCurve[]>}
 */
async function servedCurves() {
  for (;;) {
    const { curves } = await fetchJson("curves.json", "low");
    if (curves) return curves;
    await new Promise((done) => setTimeout(done, 500));
  }
}

/**
 * @param {string} address
 * @param {RequestPriority} [priority]
 * @returns {Promise<any>}
 */
async function fetchJson(address, priority = "high") {
  /** @type {Response} */
  let answer;
  try {
    answer = await fetch(address, { priority });
  } catch {
    throw new Error("wsol-bench view does not answer; start it again and open the address that it prints");
  }
  const json = await answer.json().catch(() => ({ error: "" }));
  if (answer.ok) return json;
  throw new Error(json.error || `wsol-bench view answers ${answer.status}`);
}
