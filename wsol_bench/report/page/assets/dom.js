// The one way in which the page makes elements: text stays text, and nothing is parsed as HTML.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * A new element.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [props] Attributes by name; `class`, `data-*`, `aria-*` and the like.
 *     A function (`onclick`) becomes a listener, `false`, `null` and `undefined` are left out, `true`
 *     is an attribute without a value, and `style` is a record of CSS properties.
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  fillElement(element, props);
  element.append(...asNodes(children));
  return element;
}

/**
 * A new SVG element, by the rules of `h`.
 *
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [props]
 * @param {...(Child | Child[])} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function svg(tag, props = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fillElement(element, props);
  element.append(...asNodes(children));
  return element;
}

/**
 * Puts new children in the place of an element's children.
 *
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function replaceChildren(element, ...children) {
  element.replaceChildren(...asNodes(children));
}

/**
 * @param {HTMLElement | SVGElement} element
 * @param {Record<string, any>} props
 */
function fillElement(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), value);
    else if (name === "style") Object.assign(element.style, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * @param {(Child | Child[])[]} children
 * @returns {(Node | string)[]}
 */
function asNodes(children) {
  return children
    .flat()
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}
