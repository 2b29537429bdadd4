"""Runs on masks, solved by hand: a map of the color world is the object's mask."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from colors import SCENES, color_experiment, write_colors, write_masks
from timeless import timeless

import wsol_bench
from wsol_bench.errors import DatasetError, RunError
from wsol_bench.runs.rescore import rescore

# Sides of all scenes are this times a power of two, so that the nearest pixels tell areas.
SIDE = 224


def pixels(step):
    return {"name": "choe-2020-pxap", "map": {"upsample": "nearest"}, "pixels": {"step": step}}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """A network that sees color, a baseline that sees nothing, and a map that ranks no pixels."""
    dataset = write_masks(tmp_path_factory.mktemp("masks"))
    return {
        **color_experiment(""),
        "dataset": dataset,
        "methods": ["cam", "colors:nan_cam", "center_gaussian"],
        "protocol": pixels(0.25),
        "workers": 0,
        "part_size": 3,
    }


@pytest.fixture(scope="module")
def run(experiment, tmp_path_factory):
    return wsol_bench.run(experiment, out=tmp_path_factory.mktemp("run") / "run")


def counts(run, method):
    """Of each image in order: pixels of the object and others by bins."""
    curves = run.folder.read("curves")
    curves = curves[curves["method"] == method]
    assert curves["image_id"].tolist() == [f"{index}.png" for index in range(len(SCENES))]
    for foreground, background in zip(curves["foreground"], curves["background"], strict=True):
        yield np.frombuffer(foreground, "<u4"), np.frombuffer(background, "<u4")


def expected_pixels():
    """Of each scene: object and background at the input's size; of the first, 10 lines ignored."""
    for index, ((height, width), _, boxes) in enumerate(SCENES):
        scale = SIDE * SIDE / (height * width)
        inside = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) * scale
        yield inside, SIDE * SIDE - inside - (10 * SIDE if index == 0 else 0)


def test_pixels_are_counted_by_their_scores(run):
    """The object high, the rest low, what is ignored nowhere. Edges blend as lines are added."""
    for (foreground, background), (inside, outside) in zip(
        counts(run, "cam"), expected_pixels(), strict=True
    ):
        assert foreground[:3].tolist() == [0, 0, 0]
        assert foreground[3:].sum() == inside
        assert background.tolist() == [outside, 0, 0, 0, 0]


def test_a_map_that_ranks_no_pixels_is_constant(run):
    for (foreground, background), (inside, outside) in zip(
        counts(run, "nan_cam"), expected_pixels(), strict=True
    ):
        assert foreground.tolist() == [inside, 0, 0, 0, 0]
        assert background.tolist() == [outside, 0, 0, 0, 0]


def test_the_baseline_is_the_same_in_every_image(run):
    sums = [foreground + background for foreground, background in counts(run, "center_gaussian")]
    assert all(np.array_equal(one, sums[1]) for one in sums[2:])
    assert sums[1].sum() == SIDE * SIDE
    assert (sums[1] > 0).all()


def test_the_summary_says_how_well(run):
    summary = run.summary.set_index("method")
    assert summary["n_scored"].tolist() == [len(SCENES)] * 3
    assert summary.loc["cam", ["px_ap", "p_iou", "p_iou_threshold"]].tolist() == [1, 1, 0.75]
    inside, outside = map(sum, zip(*expected_pixels(), strict=True))
    share = inside / (inside + outside)
    assert summary.loc["nan_cam", "px_ap"] == pytest.approx(share)
    assert summary.loc["nan_cam", "p_iou"] == pytest.approx(share)
    assert "top1_loc_error" not in summary
    assert "max_box_acc" not in summary


def test_images_say_where_their_masks_are(run):
    images = run.images
    assert [len(masks) for masks in images["masks"]] == [len(boxes) for _, _, boxes in SCENES]
    assert (images["ignore"] != "").tolist() == [True, False, False, False]
    assert not images["held_out"].any()
    assert set(run.rows["status"]) == {"swept", "zero", "not_finite"}
    assert "iou" not in run.rows
    assert run.rows["x0"].isna().all()


