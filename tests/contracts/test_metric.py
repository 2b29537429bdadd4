"""Every metric keeps the contract, and a metric that breaks a clause fails that clause."""

import re
import sys
from unittest import mock

import pytest
from installed_plugin import installed_plugin

from wsol_bench.cli import main
from wsol_bench.contracts.metric import check_metric
from wsol_bench.metrics.base import metrics

BUILT_IN = metrics.catalog.built_in
VALUES, FINITE, ALONE, ORDER, AGAIN, LEAVES, DIRECTION = [
    verdict.clause for verdict in check_metric(metrics.get("mean_iou"))
]
# Metrics of the plug-in by name: the clauses that each breaks, and a pattern in the first verdict.
BROKEN = {
    "raises_at_a_map": ({VALUES}, "ZeroDivisionError: on purpose"),
    "too_few": ({VALUES}, "expected a value for each of 7 images, found 6"),
    "infinite": ({FINITE}, "found an infinite value of image 0"),
    "percent": ({VALUES}, r"metric '.*' has the value 100, outside of its range \[0, 1\]"),
    "percent_of_columns": ({VALUES}, r"has the value .*, outside of its range \[0, 9\]"),
    "of_the_set": ({ALONE}, "image 0 alone: expected"),
    "of_the_order_of_images": ({ALONE, ORDER}, "image 1 alone: expected 1, found 0"),
    "of_memory_of_maps": ({ALONE, ORDER, AGAIN, LEAVES, DIRECTION}, "image 0 alone"),
    "writes": ({VALUES}, "wsol_bench_example.*: ValueError: assignment destination is read-only"),
    "upside_down": ({DIRECTION}, "lower is better, but a map on the object has"),
}  # fmt: skip
SOUND = ["box_height", "shape", "share_above_half", "some_hit"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_metric_keeps_the_contract(name):
    assert [verdict for verdict in check_metric(metrics.get(name)) if verdict.ok is False] == []


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    with installed_plugin(tmp_path_factory.mktemp("site-packages")) as folder:
        yield folder


def test_the_plugin_is_found_by_its_entry_points(plugin):
    offered = {name.partition("/")[2] for name in metrics if "wsol-bench-example/" in name}
    assert offered == {*SOUND, *BROKEN}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_plugin_passes(plugin, name):
    verdicts = list(check_metric(metrics.get(f"wsol-bench-example/{name}")))
    assert [verdict for verdict in verdicts if verdict.ok is False] == []
    assert sum(verdict.ok is True for verdict in verdicts) >= 5


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_metric_fails_its_clauses_and_no_other(plugin, name):
    clauses, pattern = BROKEN[name]
    verdicts = list(check_metric(metrics.get(f"wsol-bench-example/{name}")))
    failed = [verdict for verdict in verdicts if verdict.ok is False]
    assert {verdict.clause for verdict in failed} == clauses
    assert re.search(pattern, failed[0].detail), failed[0].detail


def test_every_clause_is_broken_by_a_metric():
    broken = {clause for clauses, _ in BROKEN.values() for clause in clauses}
    assert broken == {VALUES, FINITE, ALONE, ORDER, AGAIN, LEAVES, DIRECTION}


def test_the_command_line_prints_the_verdicts(plugin, capsys):
    name = "wsol-bench-example/share_above_half"
    arguments = ["wsol-bench", "check", "pointing_game", name, "--option", "level=0.4"]
    with mock.patch.object(sys, "argv", arguments), pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1  # pointing_game has no such option
    with (
        mock.patch.object(sys, "argv", ["wsol-bench", "check", "pointing_game", name]),
        pytest.raises(SystemExit) as end,
    ):
        main()
        sys.exit(0)
    assert not end.value.code
    assert "pointing_game: 7 passed, 0 failed" in capsys.readouterr().out
