"""Every block of the cookbook of metrics runs, in the order of the page."""

import contextlib
import importlib
import json
import re
from pathlib import Path

import pytest
from command_line import run
from user_modules import importable

# The whole page is carried out: checks of several plug-ins, and a run.
pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/cookbook_metrics.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
N_IMAGES = 8
OURS = ("box_contrast", "box_contrast+outside=0.5", "box_given_class")


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What each command of the page printed; its files lie in the working directory."""
    folder = tmp_path_factory.mktemp("cookbook")
    lines = {}
    with contextlib.chdir(folder), importable(folder):
        for language, text in BLOCKS:
            if language == "sh":
                lines |= {line: run(line) for line in text.splitlines()}
                continue
            name = re.match(r"# (\S+)\n", text)[1]
            Path(name).write_text(text.replace("limit: 100", f"limit: {N_IMAGES}"))
            importlib.invalidate_caches()
        yield lines


def test_its_metrics_pass_the_check(printed):
    checks = {line: text for line, text in printed.items() if line.startswith("wsol-bench check")}
    assert len(checks) == 2
    for text in checks.values():
        assert "FAILED" not in text
        assert " 0 failed" in text


def test_they_stand_in_the_summary(printed):
    lines = json.loads(printed["wsol-bench run measured.yaml --out runs/measured --json"])
    assert [line["method"] for line in lines] == ["cam", "grad_cam", "center_gaussian"]
    for line in lines:
        assert {*OURS, "mean_iou", "relevance_rank_accuracy"} <= set(line)
        assert "pointing_game" not in line  # which nobody asked for
        assert -1 <= line["box_contrast"] <= 1


def test_they_have_intervals_and_paired_tests(printed):
    tables = json.loads(printed["wsol-bench analyze runs/measured --json"])
    for name in OURS:
        intervals = [line for line in tables["intervals"] if line["number"] == name]
        assert [line["method"] for line in intervals] == ["cam", "grad_cam", "center_gaussian"]
        tests = [line for line in tables["comparisons"] if line["number"] == name]
        assert {line["test"] for line in tests} == {"sign flips"}


def test_they_stand_in_the_run_that_is_scored_again(printed):
    again, zhou = (
        json.loads(text) for line, text in printed.items() if line.startswith("wsol-bench rescore")
    )
    first = json.loads(printed["wsol-bench run measured.yaml --out runs/measured --json"])
    for line, before in zip(again, first, strict=True):
        assert line["box_contrast"] == before["box_contrast"]
        assert 0 <= line["pixel_roc_auc"] <= 1
        assert "relevance_rank_accuracy" not in line
    assert all({*OURS} <= set(line) for line in zhou)