def test_stored_maps_scored_at_other_thresholds_are_those_of_a_fresh_run(experiment, run, tmp_path):
    ours = rescore(run.folder, pixels(0.5), out=tmp_path / "out")
    fresh = wsol_bench.run({**experiment, "protocol": pixels(0.5)})
    for name in ("images", "rows", "curves", "maps", "summary"):
        pd.testing.assert_frame_equal(
            timeless(getattr(ours, name)), timeless(getattr(fresh, name)), check_exact=True
        )
    assert len(np.frombuffer(ours.curves["foreground"].iloc[0], "<u4")) == 3


@pytest.mark.parametrize("with_model", [True, False])
def test_an_image_whose_mask_cannot_be_read_is_counted_and_left_out(
    experiment, tmp_path, with_model
):
    dataset = write_masks(tmp_path / "masks")
    changes = {"dataset": dataset, "max_failed": 1}
    if not with_model:
        changes |= {"models": [], "methods": ["center_gaussian"]}
    whole = wsol_bench.run({**experiment, **changes})
    broken = Path(whole.images["masks"].iloc[1][0])
    broken.write_bytes(broken.read_bytes()[:40])
    results = wsol_bench.run({**experiment, **changes})
    images = results.images
    assert images["status"].tolist() == ["evaluated", "unreadable", *images["status"][2:]]
    assert broken.name in images["reason"].iloc[1]
    assert set(results.rows["image_id"]) == set(whole.rows["image_id"]) - {images["image_id"][1]}
    kept = whole.curves[whole.curves["image_id"] != images["image_id"][1]]
    pd.testing.assert_frame_equal(results.curves, kept.reset_index(drop=True))
    assert (results.summary["n_skipped"] == whole.summary["n_skipped"] + 1).all()


def test_missing_maps_count_as_maps_that_rank_no_pixels(experiment, tmp_path):
    """Else a tool that gives maps of easy images alone would be the best."""
    (tmp_path / "maps").mkdir()
    (height, width), _, [(x0, y0, x1, y1)] = SCENES[0]
    perfect = np.zeros((height, width), np.float32)
    perfect[y0:y1, x0:x1] = 1
    np.save(tmp_path / "maps/0.png.npy", perfect)
    maps = {"name": "maps_from", "path": str(tmp_path / "maps"), "label": "mine"}
    results = wsol_bench.run({**experiment, "methods": ["cam", maps]})
    line = results.summary.set_index("method").loc["mine"]
    assert (line["n_scored"], line["n_missing"]) == (4, 3)
    (first, _), *others = counts(results, "mine")
    assert first[-1] == next(expected_pixels())[0]
    for foreground, background in others:
        assert foreground[1:].sum() == background[1:].sum() == 0
        assert foreground[0] > 0
    assert line["px_ap"] < 0.9


class TestRefused:
    def test_is_a_protocol_of_boxes_on_masks(self, experiment, run, tmp_path):
        with pytest.raises(DatasetError, match="scores boxes, but wsol_metadata has masks"):
            wsol_bench.run({**experiment, "protocol": "gradcam-2017"}, out=tmp_path / "run")
        with pytest.raises(RunError, match=r"gradcam-2017.* scores boxes, but .* have no boxes"):
            rescore(run.folder, "gradcam-2017", out=tmp_path / "out")
        assert not list(tmp_path.iterdir())

    def test_is_a_protocol_of_pixels_on_boxes(self, tmp_path):
        boxes = color_experiment(write_colors(tmp_path / "root"))
        with pytest.raises(DatasetError, match="scores pixels, but imagenet has no masks"):
            wsol_bench.run({**boxes, "protocol": "choe-2020-pxap"})
