"""Stored runs analyzed: the summary's numbers, how sure they are, and what differs."""

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from colors import color_experiment, write_colors, write_masks

import wsol_bench
from wsol_bench.cli import main
from wsol_bench.errors import RunError
from wsol_bench.report.analysis import analyze, for_people, write_tables
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.rescore import rescore
from wsol_bench.runs.results import summarize_run
from wsol_bench.runs.schema import Tables

CLASSES = tuple(f"top{k}_cls_error" for k in range(1, 6))
ONE_BOX = (
    *CLASSES,
    *(f"top{k}_loc_error" for k in range(1, 6)),
    *("top1_loc_error_all", "top5_loc_error_all", "gt_known_loc_error"),
    *("mean_iou", "box_acc_area"),
)
OF_MAPS = ("pointing_game", "pointing_game_15px", "energy_pointing_game")
FAITHFULNESS = ("insertion", "deletion", "average_drop", "increase_in_confidence")
REAL = ("mean_iou", "box_acc_area", "energy_pointing_game", *FAITHFULNESS[:3])
GRID = {"step": 0.05}


def scenes(n=10):
    """Rectangles on the cells' grid, of one color each, some with a second one of their class."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(n):
        boxes = []
        for _ in range(1 + index % 2):
            x0, y0 = 32 * rng.integers(0, 5, 2)
            width, height = 32 * rng.integers(1, 4, 2)
            boxes.append(tuple(map(int, (x0, y0, min(224, x0 + width), min(224, y0 + height)))))
        made.append(((224, 224), index % 3, boxes))
    return tuple(made)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return color_experiment(
        write_colors(tmp_path_factory.mktemp("colors"), scenes=scenes()),
        methods=["cam", "grad_cam", "center_gaussian"],
        faithfulness=4,
        workers=0,
        part_size=4,
    )


@pytest.fixture(scope="module")
def run(experiment, tmp_path_factory):
    return wsol_bench.run(experiment, out=tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def tables(run):
    return analyze([run.folder])


@pytest.fixture(scope="module")
def swept(run):
    grid = {**GRID, "select_on": 0.4}
    return rescore(run.folder, {"name": "choe-2020-v2", "box": {"threshold": grid}})


def lines(table, **which):
    for column, value in which.items():
        table = table[table[column] == value]
    return table


def assert_intervals_are_of(intervals, summary, names, *, within=True):
    """One line a number, with the value of the summary, and within its interval."""
    for line in summary.to_dict(orient="records"):
        mine = lines(intervals, method=line["method"]).set_index("number")
        assert mine.index.is_unique
        for number in names:
            expected = line[number]
            if np.isnan(expected):
                assert number not in mine.index
                continue
            assert mine.loc[number, "value"] == pytest.approx(expected, abs=1e-12), number
            low, high = mine.loc[number, ["low", "high"]]
            assert low <= high, number
            assert not within or low - 1e-12 <= expected <= high + 1e-12, number


def by_holm(p):
    """Holm's correction as the paper says it: the smallest times m, the next times m - 1, ..."""
    order, adjusted, largest = np.argsort(p), np.empty(len(p)), 0.0
    for step, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - step) * p[index]))
        adjusted[index] = largest
    return adjusted


