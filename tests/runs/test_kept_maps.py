"""A run with ``maps: label`` or ``none`` has the same numbers, and says what it lacks."""

import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
from colors import color_experiment
from command_line import cli
from four_parts import StopsAfter
from timeless import timeless

import wsol_bench
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.report.analysis import analyze
from wsol_bench.report.figures.choice import Choice
from wsol_bench.report.figures.files import write_figures
from wsol_bench.report.page.collection import Collection
from wsol_bench.report.page.details import Details
from wsol_bench.report.sensitivity import sensitivity
from wsol_bench.runs import map_sizes
from wsol_bench.runs.experiment import Experiment
from wsol_bench.runs.experiment_config import load_config
from wsol_bench.runs.map_sizes import bytes_of_maps, expected_size
from wsol_bench.runs.merge import merge
from wsol_bench.runs.rescore import rescore

KEYS = ["model", "method", "layer", "image_id", "rank"]
ALL_IS_NO_NONE = r"config\.maps: all -> none"
NO_MAPS = r"keeps no maps \(maps: none\).*maps: label"


def experiment(root, maps, **changes):
    """Two methods of the network, one of which makes the label's map alone, and a baseline."""
    methods = ["cam", {"name": "grad_cam", "classes": "label"}, "center_gaussian"]
    usual = {"methods": methods, "workers": 0, "batch_size": 2, "part_size": 2}
    return color_experiment(root, maps=maps, **{**usual, **changes})


@pytest.fixture(scope="module")
def runs(root, tmp_path_factory):
    """The same run with each choice of maps; no test writes there."""
    folder = tmp_path_factory.mktemp("kept")
    return {
        maps: wsol_bench.run(experiment(root, maps), out=folder / maps)
        for maps in ("all", "label", "none")
    }


@pytest.fixture(scope="module")
def rescored(runs, tmp_path_factory):
    """The maps of ``all`` and of ``label``, scored by a protocol of another threshold and box."""
    folder = tmp_path_factory.mktemp("rescored")
    return {
        maps: rescore(runs[maps].folder, "zhou-2016", out=folder / maps)
        for maps in ("all", "label")
    }


def assert_equal(ours, theirs):
    pd.testing.assert_frame_equal(timeless(ours), timeless(theirs), check_exact=True)


def of_labels(table, run):
    """The lines of a table of rows or maps that are of the images' labels."""
    labels = run.images.set_index(["model", "image_id"])["label"]
    rows = run.rows
    label = labels.reindex(pd.MultiIndex.from_frame(rows[["model", "image_id"]])).to_numpy()
    keys = pd.MultiIndex.from_frame(rows.loc[rows["class"].to_numpy() == label, KEYS])
    return table[pd.MultiIndex.from_frame(table[KEYS]).isin(keys)].reset_index(drop=True)


def assert_same_numbers(ours, theirs):
    assert_equal(ours.summary, theirs.summary)
    tables = [analyze([results.folder], seed=1) for results in (ours, theirs)]
    for name, table in tables[0].items():
        pd.testing.assert_frame_equal(
            table.drop(columns="run", errors="ignore"),
            tables[1][name].drop(columns="run", errors="ignore"),
        )


