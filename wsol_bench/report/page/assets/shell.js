// The shell of the page: header with tabs, theme and help, the open part, and the footer.

/** @import { Overview, Source } from "./types" */

import { chartsView } from "./charts.js";
import { h, replaceChildren } from "./dom.js";
import { explorerView } from "./explorer.js";
import { addShortcuts, allShortcuts, keyText, listenToKeys } from "./keys.js";
import { keepingColumns } from "./loading.js";
import { countText } from "./numbers.js";
import { defaultState, getState, onState, setState, unknownNames } from "./state.js";
import { summaryView } from "./summary.js";
import { themeButton, toggleTheme } from "./theme.js";

/**
 * The parts of the page, by the name that the state has for them. A part is made when it is opened for
 * the first time; the explorer at once, since the help names its keys.
 */
const pageParts = [
  { name: "summary", title: "Summary", make: summaryView, atOnce: false },
  { name: "charts", title: "Charts", make: chartsView, atOnce: false },
  { name: "images", title: "Images", make: explorerView, atOnce: true },
];

/**
 * Everything that is on the page.
 *
 * @param {Source} given
 * @returns {HTMLElement[]}
 */
export function pageShell(given) {
  const source = keepingColumns(given);
  const { overview } = source;
  const help = helpDialog();
  const { tabs, panels } = partsOf(source);
  const helpButton = h("button", { class: "button quiet square", type: "button", "aria-label": "Keys and help", title: "Keys and help (?)", onclick: () => help.open() }, "?");
  addShortcuts(
    { keys: ["?"], where: "Everywhere", what: "this help", act: () => help.open(), when: () => !help.element.open },
    { keys: ["t"], where: "Everywhere", what: "theme: system, light, dark", act: toggleTheme },
  );
  listenToKeys();
  return [
    h("a", { class: "unseen skip", href: "#page-content", onclick: skipToContent }, "Skip to the content"),
    h(
      "header",
      { class: "shell-header" },
      h("div", { class: "shell-title" }, h("h1", { title: overview.title }, overview.title), h("p", { class: "shell-brief" }, briefOf(overview))),
      tabs,
      h("div", { class: "shell-tools" }, themeButton(), helpButton),
    ),
    noticeOfUnknown(),
    h("main", { class: "shell-main", id: "page-content", tabindex: "-1" }, panels),
    footerOf(overview),
    help.element,
  ];
}

/**
 * The tabs, and a panel for each part.
 *
 * @param {Source} source
 */
function partsOf(source) {
  const tabs = pageParts.map(({ name, title }) =>
    h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}` }, title),
  );
  const panels = pageParts.map(({ name }) =>
    h("div", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}` }),
  );
  /** @type {number[]} */
  const scrolled = pageParts.map(() => 0);
  let shown = -1;

  function show() {
    const wanted = Math.max(0, pageParts.findIndex(({ name }) => name === getState().view));
    if (wanted === shown) return;
    if (shown >= 0) scrolled[shown] = window.scrollY;
    shown = wanted;
    pageParts.forEach(({ make, atOnce }, n) => {
      tabs[n].setAttribute("aria-selected", String(n === wanted));
      tabs[n].tabIndex = n === wanted ? 0 : -1;
      panels[n].hidden = n !== wanted;
      if ((n === wanted || atOnce) && !panels[n].firstChild) panels[n].append(make(source));
    });
    window.scrollTo(0, scrolled[wanted]);
  }

  tabs.forEach((tab, n) => {
    tab.addEventListener("click", () => setState({ view: pageParts[n].name, image: defaultState.image }, { push: true }));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: n - 1, ArrowRight: n + 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (to === undefined || !tabs[to]) return;
      event.preventDefault();
      tabs[to].focus();
      tabs[to].click();
    });
  });
  onState((_, changed) => {
    if (changed.has("view")) show();
  });
  show();
  return { tabs: h("div", { class: "shell-tabs", role: "tablist", "aria-label": "Parts of the page" }, tabs), panels };
}

/**
 * @param {Overview} overview
 * @returns {string} Data set and protocol of the runs, each once.
 */
function briefOf(overview) {
  const data = new Set(overview.runs.map(({ dataset }) => `${dataset.name} (${countText(dataset.n_images, "image")})`));
  const protocols = new Set(overview.runs.map(({ protocol }) => protocol.name));
  const runs = overview.runs.length > 1 ? [countText(overview.runs.length, "run")] : [];
  return [...runs, ...data, ...protocols].join(" · ");
}

/** A notice of the models and lines that a link names and this page does not have. */
function noticeOfUnknown() {
  const words = h("p", {});
  const close = h("button", { class: "button quiet square", type: "button", "aria-label": "Close" }, "✕");
  const element = h("div", { class: "shell-notice", role: "status" }, words, close);
  const follow = () => {
    const names = unknownNames(location.hash.slice(1));
    element.hidden = !names.length;
    words.textContent = names.length ? `This page has no ${names.join(", no ")}, which the link asked for. It shows what it has.` : "";
  };
  close.addEventListener("click", () => (element.hidden = true));
  window.addEventListener("hashchange", follow);
  follow();
  return element;
}

/** @param {Overview} overview */
function footerOf(overview) {
  const protocols = new Map(overview.runs.map(({ protocol }) => [protocol.hash, protocol.name]));
  const data = new Map(overview.runs.map(({ dataset }) => [dataset.fingerprint, dataset.name]));
  const made = new Date(overview.made);
  const when = Number.isNaN(made.getTime()) ? overview.made : `${made.toISOString().slice(0, 16).replace("T", " ")} UTC`;
  return h(
    "footer",
    { class: "shell-footer" },
    [...protocols].map(([hash, name]) => h("span", {}, `Protocol ${name} `, h("code", {}, hash))),
    [...data].map(([fingerprint, name]) => h("span", {}, `Data set ${name} `, h("code", { title: fingerprint }, fingerprint.slice(0, 12)))),
    h("span", {}, `wsol_bench ${overview.version}`),
    h("time", { datetime: overview.made }, `made ${when}`),
  );
}

/** @param {Event} event */
function skipToContent(event) {
  event.preventDefault(); // the address holds the state, not a place on the page
  document.getElementById("page-content")?.focus();
}

/** The help: all keys, by part of the page. */
function helpDialog() {
  const keys = h("table", { class: "help-keys" });
  const close = h("button", { class: "button square", type: "button", "aria-label": "Close" }, "✕");
  const element = h(
    "dialog",
    { class: "sheet", "aria-labelledby": "help-title" },
    h("div", { class: "sheet-head" }, h("h2", { id: "help-title", tabindex: "-1", autofocus: true }, "Keys"), close),
    keys,
  );
  close.addEventListener("click", () => element.close());
  return {
    element,
    open() {
      const ofPlace = (/** @type {string} */ place) => allShortcuts().filter(({ where }) => where === place);
      replaceChildren(
        keys,
        ["Everywhere", "Images", "Large view"].map((where) =>
          h(
            "tbody",
            {},
            h("tr", {}, h("th", { colspan: "2", scope: "rowgroup" }, where)),
            ofPlace(where).map((each) => h("tr", {}, h("td", {}, each.keys.map((key) => [h("kbd", {}, keyText(key)), " "]).flat()), h("td", {}, each.what))),
          ),
        ),
      );
      element.showModal();
    },
  };
}
