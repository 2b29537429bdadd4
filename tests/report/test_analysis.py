"""Stored runs analyzed: the summary's numbers, how sure they are, and what differs."""

import shutil

import numpy as np
import pandas as pd
import pytest
from analyzed_runs import (
    CLASSES,
    FAITHFULNESS,
    GRID,
    OF_MAPS,
    ONE_BOX,
    assert_intervals_are_of,
    lines,
)
from forged import replace_table

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.report.analysis import analyze, write_tables
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.rescore import rescore
from wsol_bench.runs.results import summarize_run
from wsol_bench.runs.schema import Tables
from wsol_bench.runs.stored_run import StoredRun

AT_GT_KNOWN = ("top1_loc_at_gt_known", "top5_loc_at_gt_known")


class TestIntervals:
    def test_are_of_the_summarys_numbers(self, run, tables):
        names = (*ONE_BOX, *OF_MAPS, *FAITHFULNESS)
        assert_intervals_are_of(tables["intervals"], run.summary, names)
        by_method = tables["intervals"].groupby("method")["number"].agg(set)
        assert by_method["cam"] == by_method["grad_cam"] == set(names)
        assert by_method["center_gaussian"] == set(names) - set(FAITHFULNESS)

    def test_have_a_width_where_images_differ(self, tables):
        by_number = lines(tables["intervals"], method="center_gaussian").set_index("number")
        low, value, high = by_number.loc["mean_iou", ["low", "value", "high"]]
        assert low < value < high

    def test_say_of_how_many_images(self, run, tables):
        """Faithfulness is of maps that rank pixels: here of all."""
        assert set(tables["intervals"]["n"]) == {len(run.images)}

    def test_of_means_need_no_seed(self, run, tables):
        again = analyze([run.folder], seed=1)["intervals"]
        pd.testing.assert_frame_equal(again, tables["intervals"], check_exact=True)

    def test_of_a_method_that_is_not_applicable_are_those_of_the_classes(self, experiment):
        without_head = {**experiment["models"][0]}
        del without_head["head"]
        methods = ["cam", "grad_cam"]
        results = wsol_bench.run({**experiment, "models": [without_head], "methods": methods})
        tables = analyze([results.folder])
        assert set(lines(tables["intervals"], method="cam")["number"]) == set(CLASSES)
        assert_intervals_are_of(tables["intervals"], results.summary, ONE_BOX)
        assert set(tables["comparisons"]["number"]) == set(CLASSES)


class TestWhyBoxesFailed:
    def test_the_share_of_hits_is_one_minus_the_error(self, run, tables):
        table = lines(tables["failure_modes"], failure_mode="hit").set_index(["of", "method"])
        for line in run.summary.to_dict(orient="records"):
            for of, name in (("top1", "top1_loc_error"), ("gt_known", "gt_known_loc_error")):
                share = table.loc[(of, line["method"]), "share"]
                assert share == pytest.approx(1 - line[name])

    def test_bins_hold_all_images(self, run, tables):
        for by in ("class", "size", "instances"):
            table = tables[f"by_{by}"].groupby("method")["n_images"].sum()
            assert (table == len(run.images)).all(), by

    def test_is_not_asked_where_no_one_box_is_chosen(self, swept):
        assert set(analyze([swept.folder])) == {"intervals", "comparisons"}


