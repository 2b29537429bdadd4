// Data that are loaded once and kept: columns for good, details of images for a while.

/** @import { Source } from "./types" */

/**
 * The same source, which asks for index and columns only once.
 *
 * @param {Source} source
 * @returns {Source}
 */
export function keepingColumns(source) {
  return {
    ...source,
    index: keepingAnswers(() => source.index()),
    curves: keepingAnswers(() => source.curves()),
    model: keepingAnswers((model) => source.model(model)),
    line: keepingAnswers((line) => source.line(line)),
  };
}

/**
 * @template Answer
 * @param {(number: number) => Promise<Answer>} ask
 * @returns {(number?: number) => Promise<Answer>}
 */
function keepingAnswers(ask) {
  /** @type {Map<number, Promise<Answer>>} */
  const answers = new Map();
  return (number = 0) => {
    let answer = answers.get(number);
    if (!answer) {
      answer = ask(number);
      answer.catch(() => answers.delete(number)); // the next one asks again
      answers.set(number, answer);
    }
    return answer;
  };
}

/**
 * Loads details of images, a few at once and the others in the order in which they are wished.
 *
 * @template Loaded
 * @param {(image: number) => Promise<Loaded>} load
 * @param {(loaded: Loaded) => number} bytesOf Bytes that a loaded image takes; they may grow later.
 * @param {{most?: number, kept?: number}} [limits] At most `most` images are loaded at once, and the
 *     last ones that were used are kept as long as they take at most `kept` bytes together.
 */
export function detailLoader(load, bytesOf, { most = 4, kept = 128 * 2 ** 20 } = {}) {
  /** @type {Map<number, Loaded>} The one that was used last is last. */
  const loaded = new Map();
  /** @type {Map<number, {promise: Promise<Loaded | null>, settle: (loaded: Promise<Loaded> | null) => void}>} */
  const waiting = new Map();
  /** @type {Map<number, Promise<Loaded>>} */
  const running = new Map();

  function forgetOldest() {
    const [last, ...others] = [...loaded].reverse();
    let bytes = bytesOf(last[1]);
    for (const [image, each] of others) {
      bytes += bytesOf(each);
      if (bytes > kept) loaded.delete(image);
    }
  }

  /** @param {number} image */
  function start(image) {
    const promise = load(image)
      .then((each) => {
        loaded.set(image, each);
        forgetOldest();
        return each;
      })
      .finally(() => {
        running.delete(image);
        const [next] = waiting.keys();
        if (next === undefined || running.size >= most) return;
        const wish = waiting.get(next);
        waiting.delete(next);
        wish?.settle(start(next));
      });
    running.set(image, promise);
    return promise;
  }

  return {
    /**
     * @param {number} image
     * @returns {Loaded | undefined} The image, if it is there at once.
     */
    get(image) {
      const each = loaded.get(image);
      if (each === undefined) return undefined;
      loaded.delete(image);
      loaded.set(image, each);
      return each;
    },
    /**
     * @param {number} image
     * @param {{now?: boolean}} [how] `now`: whatever else is being loaded.
     * @returns {Promise<Loaded | null>} null if the wish was dropped.
     */
    load(image, { now = false } = {}) {
      const there = this.get(image);
      if (there !== undefined) return Promise.resolve(there);
      const started = running.get(image);
      if (started) return started;
      const wish = waiting.get(image);
      if (now || running.size < most) {
        const promise = start(image);
        waiting.delete(image);
        wish?.settle(promise);
        return promise;
      }
      if (wish) return wish.promise;
      /** @type {(loaded: Promise<Loaded> | null) => void} */
      let settle = () => {};
      const promise = new Promise((/** @type {(each: Loaded | Promise<Loaded> | null) => void} */ resolve) => (settle = resolve));
      waiting.set(image, { promise, settle });
      return promise;
    },
    /**
     * Gives up a wish that has not been begun.
     *
     * @param {number} image
     */
    drop(image) {
      waiting.get(image)?.settle(null);
      waiting.delete(image);
    },
  };
}
