"""The page as one file: texts stay texts, nothing but its own program runs, nothing is loaded."""

import json

import pytest

from wsol_bench.report.page.document import page_html


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