class TestIntervals:
    def test_are_of_the_summarys_numbers(self, run, tables):
        names = (*ONE_BOX, *OF_MAPS, *FAITHFULNESS)
        assert_intervals_are_of(tables["intervals"], run.summary, names)
        by_method = tables["intervals"].groupby("method")["number"].agg(set)
        assert by_method["cam"] == by_method["grad_cam"] == set(names)
        assert by_method["center_gaussian"] == set(names) - set(FAITHFULNESS)

    def test_have_a_width_where_images_differ(self, tables):
        mine = lines(tables["intervals"], method="center_gaussian").set_index("number")
        low, value, high = mine.loc["mean_iou", ["low", "value", "high"]]
        assert low < value < high

    def test_say_of_how_many_images(self, run, tables):
        """Faithfulness is of maps that rank pixels: here of all."""
        assert set(tables["intervals"]["n"]) == {len(run.images)}

    def test_are_the_same_for_the_same_seed(self, run, tables):
        again = analyze([run.folder])["intervals"]
        pd.testing.assert_frame_equal(again, tables["intervals"], check_exact=True)
        other = analyze([run.folder], seed=1)["intervals"]
        assert not other["low"].equals(again["low"])
        assert other["value"].equals(again["value"])

    def test_of_a_method_that_is_not_applicable_are_those_of_the_classes(self, experiment):
        without_head = {**experiment["models"][0]}
        del without_head["head"]
        methods = ["cam", "grad_cam"]
        results = wsol_bench.run({**experiment, "models": [without_head], "methods": methods})
        tables = analyze([results.folder])
        assert set(lines(tables["intervals"], method="cam")["number"]) == set(CLASSES)
        assert_intervals_are_of(tables["intervals"], results.summary, ONE_BOX)
        assert set(tables["comparisons"]["number"]) == set(CLASSES)


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
            assert test == ("paired bootstrap" if number in REAL else "McNemar, exact")

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
        ours, theirs = own["center_gaussian"], own["cam"]
        hits = table.loc["gt_known_loc_error"]
        assert hits["n10"] == ((ours >= 0.5) & (theirs < 0.5)).sum()
        assert hits["n01"] == ((ours < 0.5) & (theirs >= 0.5)).sum() > 0
        expected = (ours - theirs).mean() / (ours - theirs).std()
        assert table.loc["mean_iou", "effect_size"] == pytest.approx(expected)
        assert (
            table.loc["mean_iou", "low"] <= (ours - theirs).mean() <= table.loc["mean_iou", "high"]
        )

    def test_p_is_adjusted_for_all_comparisons_of_a_number(self, run, experiment, tmp_path):
        """Of three methods in two runs, five are compared with the first."""
        again = wsol_bench.run(experiment, out=tmp_path / "again")
        table = analyze([run.folder, again.folder])["comparisons"]
        assert (table["p_holm"] >= table["p"]).all()
        adjusted = 0
        for number, mine in table.groupby("number"):
            assert len(mine) == (5 if number not in FAITHFULNESS else 3)
            assert mine["p_holm"].tolist() == pytest.approx(by_holm(mine["p"].to_numpy()).tolist())
            adjusted += (mine["p_holm"] > mine["p"]).sum()
        assert adjusted > 0

    def test_of_one_method_are_none(self, experiment, tmp_path):
        alone = wsol_bench.run({**experiment, "methods": ["cam"]}, out=tmp_path / "run").folder
        tables = analyze([alone])
        write_tables(alone, tables)
        read = pd.read_csv(alone.path / "tables/comparisons.csv")
        assert len(read) == 0
        assert {"against", "number", "p", "p_holm"} <= set(read.columns)
        assert [title for title, _ in for_people(tables) if "Difference" in title] == []


@pytest.fixture(scope="module")
def both(run, experiment):
    """Two runs, of which the second has the first six images and another protocol; the tables."""
    few = wsol_bench.run({**experiment, "limit": 6, "protocol": "zhou-2016"})
    return run, few, analyze([run.folder, few.folder])


