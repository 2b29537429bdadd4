"""The watch over pages: it hears of every kind of fault."""

import pytest
from browser import serious_faults

FAULTS = {
    "<script>console.warn('odd')</script>": "warning: odd",
    "<script>console.error('bad')</script>": "error: bad",
    "<script>throw new Error('nobody caught it')</script>": "exception: nobody caught it",
    "<script>Promise.reject(new Error('later'))</script>": "exception: later",
    "<img src='http://127.0.0.1:9/a.png'>": "request of http://127.0.0.1:9/a.png",
    "<link rel='stylesheet' href='other.css'>": "request of file:///",
    "<meta http-equiv='Content-Security-Policy' content=\"img-src 'none'\"><img src='data:,'>": (
        "error: forbidden by img-src: data"
    ),
}


def written(folder, body):
    path = folder / "page.html"
    path.write_text(f"<!doctype html><html lang=en><title>A page</title>{body}")
    return path


@pytest.mark.parametrize("body", FAULTS)
def test_faults_are_heard_of(body, opened, tmp_path):
    opened(written(tmp_path, body))
    assert [fault for fault in opened.taken_faults() if fault.startswith(FAULTS[body])]


def test_faults_of_windows_that_a_page_opens_are_heard_of(opened, tmp_path):
    page = opened(written(tmp_path, "<p>text</p>"))
    with page.expect_popup() as popup:
        page.evaluate("void open('about:blank')")
    popup.value.evaluate("console.warn('elsewhere')")
    assert opened.taken_faults() == ["warning: elsewhere"]


def test_a_page_without_faults_has_none(opened, tmp_path):
    page = opened(written(tmp_path, "<main><h1>Text</h1><img alt='' src='data:image/gif,'></main>"))
    page.evaluate("console.log('this is none')")
    assert opened.taken_faults() == []
    assert serious_faults(page) == []


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("<main><img src='data:image/gif,'></main>", "image-alt"),
        ("<main><button></button></main>", "button-name"),
        ("<main><p style='color: #ddd; background: #fff'>pale</p></main>", "color-contrast"),
    ],
)
def test_serious_faults_of_accessibility_are_found(body, rule, opened, tmp_path):
    [fault] = serious_faults(opened(written(tmp_path, body)))
    assert rule in fault
