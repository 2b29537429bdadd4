"""Thresholds that are selected on another run: its best ones, applied to these images."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from colors import SCENES, color_experiment, write_colors
from hits import unpacked
from PIL import Image
from timeless import assert_same_tables, timeless

import wsol_bench
from wsol_bench.errors import ConfigError, RunError
from wsol_bench.runs.folder import RunFolder
from wsol_bench.runs.rescore import rescore
from wsol_bench.runs.results import methods_of, summarize_run

STEP = 0.05
THRESHOLDS = np.arange(0, 1, STEP)
V2 = (0.3, 0.5, 0.7)
METHODS = ["cam", "center_gaussian", {"name": "random_map", "seed": 3}]
# Boxes off the grid of cells, so that hits hang on the threshold, and other ones than SCENES'.
OTHERS = (
    ((224, 224), 0, [(70, 40, 200, 150)]),
    ((300, 200), 1, [(10, 20, 80, 260)]),
    ((112, 448), 2, [(100, 20, 300, 100)]),
    ((224, 224), 1, [(90, 90, 130, 140)]),
    ((224, 300), 2, [(10, 10, 290, 60), (40, 150, 100, 210)]),
)


def sweep(select_on=None, name="choe-2020-v2", step=STEP):
    threshold = {"step": step} | ({} if select_on is None else {"select_on": str(select_on)})
    return {"name": name, "box": {"threshold": threshold}}


def painted(root):
    """The colors under ``root``; in the first image, which is red, most is blue."""
    first = min((root / "ILSVRC/Data/CLS-LOC/val").iterdir())
    pixels = np.array(Image.open(first))
    pixels[:, :, 2][pixels[:, :, 0] == 0] = 255
    Image.fromarray(pixels).save(first, format="PNG")
    return root


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """An experiment on the first color world, without a protocol."""
    root = painted(write_colors(tmp_path_factory.mktemp("ours")))
    return color_experiment(root, methods=METHODS, workers=0, part_size=2, batch_size=2)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """The same experiment on the other one."""
    root = painted(write_colors(tmp_path_factory.mktemp("theirs"), scenes=OTHERS))
    return color_experiment(root, methods=METHODS, workers=0)


@pytest.fixture(scope="module")
def other(theirs, tmp_path_factory):
    """The run that thresholds are selected on."""
    out = tmp_path_factory.mktemp("other") / "run"
    return wsol_bench.run({**theirs, "protocol": sweep()}, out=out)


@pytest.fixture(scope="module")
def selecting(ours, other, tmp_path_factory):
    out = tmp_path_factory.mktemp("selecting") / "run"
    return wsol_bench.run({**ours, "protocol": sweep(other.folder.path)}, out=out)


def hits_of(results, method):
    """(image, largest component at each IoU then all of them, threshold)."""
    curves = results.curves[results.curves["method"] == method]
    assert curves["image_id"].tolist() == results.images["image_id"].tolist()
    return unpacked(curves["hits"].tolist(), len(THRESHOLDS))


def accuracies(results, method):
    """By name of a number, its curve at every threshold; of V2 the three that are averaged."""
    hits = hits_of(results, method)
    first = (results.images["label_rank"] == 1).to_numpy(bool)
    largest, every = hits[:, V2.index(0.5)], hits[:, len(V2) :]
    curves = {
        "max_box_acc": largest[:, None],
        "max_box_acc_v2": every,
        "max_top1_loc": (largest & first[:, None])[:, None],
        "max_top5_loc": largest[:, None],
    }
    for position, iou in enumerate(V2):
        curves[f"max_box_acc_iou{100 * iou:g}"] = every[:, [position]]
    return {name: hits.mean(axis=0) for name, hits in curves.items()}


# The columns beside a number: the selected number, its threshold if it has one, the gap.
BESIDE = {
    "max_box_acc": ("selected_box_acc", None, "gap"),
    "max_box_acc_v2": ("selected_box_acc_v2", None, "gap_v2"),
    "max_top1_loc": ("selected_top1_loc", "selected_top1_loc_threshold", "gap_top1_loc"),
    "max_top5_loc": ("selected_top5_loc", "selected_top5_loc_threshold", "gap_top5_loc"),
    **{
        f"max_box_acc_iou{at}": (
            f"selected_box_acc_iou{at}", f"selected_threshold_iou{at}", f"gap_iou{at}"
        )
        for at in (30, 50, 70)
    },
}  # fmt: skip


class TestNumbers:
    @pytest.mark.parametrize("method", ["cam", "center_gaussian", "random_map+seed=3"])
    def test_are_at_the_best_thresholds_of_the_other_run(self, selecting, other, method):
        line = selecting.summary.set_index("method").loc[method]
        mine, chosen_by = accuracies(selecting, method), accuracies(other, method)
        for number, (selected, threshold, gap) in BESIDE.items():
            at = [int(np.argmax(curve)) for curve in chosen_by[number]]
            expected = np.mean([curve[t] for curve, t in zip(mine[number], at, strict=True)])
            best = np.mean([curve.max() for curve in mine[number]])
            assert line[number] == pytest.approx(best, abs=1e-12), number
            assert line[selected] == pytest.approx(expected, abs=1e-12), number
            assert line[gap] == pytest.approx(best - expected, abs=1e-12), number
            if threshold:
                assert line[threshold] == pytest.approx(THRESHOLDS[at[0]], abs=1e-12), number

    def test_are_not_those_at_ones_own_best_thresholds(self, selecting):
        """Else the tests would say nothing."""
        gaps = selecting.summary[["gap", "gap_v2", "gap_top1_loc"]]
        assert (gaps >= 0).all(axis=None)
        assert (gaps > 0).any(axis=None)
        summary = selecting.summary
        assert (summary["selected_top1_loc"] != summary["selected_box_acc"]).any()

    def test_are_of_all_images(self, selecting, ours):
        assert not selecting.images["held_out"].any()
        assert selecting.summary["n_scored"].tolist() == [len(SCENES)] * len(METHODS)
        assert selecting.summary["n_held_out"].tolist() == [0] * len(METHODS)
        oracle = wsol_bench.run({**ours, "protocol": sweep()})
        names = [name for name in oracle.summary if name != "protocol" and name != "protocol_hash"]
        pd.testing.assert_frame_equal(
            timeless(selecting.summary[names]), timeless(oracle.summary[names]), check_exact=True
        )
        assert "selected_box_acc" not in oracle.summary

    def test_on_its_own_run_are_the_best(self, other, theirs):
        results = wsol_bench.run({**theirs, "protocol": sweep(other.folder.path)})
        gaps = [gap for _, _, gap in BESIDE.values()]
        assert (results.summary[gaps] == 0).all(axis=None)

    def test_image_by_image_are_the_hits_at_that_threshold(self, selecting, other):
        for method in methods_of(selecting.folder):
            name = method.names["method"]
            number = next(one for one in method.numbers() if one.name == "max_box_acc")
            at = int(np.argmax(accuracies(other, name)["max_box_acc"][0]))
            hits = hits_of(selecting, name)[:, V2.index(0.5), at]
            assert number.selected().values.tolist() == hits.tolist()

    def test_of_stored_maps_scored_again_are_those_of_a_fresh_run(
        self, selecting, other, ours, tmp_path
    ):
        one_box = wsol_bench.run({**ours, "protocol": "gradcam-2017"}, out=tmp_path / "run")
        again = rescore(one_box.folder, sweep(other.folder.path), out=tmp_path / "out")
        assert_same_tables(again, selecting, ("images", "rows", "curves", "summary"))


def copied(results, folder):
    """A run moved, as its folder is then deleted."""
    shutil.copytree(results.folder.path, folder)
    return folder


class TestWithoutTheOtherRun:
    def test_a_finished_run_reads_the_same(self, ours, other, selecting, tmp_path):
        there = copied(other, tmp_path / "other")
        results = wsol_bench.run({**ours, "protocol": sweep(there)}, out=tmp_path / "run")
        before = results.summary
        shutil.rmtree(there)
        folder = RunFolder(tmp_path / "run")
        folder.require_finished()
        pd.testing.assert_frame_equal(summarize_run(folder), before, check_exact=True)
        names = [name for name in before if name not in ("protocol", "protocol_hash")]
        pd.testing.assert_frame_equal(
            timeless(before[names]), timeless(selecting.summary[names]), check_exact=True
        )
        for method in methods_of(folder):
            assert all(one.selected() is not None for one in method.numbers() if one.best)

    def test_a_changed_one_makes_another_run(self, ours, other, theirs, tmp_path):
        there = copied(other, tmp_path / "other")
        experiment = {**ours, "protocol": sweep(there)}
        wsol_bench.run(experiment, out=tmp_path / "run")
        wsol_bench.run({**theirs, "protocol": sweep(), "limit": 3}, out=there, force=True)
        with pytest.raises(RunError, match=r"another run(?s:.)*selected_on"):
            wsol_bench.run(experiment, out=tmp_path / "run")


def refused(ours, theirs, folder, wanted=None, **changes):
    """The error of selecting on a run of changed settings, before anything is evaluated."""
    run = wsol_bench.run({**theirs, "protocol": sweep(), **changes}, out=folder / "other")
    with pytest.raises(ConfigError) as error:
        wsol_bench.run({**ours, "protocol": wanted or sweep(run.folder.path)}, out=folder / "run")
    assert not (folder / "run").exists()
    assert f"select_on: the run in {run.folder.path} " in str(error.value)
    return str(error.value)


class TestRefused:
    def test_is_a_run_of_another_network_of_that_name(self, ours, theirs, tmp_path):
        [model] = theirs["models"]
        models = [{**model, "name": "colors:two_heads"}]
        message = refused(ours, theirs, tmp_path, models=models)
        assert message.endswith(
            "has another model 'color_net' than this run; thresholds apply only to the same model"
        )

    def test_is_a_run_without_the_network(self, ours, theirs, tmp_path):
        [model] = theirs["models"]
        message = refused(ours, theirs, tmp_path, models=[{**model, "label": "their_net"}])
        assert message.endswith("has no model 'color_net', which this run has")

    def test_is_a_run_without_the_method(self, ours, theirs, tmp_path):
        message = refused(ours, theirs, tmp_path, methods=METHODS[1:])
        assert message.endswith("has no method 'cam', which this run has")

    def test_is_a_run_without_the_baseline(self, ours, theirs, tmp_path):
        message = refused(ours, theirs, tmp_path, methods=METHODS[:1])
        assert message.endswith("has no method 'center_gaussian', which this run has")

    def test_is_a_run_of_another_method_under_that_name(self, ours, theirs, tmp_path):
        methods = [{"name": "grad_cam", "label": "cam"}, *METHODS[1:]]
        message = refused(ours, theirs, tmp_path, methods=methods)
        assert message.endswith(
            "has another method 'cam' than this run; thresholds apply only to the same method"
        )

    @pytest.mark.parametrize(
        "protocol", [sweep(name="choe-2020-v1"), sweep(step=0.1)], ids=["v1", "step"]
    )
    def test_is_a_run_of_another_protocol(self, ours, theirs, tmp_path, protocol):
        message = refused(ours, theirs, tmp_path, sweep(tmp_path / "other"), protocol=protocol)
        assert "was scored by choe-2020-v" in message
        assert "but this run is scored by choe-2020-v2" in message
        assert "only 'select_on' may differ" in message

    def test_is_a_run_of_one_box(self, ours, theirs, tmp_path):
        message = refused(ours, theirs, tmp_path, sweep(tmp_path / "other"), protocol="zhou-2016")
        assert "has no thresholds to select: it was scored by zhou-2016" in message

    def test_is_a_run_that_is_not_finished(self, ours, other, tmp_path):
        there = RunFolder(copied(other, tmp_path / "other"))
        there.update(finished=None)
        with pytest.raises(RunError, match=rf"the run in {there.path} is not finished"):
            wsol_bench.run({**ours, "protocol": sweep(there.path)}, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_is_a_shard_of_a_run(self, ours, theirs, tmp_path):
        split = {**theirs, "protocol": sweep(), "part_size": 1, "batch_size": 1}
        wsol_bench.run(split, out=tmp_path / "shard", shard="1/2")
        with pytest.raises(ConfigError, match="select_on: expected a whole run, found shard 1/2"):
            wsol_bench.run({**ours, "protocol": sweep(tmp_path / "shard")}, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_is_the_run_whose_folder_is_to_be_written(self, ours, other, tmp_path):
        there = copied(other, tmp_path / "other")
        mine = wsol_bench.run({**ours, "protocol": sweep()}, out=tmp_path / "mine").folder
        selecting = sweep(there)
        for write in (
            lambda: wsol_bench.run({**ours, "protocol": selecting}, out=there, force=True),
            lambda: wsol_bench.run({**ours, "protocol": selecting}, out=tmp_path, force=True),
            lambda: rescore(mine, selecting, out=there, force=True),
        ):
            with pytest.raises(RunError, match=rf"holds {there}, which is to be read"):
                write()
        RunFolder(there).require_finished()

    def test_is_a_folder_that_is_no_run(self, ours, tmp_path):
        with pytest.raises(ConfigError, match=r"select_on: .*cannot be read"):
            wsol_bench.run({**ours, "protocol": sweep(tmp_path)}, out=tmp_path / "run")
        assert not Path(tmp_path / "run").exists()