class TestARun:
    @pytest.mark.parametrize("maps", ["label", "none"])
    def test_has_the_same_numbers(self, runs, maps):
        for table in ("rows", "images", "summary"):
            assert_equal(getattr(runs[maps], table), getattr(runs["all"], table))

    def test_keeps_the_maps_that_its_experiment_says(self, runs):
        # Three classes a map of CAM for each of four images, and one a map of Grad-CAM.
        assert len(runs["all"].maps) == 4 * (3 + 1)
        assert len(runs["none"].maps) == 0
        assert len(runs["label"].maps) == 4 * (1 + 1)
        assert_equal(runs["label"].maps, of_labels(runs["all"].maps, runs["all"]))

    def test_is_not_continued_with_other_maps(self, runs, root, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            wsol_bench.run(experiment(root, "all"), out=tmp_path / "run", engine=StopsAfter(1))
        with pytest.raises(RunError, match=ALL_IS_NO_NONE):
            wsol_bench.run(experiment(root, "none"), out=tmp_path / "run")

    def test_is_not_extended_with_other_maps(self, root, tmp_path):
        wsol_bench.run(experiment(root, "all", limit=2), out=tmp_path / "run")
        with pytest.raises(RunError, match=ALL_IS_NO_NONE):
            wsol_bench.run(experiment(root, "none"), out=tmp_path / "run")

    def test_is_extended_with_the_same_maps(self, runs, root, tmp_path):
        wsol_bench.run(experiment(root, "label", limit=2), out=tmp_path / "run")
        longer = wsol_bench.run(experiment(root, "label"), out=tmp_path / "run")
        assert longer.n_before == 1
        assert_equal(longer.maps, runs["label"].maps)

    def test_is_merged_of_shards_of_the_same_maps_alone(self, runs, root, tmp_path):
        shards = {
            (maps, shard): wsol_bench.run(
                experiment(root, maps), out=tmp_path / f"{maps}{shard}", shard=f"{shard}/2"
            ).folder
            for maps, shard in (("label", 1), ("label", 2), ("none", 2))
        }
        with pytest.raises(RunError, match=r"config\.maps: label -> none"):
            merge([shards["label", 1], shards["none", 2]], tmp_path / "mixed")
        merged = merge([shards["label", 1], shards["label", 2]], tmp_path / "merged")
        assert_equal(merged.maps, runs["label"].maps)

    def test_of_an_older_version_keeps_all(self, runs):
        identity = runs["all"].folder.identity
        config = {key: value for key, value in identity.config.items() if key != "maps"}
        assert identity.model_copy(update={"config": config}).kept_maps == "all"

    def test_with_an_unknown_choice_is_refused_with_the_values(self, root):
        with pytest.raises(ConfigError, match="'maps': expected 'all', 'label' or 'none'"):
            load_config(experiment(root, "some"))


class TestScoringAgain:
    def test_the_maps_of_labels_give_the_same_numbers(self, rescored):
        assert_same_numbers(rescored["label"], rescored["all"])

    def test_also_where_predictions_are_wrong(self, root, tmp_path):
        order = tmp_path / "classes.txt"  # red is called green, and green red
        order.write_text("n00000002\nn00000001\nn00000003\n")
        again = {}
        for maps in ("all", "label"):
            wrong = experiment(root, maps)
            wrong["models"][0]["classes"] = str(order)
            run = wsol_bench.run(wrong)
            again[maps] = rescore(run.folder, "zhou-2016", out=tmp_path / maps)
        assert again["all"].summary["top1_cls_error"].iloc[0] == 0.75
        assert_same_numbers(again["label"], again["all"])

    def test_of_labels_alone_gives_each_label_its_row_and_no_box_to_predictions(self, rescored):
        ours, theirs = rescored["label"], rescored["all"]
        assert_equal(of_labels(ours.rows, ours), of_labels(theirs.rows, theirs))
        rest = ours.rows[ours.rows["status"] == "not_kept"]
        assert len(rest) == 4 * 2  # of CAM's three classes; Grad-CAM has no other rows
        assert set(rest["method"]) == {"cam"}
        assert rest[["x0", "y0", "x1", "y1", "iou"]].isna().all(axis=None)

    def test_can_be_repeated(self, rescored, runs, tmp_path):
        back = rescore(
            rescored["label"].folder, runs["all"].folder.identity.config["protocol"],
            out=tmp_path / "back",
        )  # fmt: skip
        assert_equal(back.summary, runs["all"].summary)

    @pytest.mark.parametrize("again", [rescore, sensitivity])
    def test_without_maps_is_refused_with_the_key(self, runs, again):
        with pytest.raises(RunError, match=NO_MAPS):
            again(runs["none"].folder)

    def test_of_baselines_needs_no_maps(self, root, tmp_path):
        plain = experiment(root, "none", models=[], methods=["center_gaussian"])
        run = wsol_bench.run(plain, out=tmp_path / "run")
        assert len(rescore(run.folder, "zhou-2016").summary) == 1

    def test_to_vary_a_table_without_maps_is_refused_before_it_is_run(self, tmp_path):
        words = ["reproduce", "grad_cam_2017", "--vary", "--set", "maps=none"]
        _, errors = cli(*words, "--data", tmp_path, "--out", tmp_path / "out", code=1)
        assert "'maps: none'" in errors and "maps: label" in errors


class TestWhereAMapIsMissing:
    @pytest.mark.parametrize(
        ("maps", "row_of", "words"),
        [
            ("none", "label", "maps: none"),
            ("none", "prediction", "maps: none"),
            ("label", "label", ""),
            ("label", "prediction", "maps: label"),
        ],
    )
    def test_the_page_names_the_key(self, runs, maps, row_of, words):
        rows = Details(Collection([runs[maps].folder])).of(0)["rows"]
        shown = [row for row in rows if row["line"] == 0 and row["is_label"] == (row_of == "label")]
        assert shown and all(
            (words in row["no_map"]) if words else not row["no_map"] for row in shown
        )

    def test_a_baseline_has_its_own_reason(self, runs):
        rows = Details(Collection([runs["none"].folder])).of(0)["rows"]
        assert all("maps: none" not in row["no_map"] for row in rows if row["line"] == 2)

    def test_figures_say_so(self, runs, tmp_path):
        choice = Choice(n=2)
        written = write_figures([runs["none"].folder], tmp_path, choice, formats=["png"])
        assert len(written.remarks) == 2  # of images and of curves
        assert all("maps: none" in remark for remark in written.remarks)
        assert not write_figures([runs["all"].folder], tmp_path, choice, formats=["png"]).remarks

    def test_an_image_says_so_in_its_panels(self, runs):
        figure = runs["none"].show("ILSVRC2012_val_00000001")
        texts = [text.get_text() for axes in figure.axes for text in axes.texts]
        assert texts.count("no map is kept") == 2
        assert any("maps: none" in text.get_text().replace("\n", " ") for text in figure.texts)


class TestSizes:
    def test_are_those_of_the_maps_that_are_kept(self, runs, root):
        for maps, run in runs.items():
            resolved = Experiment.resolve(load_config(experiment(root, maps)))
            classifier = resolved.classifier(0)
            an_image = bytes_of_maps(classifier, resolved.map_methods, maps, 224)
            assert 4 * an_image == sum(map(len, run.maps["map"]))

    def test_are_told_if_they_do_not_fit(self, monkeypatch, tmp_path):
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=5 * 10**9))
        assert expected_size(tmp_path, 4_900_000_000, "all") == ""
        told = expected_size(tmp_path, 6_000_000_000, "all")
        assert "6 GB" in told and "5 GB left" in told and "maps: label" in told
        assert "maps: label'" not in expected_size(tmp_path, 6_000_000_000, "label")

    def test_are_told_by_a_run_after_its_first_part(self, monkeypatch, caplog, root, tmp_path):
        asked = []
        monkeypatch.setattr(map_sizes, "_LARGE", 1)
        monkeypatch.setattr(
            map_sizes.shutil, "disk_usage",
            lambda folder: asked.append(folder) or SimpleNamespace(free=10**12),
        )  # fmt: skip
        wsol_bench.run(experiment(root, "all"), out=tmp_path / "run")
        assert asked.count(tmp_path / "run") == 1 and "(maps: all)" in caplog.text
