"""The kinds of findings: each has a meaning in words, and a place in docs/datasets.md."""

from pathlib import Path

import pytest

from wsol_bench.datasets.findings import MEANINGS, Kind

PAGE = Path(__file__).parents[2] / "docs/datasets.md"


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_is_told_in_words_and_stands_in_the_table_of_the_docs(kind):
    assert MEANINGS[kind]
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert (
        sum(kind in line.split("|")[1].replace("`", "").replace(",", "").split() for line in lines)
        == 1
    )


def test_nothing_else_has_a_meaning():
    assert set(MEANINGS) == set(Kind)
