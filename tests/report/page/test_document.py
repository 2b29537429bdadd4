"""The page as one file: texts stay texts, nothing runs but its own program, nothing is loaded."""

import base64
import json
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from browser import evaluate
from report_file import deflated

from wsol_bench.report.page.document import page_html

HOSTILE = [
    "</script><script>window.ran = 1</script>",
    "<!-- <script>",
    "]]>",
    "</title></head><img src=x onerror='window.ran = 1'>",
    """a "quoted" text's &lt;end&gt;""",
    "\\u003c",
    "lines\u2028of\u2029text",
]


@pytest.fixture(scope="module")
def blocks_of_report(report):
    """The blocks of a whole report, by id."""
    html = report.read_text(encoding="utf-8")
    block = r'<script type="application/json" id="([^"]*)">(.*?)</script>'
    return {name: text for name, text in re.findall(block, html) if name != "plotly"}


@pytest.fixture
def page_of(blocks_of_report, tmp_path):
    """Writes the page of a report, whose title and blocks can be others, and returns its file."""

    def write(title="Runs", blocks=None, **options):
        path = tmp_path / "page.html"
        overview = {**json.loads(blocks_of_report["overview"]), "title": title}
        changed = {"overview": json.dumps(overview), **(blocks or {})}
        pieces = page_html(title, (blocks_of_report | changed).items(), **options)
        path.write_text("".join(pieces), encoding="utf-8")
        return path

    return write


def test_a_report_opens_without_a_fault(report, opened):
    page = opened(report)
    title = page.title()
    assert title
    assert title in page.inner_text("#app")


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_stay_texts(text, page_of, opened):
    blocks = {
        f"block-{i}": json.dumps([text], ensure_ascii=ascii) for i, ascii in enumerate([0, 1])
    }
    page = opened(page_of(text, blocks))
    assert page.evaluate("window.ran") is None
    # What is no line for Python is none in a title, either: it shows how the character is written.
    assert page.title() == text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    for block in blocks:
        found = page.evaluate(f"JSON.parse(document.getElementById('{block}').textContent)")
        assert found == [text]
    assert page.locator("img[src=x]").count() == 0


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


@pytest.mark.parametrize("directive", FORBIDDEN)
def test_the_policy_forbids(directive, page_of, opened):
    page = opened(page_of())
    page.evaluate("() => {" + FORBIDDEN[directive] + "}")
    faults = opened.taken_faults()
    assert any(fault.startswith(f"error: forbidden by {directive}: ") for fault in faults)
    assert page.evaluate("window.ran") is None
    assert page.evaluate("getComputedStyle(document.body).color") != "rgb(255, 0, 0)"
    assert page.evaluate("document.baseURI") == page.url


@pytest.fixture
def address_of():
    """Serves a folder, and returns the address."""
    servers = []

    def serve(folder):
        handler = partial(QuietHandler, directory=folder)
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,)).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


FETCH = """(address) => fetch(address).then((answer) => answer.status, (error) => String(error))"""


@pytest.mark.parametrize("connects", [True, False])
def test_only_a_served_page_may_ask_its_own_server_and_no_other(
    connects, page_of, opened, address_of
):
    path = page_of(connects=connects)
    own, other = address_of(path.parent), address_of(path.parent)
    page = opened(f"{own}/{path.name}")
    answer = page.evaluate(FETCH, f"{own}/{path.name}")
    assert answer == (200 if connects else "TypeError: Failed to fetch")
    assert bool(opened.taken_faults()) is not connects
    assert page.evaluate(FETCH, f"{other}/{path.name}") == "TypeError: Failed to fetch"
    assert f"error: forbidden by connect-src: {other}/{path.name}" in opened.taken_faults()


# ---- what the page reads

# The text of a block, or a new block, after the page's own program has read what it needs.
REPLACED = """([name, text]) => {
  const block = document.createElement("script");
  block.type = "application/json";
  block.id = name;
  block.textContent = text;
  document.getElementById(name)?.remove();
  document.body.append(block);
}"""


