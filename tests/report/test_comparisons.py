"""Paired tests between the methods of one run, and of two."""

import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from analyzed_runs import (
    FAITHFULNESS,
    GRID,
    OF_MAPS,
    ONE_BOX,
    REAL,
    assert_intervals_are_of,
    lines,
    scenes,
)
from colors import color_experiment, write_colors

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.report.analysis import analyze, numbers_of, write_tables
from wsol_bench.report.analysis_text import in_full
from wsol_bench.report.comparisons import line_names, paired_test, pairs_of
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.rescore import rescore
from wsol_bench.runs.results import methods_of
from wsol_bench.runs.schema import Tables
from wsol_bench.statistics.intervals import hit_difference_interval


def by_holm(p):
    """Holm's correction as the paper says it: the smallest times m, the next times m - 1, ..."""
    order, adjusted, largest = np.argsort(p), np.empty(len(p)), 0.0
    for step, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - step) * p[index]))
        adjusted[index] = largest
    return adjusted


class TestComparisons:
    def test_are_with_the_first_method_on_all_images(self, run, tables):
        table = tables["comparisons"]
        assert set(table["against"]) == {"color_net cam"}
        assert set(table["method"]) == {"grad_cam", "center_gaussian"}
        assert set(table["n"]) == {len(run.images)}
        assert set(lines(table, method="grad_cam")["number"]) == {
            *ONE_BOX, *OF_MAPS, *FAITHFULNESS
        }  # fmt: skip

    def test_numbers_are_tested_as_numbers_and_hits_as_hits(self, tables):
        table = tables["comparisons"]
        for number, test in table[["number", "test"]].itertuples(index=False):
            assert test == ("sign flips" if number in REAL else "McNemar, exact")

    def test_methods_that_are_one_do_not_differ(self, tables):
        """CAM is Grad-CAM here, up to the scale of the map, which is divided out."""
        table = lines(tables["comparisons"], method="grad_cam")
        assert (table["difference"] == 0).all()
        assert (table["p"] == 1).all()
        assert (table["p_holm"] == 1).all()

    def test_differences_are_those_of_the_intervals(self, tables):
        value = tables["intervals"].set_index(["method", "number"])["value"]
        table = lines(tables["comparisons"], method="center_gaussian")
        for line in table.to_dict(orient="records"):
            number = line["number"]
            expected = value["center_gaussian", number] - value["cam", number]
            assert line["difference"] == pytest.approx(expected, abs=1e-12)

    def test_effects_are_hits_of_one_alone_or_a_difference_in_its_deviations(self, run, tables):
        table = lines(tables["comparisons"], method="center_gaussian").set_index("number")
        rows = run.rows.merge(run.images[["image_id", "label"]], on="image_id")
        own = rows[rows["class"] == rows["label"]].pivot(
            index="image_id", columns="method", values="iou"
        )
        ours, reference = own["center_gaussian"], own["cam"]
        hits = table.loc["gt_known_loc_error"]
        assert hits["n10"] == ((ours >= 0.5) & (reference < 0.5)).sum()
        assert hits["n01"] == ((ours < 0.5) & (reference >= 0.5)).sum() > 0
        expected = (ours - reference).mean() / (ours - reference).std()
        assert table.loc["mean_iou", "effect_size"] == pytest.approx(expected)

    def test_intervals_of_differences_are_tangos_for_hits_and_students_otherwise(self, run, tables):
        table = lines(tables["comparisons"], method="center_gaussian").set_index("number")
        rows = run.rows.merge(run.images[["image_id", "label"]], on="image_id")
        own = rows[rows["class"] == rows["label"]].pivot(
            index="image_id", columns="method", values="iou"
        )
        ours, reference = own["center_gaussian"], own["cam"]
        only_ours = int(((ours >= 0.5) & (reference < 0.5)).sum())
        only_other = int(((ours < 0.5) & (reference >= 0.5)).sum())
        # An error is higher by the images that only the other method hits.
        _, low, high, _ = hit_difference_interval(only_other, only_ours, len(own))
        found = table.loc["gt_known_loc_error", ["low", "high"]].astype(float)
        assert found.tolist() == pytest.approx([low, high])
        assert low <= table.loc["gt_known_loc_error", "difference"] <= high
        students = scipy.stats.ttest_rel(ours, reference).confidence_interval(0.95)
        found = table.loc["mean_iou", ["low", "high"]].astype(float)
        assert found.tolist() == pytest.approx([students.low, students.high])

    def test_p_is_adjusted_for_all_comparisons_of_a_number(self, run, experiment, tmp_path):
        """Of three methods two are compared with the first, in each of two runs."""
        again = wsol_bench.run(experiment, out=tmp_path / "again")
        table = analyze([run.folder, again.folder])["comparisons"]
        assert (table["p_holm"] >= table["p"]).all()
        adjusted = 0
        for (_, number), run_lines in table.groupby(["run", "number"]):
            assert len(run_lines) == (2 if number not in FAITHFULNESS else 1)
            assert run_lines["p_holm"].tolist() == pytest.approx(
                by_holm(run_lines["p"].to_numpy()).tolist()
            )
            adjusted += (run_lines["p_holm"] > run_lines["p"]).sum()
        assert adjusted > 0

    def test_of_one_method_are_none(self, experiment, tmp_path):
        alone = wsol_bench.run({**experiment, "methods": ["cam"]}, out=tmp_path / "run").folder
        tables = analyze([alone])
        write_tables(alone.path / "tables", tables)
        read = pd.read_csv(alone.path / "tables/comparisons.csv")
        assert len(read) == 0
        assert {"against", "number", "p", "p_holm"} <= set(read.columns)
        assert [title for title, _ in in_full(tables) if "Paired" in title] == []