class TestTwoRuns:
    def test_lines_say_which_run(self, both):
        first, second, tables = both
        names = {str(first.folder.path), str(second.folder.path)}
        for name in ("intervals", "failure_modes", "by_class", "by_size", "by_instances"):
            assert set(tables[name]["run"]) == names, name
        for results in (first, second):
            mine = lines(tables["intervals"], run=str(results.folder.path))
            assert_intervals_are_of(mine, results.summary, (*ONE_BOX, *OF_MAPS))

    def test_are_compared_on_the_images_of_both(self, both):
        first, second, tables = both
        table = tables["comparisons"]
        assert set(lines(table, run=str(first.folder.path))["n"]) == {10}
        assert set(table["against"]) == {f"{first.folder.path} color_net cam"}
        theirs = lines(table, run=str(second.folder.path))
        assert set(theirs["n"]) == {6}
        assert set(theirs["method"]) == {"cam", "grad_cam", "center_gaussian"}
        assert set(theirs["protocol"]) == {"zhou-2016"}

    def test_differ_by_the_summarys_numbers_of_the_shared_images(self, both, experiment):
        _, second, tables = both
        few = wsol_bench.run({**experiment, "limit": 6})
        theirs = few.summary.set_index("method")
        ours = second.summary.set_index("method")
        table = lines(tables["comparisons"], run=str(second.folder.path))
        assert {*ONE_BOX, *OF_MAPS} <= set(table["number"])
        for line in table.to_dict(orient="records"):
            number = line["number"]
            expected = ours.loc[line["method"], number] - theirs.loc["cam", number]
            assert line["difference"] == pytest.approx(expected, abs=1e-12), number
            if number.endswith(("_error", "_error_all")):
                wrong_alone = (line["n01"] - line["n10"]) / line["n"]
                assert line["difference"] == pytest.approx(wrong_alone)

    def test_maxima_differ_by_those_of_the_shared_images(self, run, experiment):
        grid = {"name": "choe-2020-v2", "box": {"threshold": GRID}}
        few = wsol_bench.run({**experiment, "limit": 6})
        whole, part = (rescore(one.folder, grid) for one in (run, few))
        table = analyze([whole.folder, part.folder])["comparisons"]
        numbers = part.summary.set_index("method")
        mine = lines(table, run=str(part.folder.path))
        names = ("max_box_acc", "max_box_acc_v2", "max_box_acc_iou70")
        mine = mine[mine["number"].isin(names)]
        assert len(mine) == 9
        assert set(mine["n"]) == {6}
        for method, number, found in mine[["method", "number", "difference"]].itertuples(
            index=False
        ):
            expected = numbers.loc[method, number] - numbers.loc["cam", number]
            assert found == pytest.approx(expected, abs=1e-12)

    def test_of_different_data_sets_are_not_compared(self, run, experiment, tmp_path):
        """The same image ids, other boxes."""
        root = write_colors(tmp_path / "colors", scenes=tuple(reversed(scenes())))
        other = wsol_bench.run({**color_experiment(root), "methods": ["cam"], "workers": 0})
        with pytest.raises(RunError, match="differ in the ground truth of ILSVRC2012_val_00000001"):
            analyze([run.folder, other.folder])

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
            analyze([run.folder, folder])


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
    def test_intervals_are_of_the_summarys_numbers(self, swept):
        tables = analyze([swept.folder])
        ious = ("iou30", "iou50", "iou70")
        maxima = ("max_box_acc", "max_box_acc_v2", *(f"max_box_acc_{iou}" for iou in ious))
        selected = ("selected_box_acc", "selected_box_acc_v2")
        selected += tuple(f"selected_box_acc_{iou}" for iou in ious)
        maxima += ("max_top1_loc", "max_top5_loc")
        selected += ("selected_top1_loc", "selected_top5_loc")
        assert (swept.summary["n_held_out"] > 0).all()
        names = (*maxima, *selected, *OF_MAPS)
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
        assert set(table["number"]) == {*maxima, *selected, *OF_MAPS}
        for number in sorted(maxima | {"selected_box_acc"}):
            [line] = lines(table, method="center_gaussian", number=number).to_dict("records")
            expected = summary.loc["center_gaussian", number] - summary.loc["cam", number]
            assert line["difference"] == pytest.approx(expected)
            assert line["n"] == summary["n_scored"].iloc[0]
            if number == "selected_box_acc":
                assert line["test"] == "McNemar, exact"
                assert line["difference"] == pytest.approx((line["n10"] - line["n01"]) / line["n"])
            else:
                assert line["test"] == "paired bootstrap"
                assert np.isnan(line["effect_size"])
                assert line["low"] <= line["difference"] <= line["high"]
                assert 0 < line["p"] <= line["p_holm"] <= 1


@pytest.fixture(scope="module")
def masked(experiment, tmp_path_factory):
    """A run on masks."""
    dataset = write_masks(tmp_path_factory.mktemp("masks"), scenes=scenes(6))
    changes = {"map": {"upsample": "nearest"}, "pixels": {"step": 0.1}}
    protocol = {"name": "choe-2020-pxap", **changes}
    return wsol_bench.run({**experiment, "dataset": dataset, "protocol": protocol})


class TestPixels:
    def test_intervals_are_of_the_summarys_numbers(self, masked):
        tables = analyze([masked.folder])
        names = ("px_ap", "p_iou", *FAITHFULNESS)
        assert_intervals_are_of(tables["intervals"], masked.summary, names)
        table = lines(tables["intervals"], number="px_ap").set_index("method")
        assert table["n"].tolist() == [6, 6, 6]
        # Each pixel of an object has its color, and only these have it.
        assert (table.loc["cam", ["value", "low", "high"]] == 1).all()
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
            assert (line["test"], line["n"]) == ("paired bootstrap", 6)
            assert np.isnan(line["effect_size"])
            [same] = lines(table, method="grad_cam", number=number).to_dict("records")
            assert (same["difference"], same["p"]) == (0, 1)

    def test_hold_no_number_of_boxes(self, masked):
        numbers = set(analyze([masked.folder])["intervals"]["number"])
        assert numbers == {"px_ap", "p_iou", *FAITHFULNESS}


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
            images.to_parquet(folder.path / f"images/{number:06d}.parquet")
        with pytest.raises(RunError, match="no image was evaluated"):
            analyze([folder])


