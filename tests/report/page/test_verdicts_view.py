"""The verdict on a box in the large view: the outcome that Python found, or why there is none."""

import json

import pytest
from report_file import deflated, inflated, written


def opened_large(blocks, changes, opened, folder, image=3):
    """The large view of an image, whose label's row of the first line has these values."""
    detail = inflated(blocks[f"image-{image}"])
    next(row for row in detail["rows"] if row["line"] == 0 and row["is_label"]).update(changes)
    changed = {**blocks, f"image-{image}": deflated(detail)}
    name = json.loads(blocks["index"])["ids"][image]
    page = opened(f"{written(folder / 'page.html', changed)}#view=images&line=cam&image={name}")
    page.locator(".tile-result").first.wait_for()
    return page


NOTHING = {"box": None, "iou": None, "map": None, "no_map": "There is no map here."}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"status": "no_box", "iou": 0.0, "outcome": 2}, "✕ no box"),
        ({"status": "constant", "iou": 0.0, "outcome": 2}, "✕ no box"),
        ({"status": "box", "iou": None, "outcome": 0}, "✓ hit"),
        ({"status": "box", "iou": 0.7, "outcome": None}, "not judged"),
        ({"status": "missing", "outcome": 2}, "✕ no map or box was given: a miss"),
        ({"status": "missing", "outcome": None}, "no map or box was given"),
        ({"status": "not_applicable"}, "not applicable"),
    ],
)
def test_a_row_without_a_box_says_why(changes, verdict, blocks, opened, tmp_path):
    page = opened_large(blocks, {**NOTHING, **changes}, opened, tmp_path)
    assert page.locator(".viewer-result .verdict").inner_text() == verdict
    assert verdict in page.locator(".tile-result").first.inner_text()
    assert "There is no map here." in page.locator(".viewer-result").inner_text()


@pytest.mark.parametrize(
    ("outcome", "verdict"), [("hit", "✓ hit"), ("miss", "✕ miss"), ("", "not judged")]
)
def test_under_a_sweep_a_box_that_is_not_stored_is_no_missing_box(
    outcome, verdict, blocks_of_sweep, opened, tmp_path
):
    names = [each["name"] for each in json.loads(blocks_of_sweep["overview"])["outcomes"]]
    code = names.index(outcome) if outcome else None
    changes = {**NOTHING, "status": "swept", "outcome": code}
    page = opened_large(blocks_of_sweep, changes, opened, tmp_path)
    page.locator(f".viewer-result .verdict:text-is('{verdict}')").wait_for()
    page.locator(f".tile-result:has-text('{verdict}')").first.wait_for()
    assert "no box" not in page.locator(".viewer").inner_text()
    assert "at each method's best threshold" in page.locator(".slider-why").inner_text()


def test_under_a_sweep_other_predictions_have_no_verdict(blocks_of_sweep, opened, tmp_path):
    address = written(tmp_path / "page.html", blocks_of_sweep)
    name = json.loads(blocks_of_sweep["index"])["ids"][3]
    page = opened(f"{address}#view=images&image={name}&slot=3")
    page.locator(".classes tr.chosen td:text-is('3')").wait_for()
    assert page.locator(".viewer-result .verdict").count() == 0


def test_what_is_not_judged_is_not_judged_at_any_threshold(blocks, opened, tmp_path):
    page = opened_large(blocks, {"outcome": None}, opened, tmp_path)
    for threshold in ("0.2", "0.9"):
        page.get_by_label("Threshold of boxes").fill(threshold)
        page.locator(".viewer-result .verdict:text-is('not judged')").wait_for()
