// Starts the page: its data, its state, and the shell around its parts.

import { h } from "./dom.js";
import { fileSource, readOverview } from "./source.js";
import { serverSource } from "./server_source.js";
import { pageShell } from "./shell.js";
import { followAddress } from "./state.js";

const pageRoot = /** @type {HTMLElement} */ (document.getElementById("app"));
try {
  const source = readOverview().source === "server" ? serverSource() : fileSource();
  followAddress(source.overview);
  pageRoot.append(...pageShell(source));
} catch (error) {
  const reason = error instanceof Error ? error.message : String(error);
  pageRoot.append(h("main", { class: "shell-main" }, h("h1", {}, "This page cannot be shown"), h("p", {}, reason)));
  throw error;
}
