"""The best-threshold protocols, from stored maps to numbers, by loops and scikit-image."""

import numpy as np
import pytest
import torch
from skimage.measure import label, regionprops
from torch.nn.functional import interpolate
from user_modules import importable

import wsol_bench
from wsol_bench.errors import RunError
from wsol_bench.report.tables import columns_for_people, footer
from wsol_bench.runs.rescore import rescore

STEP, IOU = 0.01, 0.5
NOISE = """
import torch
from wsol_bench import Plan, cam_method

@cam_method("noise", plan=Plan())
def noise(record):
    b, c, h, w = record.activations.shape
    k = record.classes.shape[1]
    return torch.randn((b, k, 5, 9), generator=torch.Generator().manual_seed(0))
"""
EXPERIMENT = {
    "name": "best",
    "dataset": {"name": "shapes"},
    "models": ["shapes_net"],
    "methods": ["grad_cam", "noise_maps:noise"],
    "protocol": "gradcam-2017",
    "limit": 16,
}
CROP = "wsol-2018-crop"


@pytest.fixture(scope="module", autouse=True)
def noise(tmp_path_factory):
    """A method whose maps are random."""
    folder = tmp_path_factory.mktemp("noise")
    (folder / "noise_maps.py").write_text(NOISE)
    with importable(folder):
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run under one threshold, whose input is squashed."""
    return wsol_bench.run(EXPERIMENT, out=tmp_path_factory.mktemp("best") / "run")


@pytest.fixture(scope="module")
def runs(source, tmp_path_factory):
    """By protocol: the run scored again where the input is the same, else a run of its own."""
    folder = tmp_path_factory.mktemp("runs")
    held_out = {"box": {"threshold": {"step": STEP, "select_on": 0.5}}}
    selected = {"name": "wsol-2018-squash", **held_out}
    return {
        "squash": rescore(source.folder, "wsol-2018-squash", out=folder / "squash"),
        "selected": rescore(source.folder, selected, out=folder / "selected"),
        "crop": wsol_bench.run({**EXPERIMENT, "protocol": CROP}, out=folder / "crop"),
    }


def scale_and_shift(width, height, *, crop):
    """The pixels of an image to a pixel of its input, and where the input begins in the image."""
    if not crop:
        return np.array([width, height]) / 224, np.zeros(2)
    resized = np.array([256 * width // min(width, height), 256 * height // min(width, height)])
    scale = np.array([width, height]) / resized
    return scale, scale * np.round((resized - 224) / 2)  # torchvision's Resize and CenterCrop


def largest_boxes(values, scale, shift):
    """The box of the largest component above each threshold, in pixels of the image."""
    scaled = (values - values.min()) / (values.max() - values.min())
    for step in range(100):
        parts = regionprops(label(scaled > STEP * step, connectivity=2))
        top, left, bottom, right = max(parts, key=lambda part: part.area).bbox
        yield np.array([[left, top], [right, bottom]]) * scale + shift


def iou(one, other):
    """The IoU of two boxes as arrays of two corners (x, y)."""
    shared = np.maximum(np.minimum(one[1], other[1]) - np.maximum(one[0], other[0]), 0).prod()
    return shared / ((one[1] - one[0]).prod() + (other[1] - other[0]).prod() - shared)


def by_loops(results, method, *, crop):
    """Of each image its label's rank, whether it is held out, and its hit at each threshold."""
    own = results.rows.merge(
        results.images[["image_id", "label", "held_out", "width", "height", "boxes"]]
    )
    own = own[(own["class"] == own["label"]) & (own["method"] == method)]
    own = own.merge(results.maps, on=["model", "method", "layer", "image_id", "rank"])
    hits = []
    for line in own.itertuples():
        low = np.frombuffer(line.map, np.float16).reshape(1, 1, line.height_y, line.width_y)
        large = interpolate(torch.tensor(low, dtype=torch.float32), (224, 224), mode="bilinear")
        boxes = largest_boxes(
            large[0, 0].numpy(), *scale_and_shift(line.width_x, line.height_x, crop=crop)
        )
        truth = np.reshape(line.boxes, (-1, 2, 2))
        hits.append([max(iou(box, one) for one in truth) >= IOU for box in boxes])
    return own["rank"].to_numpy(), own["held_out"].to_numpy(), np.array(hits)