def across(first, second):
    """The tests of each method of a run against the first method of another run."""
    reference, *_ = numbers_of_run(first)
    return pd.DataFrame(
        [
            {**line_names(reference, method), **paired_test(pair, 0)}
            for method in numbers_of_run(second)
            for pair in pairs_of(reference, method)
        ]
    )


def numbers_of_run(folder):
    """The numbers of each method of a run."""
    return [numbers_of(method, folder) for method in methods_of(folder)]


@pytest.fixture(scope="module")
def both(run, experiment):
    """Two runs, of which the second has the first six images and another protocol; the tables."""
    few = wsol_bench.run({**experiment, "limit": 6, "protocol": "zhou-2016"})
    return run, few, analyze([run.folder, few.folder])


class TestFewImages:
    def test_have_no_p(self, run, experiment):
        """Of six images that only one method hits p is 2 / 2^6; five cannot have a p below 0.05."""
        few = wsol_bench.run({**experiment, "limit": 5})
        table = analyze([few.folder])["comparisons"]
        assert set(table["n"]) == {5}
        assert table[["p", "p_holm"]].isna().all(axis=None)
        assert table["difference"].notna().all()
        [text] = [
            text
            for title, text in in_full(
                {"intervals": analyze([few.folder])["intervals"], "comparisons": table}
            )
            if "Paired" in title
        ]
        assert set(text["p"]) == {"-"}


class TestTwoRuns:
    def test_lines_say_which_run(self, both):
        first, second, tables = both
        names = {str(first.folder.path), str(second.folder.path)}
        for name in ("intervals", "failure_modes", "by_class", "by_size", "by_instances"):
            assert set(tables[name]["run"]) == names, name
        for results in (first, second):
            run_lines = lines(tables["intervals"], run=str(results.folder.path))
            assert_intervals_are_of(run_lines, results.summary, (*ONE_BOX, *OF_MAPS))

    def test_are_each_compared_within_the_run(self, both):
        first, second, tables = both
        table = tables["comparisons"]
        assert set(table["against"]) == {"color_net cam"}
        for results, n, protocol in ((first, 10, "gradcam-2017"), (second, 6, "zhou-2016")):
            run_lines = lines(table, run=str(results.folder.path))
            assert set(run_lines["n"]) == {n}
            assert set(run_lines["method"]) == {"grad_cam", "center_gaussian"}
            assert {name.partition("+")[0] for name in run_lines["protocol"]} == {protocol}

    def test_differ_by_the_summarys_numbers_of_the_shared_images(self, both, experiment):
        first, second, _ = both
        few = wsol_bench.run({**experiment, "limit": 6})
        reference = few.summary.set_index("method")
        ours = second.summary.set_index("method")
        table = across(first.folder, second.folder)
        assert {*ONE_BOX, *OF_MAPS} <= set(table["number"])
        for line in table.to_dict(orient="records"):
            number = line["number"]
            expected = ours.loc[line["method"], number] - reference.loc["cam", number]
            assert line["difference"] == pytest.approx(expected, abs=1e-12), number
            if number.endswith(("_error", "_error_all")):
                wrong_alone = (line["n01"] - line["n10"]) / line["n"]
                assert line["difference"] == pytest.approx(wrong_alone)

    def test_maxima_differ_by_those_of_the_shared_images(self, run, experiment):
        grid = {"name": "choe-2020-v2", "box": {"threshold": GRID}}
        few = wsol_bench.run({**experiment, "limit": 6})
        whole, part = (rescore(one.folder, grid) for one in (run, few))
        run_lines = across(whole.folder, part.folder)
        numbers = part.summary.set_index("method")
        names = ("max_box_acc", "max_box_acc_v2", "max_box_acc_iou70")
        run_lines = run_lines[run_lines["number"].isin(names)]
        assert len(run_lines) == 9
        assert set(run_lines["n"]) == {6}
        for method, number, found in run_lines[["method", "number", "difference"]].itertuples(
            index=False
        ):
            expected = numbers.loc[method, number] - numbers.loc["cam", number]
            assert found == pytest.approx(expected, abs=1e-12)

    def test_of_different_data_sets_are_not_compared(self, run, experiment, tmp_path):
        """The same image ids, other boxes."""
        root = write_colors(tmp_path / "colors", scenes=tuple(reversed(scenes())))
        other = wsol_bench.run({**color_experiment(root), "methods": ["cam"], "workers": 0})
        with pytest.raises(RunError, match="differ in the ground truth of ILSVRC2012_val_00000001"):
            across(run.folder, other.folder)

    def test_without_a_common_image_are_an_error(self, run, experiment, tmp_path):
        path = tmp_path / "run"
        shutil.copytree(run.folder.path, path)
        folder = RunFolder(path)
        for number in folder.parts():
            tables = {name: folder.read_part(name, number) for name in Tables._fields}
            for name in ("images", "rows", "maps", "curves"):
                table = tables[name]
                table["image_id"] = "another-" + table["image_id"]
            folder.write_part(number, Tables(**tables))
        with pytest.raises(RunError, match="no image in common"):
            across(run.folder, folder)
