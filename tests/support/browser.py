"""Chromium, in which pages are opened and watched."""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from wsol_bench.report.page.document import joined_modules

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
AXE = Path(__file__).resolve().parents[2] / "node_modules/axe-core/axe.min.js"
# What the content security policy forbids is an event of the document, before the console tells it.
TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`forbidden by ${event.effectiveDirective}: ${event.blockedURI}`);
});
"""


def skip_or_fail(reason):
    """Skip a test that needs what is not installed; in continuous integration it fails."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@contextmanager
def chromium():
    """The browser, without a window."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_or_fail("playwright is not installed (scripts/setup test)")
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        skip_or_fail(f"no browser: none of {', '.join(CHROMIUM)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """Opens pages, and collects what goes wrong in them.

    ``faults`` are errors and warnings on the console, exceptions that nobody caught, what the
    content security policy forbade, and requests to another place than the page's own.
    """

    def __init__(self, browser):
        self.browser = browser
        self.contexts = []
        self.faults = []

    def __call__(self, address, **options):
        """The page of a file or of an address; options are those of a browser's context."""
        url = address if "://" in str(address) else Path(address).resolve().as_uri()
        options = {"viewport": {"width": 1440, "height": 900}, "locale": "en-US", **options}
        context = self.browser.new_context(**options)
        context.set_default_timeout(30_000)
        context.add_init_script(TELL_VIOLATIONS)
        context.on("page", lambda page: self._watch(page, url))
        self.contexts.append(context)
        page = context.new_page()
        page.goto(url)
        return page

    def taken_faults(self):
        """The faults so far, which are then forgotten, as the test expects them."""
        self._settle()
        faults, self.faults = self.faults, []
        return faults

    def close(self):
        """Close all pages, when everything that happened in them has been heard of."""
        self._settle()
        for context in self.contexts:
            context.close()
        self.contexts.clear()

    def _settle(self):
        for context in self.contexts:
            for page in context.pages:
                page.evaluate("new Promise((done) => setTimeout(done, 20))")

    def _watch(self, page, url):
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        page.on("crash", lambda _: self.faults.append("the page crashed"))
        page.on("request", lambda request: self._check(request.url, url))

    def _hear(self, message):
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def _check(self, requested, url):
        place = url.partition("#")[0]
        if not url.startswith("file:"):
            place = "/".join(url.split("/")[:3]) + "/"  # scheme, host and port
        if not requested.startswith(("data:", "blob:", "about:", place)):
            self.faults.append(f"request of {requested}")


def evaluate(page, module, body, argument=None):
    """The result of a function, whose body knows the names of a module and ``argument``."""
    return page.evaluate(f"async (argument) => {{ {joined_modules(module)}\n{body} }}", argument)


def serious_faults(page):
    """The serious and critical faults of accessibility that axe-core finds, each as one text."""
    if not AXE.exists():
        skip_or_fail("axe-core is not installed (scripts/setup_page)")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{fault['impact']}: {fault['id']}: {fault['help']}: {json.dumps(node['target'])}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
