"""The page as one file: texts stay texts, nothing runs but its own program, nothing is loaded."""

import base64
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from wsol_bench.report.page.document import joined_modules, page_html

HOSTILE = [
    "</script><script>window.ran = 1</script>",
    "<!-- <script>",
    "]]>",
    "</title></head><img src=x onerror='window.ran = 1'>",
    """a "quoted" text's &lt;end&gt;""",
    "\\u003c",
    "lines\u2028of\u2029text",
]


@pytest.fixture
def page_of(tmp_path):
    """Writes the page of a title and blocks, and returns its file."""

    def write(title="Runs", blocks=None, **options):
        path = tmp_path / "page.html"
        overview = {"overview": json.dumps({"title": title, "source": "file"})}
        pieces = page_html(title, (overview | (blocks or {})).items(), **options)
        path.write_text("".join(pieces), encoding="utf-8")
        return path

    return write


def test_the_page_opens_without_a_fault(page_of, opened):
    page = opened(page_of("Two runs"))
    assert page.title() == "Two runs"
    assert "Two runs" in page.inner_text("#app")


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_stay_texts(text, page_of, opened):
    blocks = {f"block-{i}": json.dumps([text], ensure_ascii=ascii) for i, ascii in enumerate([0, 1])}
    page = opened(page_of(text, blocks))
    assert page.evaluate("window.ran") is None
    # What is no line for Python is none in a title, either: it shows how the character is written.
    assert page.title() == text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    for block in blocks:
        found = page.evaluate(f"JSON.parse(document.getElementById('{block}').textContent)")
        assert found == [text]
    assert page.locator("img").count() == 0


# ---- the content security policy

FORBIDDEN = {
    "script-src-elem": """
        const script = document.createElement("script");
        script.textContent = "window.ran = 1";
        document.head.append(script);""",
    "script-src-attr": """
        document.body.setAttribute("onclick", "window.ran = 1");
        document.body.click();""",
    "script-src": "setTimeout(() => { window.ran = eval('1'); });",
    "style-src-elem": """
        const style = document.createElement("style");
        style.textContent = "body { color: red }";
        document.head.append(style);""",
    "style-src-attr": "document.body.setAttribute('style', 'color: red');",
    "connect-src": "fetch('https://example.org/').then(() => { window.ran = 1; }, () => {});",
    "img-src": "new Image().src = 'https://example.org/image.png';",
    "form-action": """
        const form = document.createElement("form");
        form.action = "https://example.org/";
        document.body.append(form);
        form.submit();""",
    "frame-src": """
        const frame = document.createElement("iframe");
        frame.src = "https://example.org/";
        document.body.append(frame);""",
    "base-uri": """
        const base = document.createElement("base");
        base.href = "https://example.org/";
        document.head.append(base);""",
}


@pytest.mark.parametrize("connects", [False, True])
@pytest.mark.parametrize("directive", FORBIDDEN)
def test_the_policy_forbids(directive, connects, page_of, opened):
    page = opened(page_of(connects=connects))
    page.evaluate("() => {" + FORBIDDEN[directive] + "}")
    page.wait_for_timeout(50)
    assert f"error: forbidden by {directive}" in {
        fault.partition(":")[0] + ":" + fault.partition(":")[2] for fault in opened.faults
    } or any(f"forbidden by {directive}" in fault for fault in opened.faults)
    opened.faults.clear()
    assert page.evaluate("window.ran") is None
    assert page.evaluate("getComputedStyle(document.body).color") != "rgb(255, 0, 0)"
    assert page.evaluate("new URL('x', document.baseURI).protocol") == "file:"
