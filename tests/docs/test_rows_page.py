"""docs/rows.md says what the declarations of the columns say."""

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts/rows_page"


def test_the_page_is_what_the_script_writes():
    script = runpy.run_path(str(SCRIPT))
    page = script["PAGE"].read_text()
    assert script["written"](page) == page, f"run {SCRIPT}"


def test_every_metric_and_column_stands_there():
    script = runpy.run_path(str(SCRIPT))
    page = script["PAGE"].read_text()
    for name in ("pixel_roc_auc", "max_top1_loc", "label_rank", "hits", "foreground", "seconds"):
        assert f"| {name} |" in page