@pytest.mark.parametrize("method", ["grad_cam", "noise"])
@pytest.mark.parametrize("name", ["squash", "crop", "selected"])
def test_the_numbers_are_those_of_loops_over_thresholds(runs, name, method):
    line = runs[name].summary.set_index("method").loc[method]
    ranks, held_out, hits = by_loops(runs[name], method, crop=name == "crop")
    assert held_out.any() == (name == "selected")
    for k in (1, 5):
        assert line[f"top{k}_cls_error"] == pytest.approx((ranks > k)[~held_out].mean())
    curves = {
        "box_acc": hits, "top1_loc": hits & (ranks <= 1)[:, None],
        "top5_loc": hits & (ranks <= 5)[:, None],
    }  # fmt: skip
    for number, right in curves.items():
        shares = right[~held_out].mean(axis=0)
        assert shares.min() < shares.max()
        assert line[f"max_{number}"] == pytest.approx(shares.max())
        assert line[f"max_{number}_threshold"] == pytest.approx(STEP * shares.argmax())
        if name == "selected":
            chosen = shares[right[held_out].mean(axis=0).argmax()]
            assert line[f"selected_{number}"] == pytest.approx(chosen)
            gap = "gap" if number == "box_acc" else f"gap_{number}"
            assert line[gap] == pytest.approx(shares.max() - chosen)
    best = hits[~held_out].mean(axis=0).argmax()
    for k in (1, 5):
        at_best = curves[f"top{k}_loc"][~held_out].mean(axis=0)[best]
        assert line[f"top{k}_loc_at_gt_known"] == pytest.approx(at_best)


def test_the_input_of_another_geometry_is_not_scored_again(source):
    with pytest.raises(RunError, match="whose input differs from that of its maps"):
        rescore(source.folder, CROP)


def test_one_box_at_the_best_threshold_gives_the_same_numbers(source, runs, tmp_path):
    line = runs["squash"].summary.set_index("method").loc["grad_cam"]
    assert line["max_top1_loc_threshold"] != line["max_box_acc_threshold"]
    assert line["top1_loc_at_gt_known"] <= line["max_top1_loc"] < line["max_box_acc"]
    for ours, theirs in (
        ("max_box_acc", "gt_known_loc_error"),
        ("max_top1_loc", "top1_loc_error"),
        ("max_top5_loc", "top5_loc_error"),
    ):
        protocol = {"name": "wsol-2018-squash", "box": {"threshold": line[f"{ours}_threshold"]}}
        fixed = rescore(source.folder, protocol, out=tmp_path / ours).summary.set_index("method")
        assert line[ours] == pytest.approx(1 - fixed.loc["grad_cam", theirs])
        assert 0 < line["top1_cls_error"] == fixed.loc["grad_cam", "top1_cls_error"]


def test_the_summary_for_people_has_them_all(runs):
    table = columns_for_people(runs["selected"].summary).set_index("method")
    line = runs["selected"].summary.set_index("method").loc["grad_cam"]
    for title, names in {
        "cls error top-1/top-5": ("top1_cls_error", "top5_cls_error"),
        "MaxBoxAcc (GT-known)": ("max_box_acc",),
        "at selected threshold": ("selected_box_acc",),
        "max top-1/top-5 loc": ("max_top1_loc", "max_top5_loc"),
        "at selected thresholds": ("selected_top1_loc", "selected_top5_loc"),
    }.items():
        assert table.loc["grad_cam", title] == "/".join(f"{100 * line[name]:.2f}" for name in names)
    assert footer(runs["selected"].summary)[0].startswith(
        "Accuracies and classification errors in %. Protocol: wsol-2018-squash"
    )


def test_without_a_network_there_is_gt_known_alone(tmp_path):
    experiment = {**EXPERIMENT, "models": [], "methods": ["center_gaussian"]}
    results = wsol_bench.run({**experiment, "protocol": "wsol-2018-squash"})
    [line] = results.summary.to_dict(orient="records")
    assert line["max_box_acc"] > 0
    assert not [name for name in line if "top1" in name or "top5" in name]
    assert footer(results.summary)[0].startswith("Accuracies in %")
