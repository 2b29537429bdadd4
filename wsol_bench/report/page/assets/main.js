// Starts the page.

import { h, replaceChildren } from "./dom.js";
import { fileSource } from "./source.js";
import { followAddress } from "./state.js";

followAddress();
const pageRoot = document.getElementById("app");
if (pageRoot) replaceChildren(pageRoot, h("h1", {}, fileSource().overview.title));