class TestFiles:
    def test_lie_beside_the_summary(self, run, tables, tmp_path):
        folder = RunFolder(shutil.copytree(run.folder.path, tmp_path / "run"))
        write_tables(folder, tables)
        for name, table in tables.items():
            read = pd.read_csv(folder.path / f"tables/{name}.csv")
            assert list(read.columns) == list(table.columns)
            assert len(read) == len(table)
        read = pd.read_csv(folder.path / "tables/intervals.csv")
        assert read["value"].tolist() == pytest.approx(tables["intervals"]["value"].tolist())
        assert (folder.path / "tables/summary.csv").is_file()


class TestCommand:
    def cli(self, monkeypatch, capsys, *arguments):
        """Exit code, standard output and standard error."""
        monkeypatch.setattr(sys, "argv", ["wsol-bench", *map(str, arguments)])
        monkeypatch.setattr(sys, "path", [*sys.path])
        with pytest.raises(SystemExit) as exit:
            main()
            sys.exit(0)
        return exit.value.code or 0, *capsys.readouterr()

    def refuse(self, constant):
        raise AssertionError(f"{constant} is no JSON")

    def test_prints_json_and_nothing_else(self, run, tables, tmp_path, monkeypatch, capsys):
        folder = shutil.copytree(run.folder.path, tmp_path / "run")
        code, out, err = self.cli(monkeypatch, capsys, "analyze", folder, "--json")
        assert code == 0
        content = json.loads(out, parse_constant=self.refuse)
        assert {name: len(table) for name, table in content.items()} == {
            name: len(table) for name, table in tables.items()
        }
        found = [line["value"] for line in content["intervals"]]
        assert found == tables["intervals"]["value"].tolist()
        assert str(folder / "tables") in err
        assert (folder / "tables/intervals.csv").is_file()

    def test_prints_strict_json_of_numbers_that_are_none(
        self, experiment, tmp_path, monkeypatch, capsys
    ):
        """Only CAM hits, so the odds are infinite; of the classes there are no odds."""
        content = {**experiment, "methods": ["colors:nan_cam", "cam"]}
        wsol_bench.run(content, out=tmp_path / "run")
        code, out, _ = self.cli(monkeypatch, capsys, "analyze", tmp_path / "run", "--json")
        assert code == 0
        table = json.loads(out, parse_constant=self.refuse)["comparisons"]
        by_number = {line["number"]: line for line in table}
        assert by_number["gt_known_loc_error"]["n10"] > by_number["gt_known_loc_error"]["n01"] == 0
        assert by_number["gt_known_loc_error"]["odds_ratio"] is None
        assert by_number["top1_cls_error"]["odds_ratio"] is None

    def test_shows_a_person_tables_in_percent(self, run, tmp_path, monkeypatch, capsys):
        folder = shutil.copytree(run.folder.path, tmp_path / "run")
        code, out, _ = self.cli(monkeypatch, capsys, "analyze", folder)
        assert code == 0
        for text in ("95% intervals", "Holm", "Failure modes", "number of instances", "100.00 ["):
            assert text in out

    def test_of_several_runs_writes_nothing(self, run, tmp_path, monkeypatch, capsys):
        folders = [shutil.copytree(run.folder.path, tmp_path / name) for name in "ab"]
        code, out, _ = self.cli(monkeypatch, capsys, "analyze", *folders, "--json", "--seed", "3")
        assert code == 0
        content = json.loads(out, parse_constant=self.refuse)
        assert {line["run"] for line in content["intervals"]} == set(map(str, folders))
        assert not list(tmp_path.glob("*/tables/intervals.csv"))

    def test_of_a_sweep(self, swept, tmp_path, monkeypatch, capsys):
        folder = shutil.copytree(swept.folder.path, tmp_path / "run")
        code, out, _ = self.cli(monkeypatch, capsys, "analyze", folder, "--json")
        assert code == 0
        assert set(json.loads(out, parse_constant=self.refuse)) == {"intervals", "comparisons"}
        code, out, _ = self.cli(monkeypatch, capsys, "analyze", folder)
        assert code == 0
        assert "95% intervals" in out
        assert "Failure modes" not in out

    def test_says_what_is_wrong(self, tmp_path, monkeypatch, capsys):
        code, out, err = self.cli(monkeypatch, capsys, "analyze", tmp_path, "--json")
        assert (code, out) == (1, "")
        assert err.startswith("Error: ")
        assert "is no run folder" in err
