"""The chart over thresholds: which curves it draws, and what it marks and says of them."""

import pytest
from page_charts import CURVE, NUMBERS, numbers, table, traces, wait
from page_overviews import a_run, line, overview_of, write_page


@pytest.fixture
def two_runs(tmp_path):
    """The address of charts of two runs, whose only curve is of a number of its own."""
    runs = [a_run("first"), a_run("second", kind="box_sweep")]
    models = [{"run": run, "name": "net", "n_classes": 10} for run in (0, 1)]
    lines = [line("a", numbers(0.5), run=run, model=run) for run in (0, 1)]
    names = ((1, "max_box_acc"), (0, "box_acc"))
    curves = [{**CURVE, "line": n, "number": name, "title": name} for n, name in names]
    overview = overview_of(lines, NUMBERS, runs=runs, models=models, charts={"thresholds": curves})
    return write_page(tmp_path / "page.html", overview).as_uri() + "#view=charts"


@pytest.mark.parametrize(
    ("state", "expected"),
    [("model=0", 0), ("model=1", 1), ("model=0&lines=1", 1), ("lines=0,1&curve=max_box_acc", 1)],
)
def test_the_usual_curve_is_of_the_lines_that_are_drawn(state, expected, two_runs, opened):
    page = opened(f"{two_runs}&{state}")
    wait(page)
    assert traces(page, "thresholds")[0]["customdata"][0] == expected
    shown = page.locator("[data-chart=thresholds] select option:checked")
    assert shown.inner_text() == ("box_acc", "max_box_acc")[expected]


def test_lines_that_have_curves_of_another_number_say_so(two_runs, opened):
    page = opened(f"{two_runs}&lines=1&curve=box_acc")
    wait(page)
    empty = page.locator("[data-chart=thresholds] .chart-empty")
    assert empty.inner_text() == "These lines have curves of another number."


def test_boxes_that_come_from_no_map_have_a_curve_without_marks(tmp_path, opened):
    flat = {**CURVE, "line": 1, "shares": [0.5] * 4, "best": None, "selected": None}
    lines = [line("a", numbers(0.5)), line("box", numbers(0.4), kind="baseline", threshold=None)]
    overview = overview_of(lines, NUMBERS, charts={"thresholds": [CURVE, flat]})
    page = opened(write_page(tmp_path / "page.html", overview).as_uri() + "#view=charts")
    wait(page)
    curves = [t for t in traces(page, "thresholds") if "lines" in t["mode"]]
    marks = [t for t in traces(page, "thresholds") if t["mode"] == "markers"]
    assert [each["y"] for each in curves][1] == [50, 50, 50, 50]
    assert [len(each["x"]) for each in marks] == [1, 1, 1]
    assert table(page, "thresholds")[2] == ["box", *["–"] * 6]


def test_a_run_s_threshold_that_is_the_best_one_is_marked_once(tmp_path, opened):
    best = CURVE["best"] + 1e-12  # as floating point has it
    lines = [line("a", numbers(0.5), threshold=CURVE["best"]), line("b", numbers(0.4))]
    curves = [{**CURVE, "line": n, "best": best, "selected": None} for n in (0, 1)]
    overview = overview_of(lines, NUMBERS, charts={"thresholds": curves})
    page = opened(write_page(tmp_path / "page.html", overview).as_uri() + "#view=charts")
    wait(page)
    marks = {t["name"]: t["x"] for t in traces(page, "thresholds") if t["mode"] == "markers"}
    assert marks == {"threshold of the run": [0.15], "best": [best, best]}
    shown = {row[0]: row[3:] for row in table(page, "thresholds")[1:]}
    assert shown == {"a": ["0.25", "75.00"], "b": ["0.15", "75.00"]}