class TestSweeps:
    def test_intervals_are_the_same_for_the_same_seed(self, swept):
        """Resamples estimate the bias of a maximum."""
        first, again, other = (
            analyze([swept.folder], seed=seed)["intervals"] for seed in (0, 0, 1)
        )
        pd.testing.assert_frame_equal(again, first, check_exact=True)
        assert not other["low"].equals(first["low"])
        assert other["value"].equals(first["value"])

    def test_intervals_are_of_the_summarys_numbers(self, swept):
        tables = analyze([swept.folder])
        ious = ("iou30", "iou50", "iou70")
        maxima = ("max_box_acc", "max_box_acc_v2", *(f"max_box_acc_{iou}" for iou in ious))
        selected = ("selected_box_acc", "selected_box_acc_v2")
        selected += tuple(f"selected_box_acc_{iou}" for iou in ious)
        maxima += ("max_top1_loc", "max_top5_loc")
        selected += ("selected_top1_loc", "selected_top5_loc")
        assert (swept.summary["n_held_out"] > 0).all()
        names = (*CLASSES, *maxima, *selected, *AT_GT_KNOWN, *OF_MAPS)
        assert_intervals_are_of(tables["intervals"], swept.summary, names, within=False)
        # Of maps that are upsampled otherwise the network was not asked.
        assert set(names) == set(tables["intervals"]["number"])
        for number in ("max_box_acc_v2", "selected_box_acc_iou50", "pointing_game"):
            n = lines(tables["intervals"], number=number)["n"].tolist()
            assert n == swept.summary["n_scored"].tolist()

    def test_are_of_any_box_and_not_of_the_largest(self, swept, tmp_path):
        """Random hits: curves of the two kinds have nothing in common.

        Where so many thresholds are as good, resamples have a higher maximum than the images.
        """
        folder = RunFolder(shutil.copytree(swept.folder.path, tmp_path / "run"))
        rng = np.random.default_rng(0)
        for number in folder.parts():
            curves = folder.read_part("curves", number)
            hits = np.packbits(rng.random((len(curves), 6, 20)) < 0.5, axis=2)
            curves["hits"] = [one.tobytes() for one in hits]
            part = [folder.read_part(name, number) for name in ("images", "rows", "maps")]
            costs = folder.read_part("costs", number)
            folder.write_part(number, Tables(*part, curves, costs))
        summary = summarize_run(folder)
        names = ["max_box_acc_v2", *(f"max_box_acc_iou{at}" for at in (30, 50, 70))]
        intervals = analyze([folder])["intervals"]
        assert_intervals_are_of(intervals, summary, names, within=False)
        assert (summary["max_box_acc"] != summary["max_box_acc_iou50"]).any()

    @pytest.mark.parametrize(
        "change", [{"scoring": {"iou": [0.3, 0.7]}}, {"box": {"component": "largest"}}], ids=str
    )
    def test_v2_is_none_of_other_ious_or_boxes(self, run, change):
        protocol = {"name": "choe-2020-v2", **change}
        protocol["box"] = {"threshold": GRID, **change.get("box", {})}
        results = rescore(run.folder, protocol)
        numbers = set(analyze([results.folder])["intervals"]["number"])
        assert "max_box_acc_v2" not in numbers
        assert "max_box_acc_v2" not in results.summary
        assert {"max_box_acc_iou30", "max_box_acc_iou70"} <= numbers

    def test_maxima_are_compared_as_maxima_and_hits_at_selected_thresholds_as_hits(self, swept):
        table = analyze([swept.folder])["comparisons"]
        summary = swept.summary.set_index("method")
        ious = ("iou30", "iou50", "iou70")
        maxima = {"max_box_acc", "max_box_acc_v2", *(f"max_box_acc_{iou}" for iou in ious)}
        selected = {"selected_box_acc", "selected_box_acc_v2"}
        selected |= {f"selected_box_acc_{iou}" for iou in ious}
        maxima |= {"max_top1_loc", "max_top5_loc"}
        selected |= {"selected_top1_loc", "selected_top5_loc"}
        assert set(table["number"]) == {*CLASSES, *maxima, *selected, *AT_GT_KNOWN, *OF_MAPS}
        for number in sorted(maxima | {"selected_box_acc"}):
            [line] = lines(table, method="center_gaussian", number=number).to_dict("records")
            expected = summary.loc["center_gaussian", number] - summary.loc["cam", number]
            assert line["difference"] == pytest.approx(expected)
            assert line["n"] == summary["n_scored"].iloc[0]
            # The mean of three curves' hits is no hit.
            if number == "max_box_acc_v2":
                assert line["test"] == "sign flips"
                assert line["low"] <= line["difference"] <= line["high"]
            else:
                assert line["test"] == "McNemar, exact"
                assert line["difference"] == pytest.approx((line["n10"] - line["n01"]) / line["n"])
            assert 0 < line["p"] <= line["p_holm"] <= 1


class TestPixels:
    def test_intervals_are_of_the_summarys_numbers(self, masked):
        tables = analyze([masked.folder])
        names = ("px_ap", "p_iou", *FAITHFULNESS)
        assert_intervals_are_of(tables["intervals"], masked.summary, names)
        table = lines(tables["intervals"], number="px_ap").set_index("method")
        assert table["n"].tolist() == [6, 6, 6]
        # Each pixel of an object has its color, and only these have it.
        assert (table.loc["cam", ["value", "high"]] == 1).all()
        assert table.loc["cam", "low"] == pytest.approx(6 / (6 + 1.96**2), abs=1e-4)
        bell = table.loc["center_gaussian"]
        assert bell["low"] < bell["value"] < bell["high"] < 1
        assert set(tables) == {"intervals", "comparisons"}

    def test_are_compared_as_what_they_are_of_the_set(self, masked):
        table = analyze([masked.folder])["comparisons"]
        summary = masked.summary.set_index("method")
        for number in ("px_ap", "p_iou"):
            [line] = lines(table, method="center_gaussian", number=number).to_dict("records")
            expected = summary.loc["center_gaussian", number] - summary.loc["cam", number]
            assert line["difference"] == pytest.approx(expected)
            assert line["low"] <= line["difference"] <= line["high"] < 0
            assert (line["test"], line["n"]) == ("sign flips", 6)
            [same] = lines(table, method="grad_cam", number=number).to_dict("records")
            assert (same["difference"], same["p"]) == (0, 1)

    def test_hold_no_number_of_boxes(self, masked):
        numbers = set(analyze([masked.folder])["intervals"]["number"])
        assert numbers == {*CLASSES, "px_ap", "p_iou", *FAITHFULNESS}


class TestRefused:
    def test_is_a_run_that_is_not_finished(self, run, tmp_path):
        folder = RunFolder(shutil.copytree(run.folder.path, tmp_path / "run"))
        folder.update(finished=None)
        with pytest.raises(RunError, match="is not finished"):
            analyze([run.folder, folder])

    def test_is_a_run_of_which_no_image_was_evaluated(self, run, tmp_path):
        folder = RunFolder(shutil.copytree(run.folder.path, tmp_path / "run"))
        for number in folder.parts():
            images = folder.read_part("images", number).assign(status="unreadable")
            replace_table(folder, "images", number, images)
        with pytest.raises(RunError, match="no image was evaluated"):
            analyze([StoredRun(folder.path)])


class TestFiles:
    def test_lie_beside_the_summary(self, run, tables, tmp_path):
        folder = RunFolder(shutil.copytree(run.folder.path, tmp_path / "run"))
        write_tables(folder.path / "tables", tables)
        for name, table in tables.items():
            read = pd.read_csv(folder.path / f"tables/{name}.csv")
            assert list(read.columns) == list(table.columns)
            assert len(read) == len(table)
        read = pd.read_csv(folder.path / "tables/intervals.csv")
        assert read["value"].tolist() == pytest.approx(tables["intervals"]["value"].tolist())
        assert (folder.path / "tables/summary.csv").is_file()
