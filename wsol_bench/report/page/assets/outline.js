// The outline of a region of pixels, as it is drawn over a picture.

/**
 * The outline of the pixels that reach a level: a line of constant height between their centers
 * (marching squares).
 *
 * @param {Float32Array} values
 * @param {[number, number]} size Height and width.
 * @param {number} level
 * @param {"at_least" | "above"} comparison
 * @returns {Path2D}
 */
export function regionOutline(values, [height, width], level, comparison) {
  const path = new Path2D();
  const reaches = (/** @type {number} */ value) => (comparison === "above" ? value > level : value >= level);
  // With a border of pixels that reach no level, so that every outline is closed.
  const wide = width + 2;
  const inside = new Uint8Array(wide * (height + 2));
  for (let y = 0, from = 0; y < height; y++) {
    for (let x = 0; x < width; x++, from++) if (reaches(values[from])) inside[(y + 1) * wide + x + 1] = 1;
  }
  /** The place where the line crosses from one pixel's center to the next; halfway at the border. */
  const crossing = (/** @type {number} */ y, /** @type {number} */ x, /** @type {0 | 1} */ down) => {
    const [y1, x1] = [y + down, x + 1 - down];
    if (y < 0 || x < 0 || y1 >= height || x1 >= width) return 0.5;
    const first = values[y * width + x];
    const part = (level - first) / (values[y1 * width + x1] - first);
    return part >= 0 && part <= 1 ? part : 0.5;
  };
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const at = (y + 1) * wide + x + 1;
      const a = inside[at];
      const b = inside[at + 1];
      const c = inside[at + wide + 1];
      const d = inside[at + wide];
      const sum = a + b + c + d;
      if (sum === 0 || sum === 4) continue;
      let started = false;
      /** @type {(to: number, down: number) => void} */
      const end = (to, down) => {
        if (started) path.lineTo(to + 0.5, down + 0.5);
        else path.moveTo(to + 0.5, down + 0.5);
        started = !started;
      };
      if (a !== b) end(x + crossing(y, x, 0), y);
      if (b !== c) end(x + 1, y + crossing(y, x + 1, 1));
      if (c !== d) end(x + crossing(y + 1, x, 0), y + 1);
      if (d !== a) end(x, y + crossing(y, x, 1));
    }
  }
  return path;
}
