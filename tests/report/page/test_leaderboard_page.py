"""The page of a leaderboard: a table to read, without scripts, that loads nothing."""

import re

import pytest

from wsol_bench.report.leaderboard import leaderboard
from wsol_bench.report.leaderboard_page import leaderboard_page
from wsol_bench.report.leaderboard_tables import tables_of
from wsol_bench.report.written_tables import text_table


@pytest.fixture(scope="module")
def board(run, swept):
    """Two rankings, of one run under two protocols, the second of which has a long name."""
    board = leaderboard([run.folder.path])
    assert len(board.rankings) >= 2
    return board


@pytest.fixture
def file(board, tmp_path):
    path = tmp_path / "board.html"
    path.write_text(leaderboard_page(board), encoding="utf-8")
    return path


def test_it_shows_the_cells_of_the_tables(board, file, opened):
    page = opened(file)
    tables = tables_of(board)
    assert page.locator("table").count() == len(tables)
    for number, table in enumerate(tables):
        shown = page.locator("table").nth(number)
        rows = [
            [" ".join(cell.split()) for cell in row.locator("td").all_inner_texts()]
            for row in shown.locator("tbody tr").all()
        ]
        assert rows == text_table(table).to_numpy().tolist()
        titles = [" ".join(title.split()) for title in shown.locator("th").all_inner_texts()]
        assert titles == list(text_table(table).columns)


def test_it_has_no_script_and_its_own_style_alone(file, opened):
    page = opened(file)
    assert page.locator("script").count() == 0
    assert page.evaluate("document.styleSheets.length") == 1
    # The style applies, so its digest is the one that the policy names.
    assert page.evaluate("getComputedStyle(document.querySelector('table')).borderCollapse") == (
        "collapse"
    )
    policy = page.locator("meta[http-equiv]").get_attribute("content")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"script-src|connect-src|https?:", policy)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_colors_of_the_system(file, opened, scheme):
    page = opened(file, color_scheme=scheme)
    red = int(
        re.findall(r"\d+", page.evaluate("getComputedStyle(document.body.parentNode).color"))[0]
    )
    assert (red > 128) == (scheme == "dark")


@pytest.mark.parametrize("width", [320, 1440])
def test_the_page_itself_does_not_scroll_sideways(file, opened, width):
    page = opened(file, viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