def test_columns_are_the_arrays_that_python_wrote(page_of, opened):
    columns = {
        "u8": np.array([0, 1, 255], np.uint8),
        "i32": np.array([-(2**31), 2**31 - 1], np.int32),
        "f32": np.array([0.1, -1e30, np.nan, np.inf], np.float32),
    }
    block = {
        name: {
            "type": name,
            "data": base64.b64encode(array.astype(array.dtype.newbyteorder("<"))).decode(),
        }
        for name, array in columns.items()
    }
    block |= {"ids": ["a", "b"], "none": None}
    page = opened(page_of())
    page.evaluate(REPLACED, ["index", json.dumps(block)])
    found = evaluate(
        page,
        "source.js",
        """const index = await fileSource().index();
        const listed = (column) => [column.constructor.name, ...column];
        const {u8, i32, f32, ...others} = index;
        return {u8: listed(u8), i32: listed(i32), f32: listed(f32), ...others};""",
    )
    assert found["ids"] == ["a", "b"] and found["none"] is None
    for name, kind in {"u8": "Uint8Array", "i32": "Int32Array", "f32": "Float32Array"}.items():
        assert found[name][0] == kind
        np.testing.assert_array_equal(np.array(found[name][1:], columns[name].dtype), columns[name])


def test_every_part_is_read_from_its_block(page_of, opened):
    parts = {"model-3": {"of": "model"}, "line-10": {"of": "line"}, "image-0": {"of": "image"}}
    others = {"taps": [{"of": "all"}], "picture-0": "AAAA"}
    page = opened(page_of("Many runs"))
    for name, part in {**parts, **others}.items():
        text = part if isinstance(part, str) else json.dumps(part)
        text = deflated(part) if name.startswith("image-") else text
        page.evaluate(REPLACED, [name, text])
    found = evaluate(
        page,
        "source.js",
        """const source = fileSource();
        const missing = await source.image(1000).catch((error) => error.message);
        return [source.overview.title,
          await source.model(3), await source.line(10), await source.image(0),
          source.picture(0), source.thumbnail(0), source.picture(1000), missing];
        """,
    )
    model, line, image = parts.values()
    picture = "data:image/jpeg;base64,AAAA"
    missing = 'this page has no part "image-1000"'
    all_of_image = {**image, "taps": others["taps"]}
    assert found == ["Many runs", model, line, all_of_image, picture, picture, "", missing]


# ---- Plotly

CHARTS = """
const traces = {
  scatter: {type: "scatter", x: [1, 2, 3], y: [1, 3, 2], mode: "lines+markers"},
  bar: {type: "bar", x: ["a", "b"], y: [1, 2], error_y: {type: "data", array: [0.1, 0.2]}},
  heatmap: {type: "heatmap", z: [[1, 2], [3, 4]], texttemplate: "%{z}", colorscale: "Greys"},
};
const Plotly = await loadPlotly();
for (const [id, trace] of Object.entries(traces)) {
  const chart = document.createElement("div");
  chart.id = id;
  document.getElementById("app").append(chart);
  const layout = {title: {text: id}, width: 600, height: 300};
  await Plotly.newPlot(chart, [trace], layout, {displayModeBar: true});
}
"""


def test_plotly_draws_under_the_policy(page_of, opened):
    page = opened(page_of())
    evaluate(page, "plotly.js", CHARTS)
    assert page.locator("#scatter .point").count() == 3
    assert page.locator("#bar .point").count() == 2
    assert page.locator("#bar .errorbar").count() == 2
    # One pixel a cell, enlarged: with the style that Plotly sets, the cells have sharp edges.
    image = page.locator("#heatmap .hm image")
    assert image.evaluate("(image) => getComputedStyle(image).imageRendering") == "pixelated"
    bar = page.locator("#scatter .modebar")
    assert bar.evaluate("(bar) => getComputedStyle(bar).position") == "absolute"
    buttons = bar.locator("[data-title]").evaluate_all("(all) => all.map((b) => b.dataset.title)")
    assert "Zoom" in buttons
    assert not [title for title in buttons if "Share" in title or "Plotly" in title]
    page.locator("#bar .nsewdrag").hover(position={"x": 80, "y": 100})  # over the first bar
    page.wait_for_selector("#bar .hovertext")
    with page.expect_download() as download:
        bar.locator("[data-title*=PNG]").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
