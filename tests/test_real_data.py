"""Real ImageNet images and real weights against an independent pipeline (WSOL_BENCH_DATA)."""

import gzip
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import wsolevaluation
from hits import unpacked
from overlaps import pairwise_iou

import wsol_bench
from wsol_bench.geometry import from_inclusive
from wsol_bench.methods.imported.prediction_files import read_predictions, score_predictions
from wsol_bench.report.export import export_run
from wsol_bench.runs.rescore import rescore

# 510 images through three networks, and all 50,000 of ILSVRC val.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# timm's network has its mean and std and its layer without a word in the experiment.
LAYERS = {
    "squeezenet1_1": "features", "mobilenet_v2": "features", "timm/tf_efficientnet_lite0": "bn2"
}  # fmt: skip
MODELS = list(LAYERS)
BOX = ["x0", "y0", "x1", "y1"]
MAP_KEYS = ["model", "method", "layer", "image_id", "rank"]


@pytest.fixture(scope="module")
def results(data_dir, tmp_path_factory):
    """The committed experiment, whole: 510 images, three models, two methods."""
    experiment = Path(__file__).parent.parent / "experiments/ilsvrc_mini.yaml"
    return wsol_bench.run(experiment, out=tmp_path_factory.mktemp("real") / "run")


def rows_of(results, model, method):
    rows = results.rows
    return rows[(rows["model"] == model) & (rows["method"] == method)].reset_index(drop=True)


@pytest.mark.parametrize("model", MODELS)
def test_the_errors_are_those_of_an_independent_pipeline(results, model):
    reference = Path(__file__).parent / "reference/ilsvrc_mini_expected.json"
    expected = json.loads(reference.read_text())[f"{Path(model).name}/dev"]
    summary = results.summary.set_index(["model", "method"]).loc[(model, "grad_cam")]
    assert summary["n_images"] == expected["n"]
    assert summary["layer"] == LAYERS[model]
    for ours, theirs in (
        ("top1_cls_error", "cls1_err"),
        ("top5_cls_error", "cls5_err"),
        ("top1_loc_error", "loc1_err"),
        ("top5_loc_error", "loc5_err"),
    ):
        assert summary[ours] == pytest.approx(expected[theirs], abs=0.004)


@pytest.mark.parametrize("model", MODELS)
def test_the_boxes_are_those_of_an_independent_pipeline(results, data_dir, model):
    with gzip.open(data_dir / f"reference/ilsvrc_mini_rows_{Path(model).name}.json.gz") as file:
        reference = json.load(file)
    rows = rows_of(results, model, "grad_cam")
    by_image = dict(iter(rows[rows["rank"] <= 5].groupby("image_id")))
    same_class, agreement = [], []
    for line in reference:
        ours = by_image[Path(line["file"]).stem].sort_values("rank")
        same_class += (ours["class"].to_numpy() == np.array(line["pred"])).tolist()
        for mine, wnid, box in zip(ours[BOX].to_numpy(), ours["class"], line["boxes"], strict=True):
            if wnid == line["pred"][len(agreement) % 5]:
                theirs = from_inclusive(np.array([box if box else [np.nan] * 4], np.float64))
                both_none = np.isnan(mine).all() and np.isnan(theirs).all()
                agreement.append(1.0 if both_none else pairwise_iou(mine[None], theirs)[0, 0])
            else:
                agreement.append(0.0)
    assert len(agreement) == 5 * len(reference) == 5 * rows["image_id"].nunique()
    assert np.mean(same_class) > 0.99
    assert np.mean(np.array(agreement) > 0.98) >= 0.98


@pytest.mark.parametrize("model", MODELS[1:])
def test_cam_cut_at_zero_and_grad_cam_agree_box_for_box_on_a_gap_network(results, model):
    cam, grad_cam = (rows_of(results, model, method) for method in ("cam", "grad_cam"))
    assert cam["class"].tolist() == grad_cam["class"].tolist()
    assert len(cam) > 2500
    assert np.array_equal(cam[BOX].to_numpy(), grad_cam[BOX].to_numpy(), equal_nan=True)


def test_the_images_of_unknown_classes_are_counted(results):
    images = results.images[results.images["model"] == "mobilenet_v2"]
    assert images["status"].value_counts().to_dict() == {"evaluated": 500, "unknown_class": 10}


@pytest.mark.parametrize("format", ["kaggle", "devkit"])
@pytest.mark.parametrize("model", MODELS)
def test_export_then_score_gives_the_runs_own_numbers(results, data_dir, tmp_path, model, format):
    from wsol_bench.datasets import datasets

    # The Kaggle layout holds no ILSVRC2012_IDs: those of devkit files come from a devkit.
    devkit = {"devkit": data_dir / "ilsvrc-val-annotations"} if format == "devkit" else {}
    list(export_run(results.folder, tmp_path / "out", format=format, **devkit))
    subset = {}
    name = f"{model.replace('/', '_')}-grad_cam-{LAYERS[model]}"
    if format == "devkit":
        subset = {"subset": tmp_path / f"out/{name}.images.txt"}
    dataset = datasets.get("imagenet")(root=data_dir / "ilsvrc-mini", **devkit, **subset)
    suffix = {"kaggle": "csv", "devkit": "txt"}[format]
    file = tmp_path / f"out/{name}.{suffix}"
    line = score_predictions(read_predictions(file, dataset), dataset, name="x").iloc[0]
    expected = results.summary.set_index(["model", "method"]).loc[(model, "grad_cam")]
    for key in ("top1_cls_error", "top5_cls_error", "top1_loc_error_all", "top5_loc_error_all"):
        assert line[key] == pytest.approx(expected[key], abs=1e-12), key
    assert line["n_images"] == expected["n_images"]


def test_the_blacklist_of_the_devkit_reaches_the_run(data_dir):
    experiment = Path(__file__).parent.parent / "experiments/ilsvrc_mini.yaml"
    config = wsol_bench.load_config(
        experiment, [f"dataset.devkit={data_dir / 'ilsvrc-val-annotations'}"]
    )
    dataset = config.dataset.load()
    assert int(dataset.images["blacklisted"].sum()) == 5
    ids = dict(dataset.classes[["wnid", "ilsvrc_id"]].itertuples(index=False))
    assert ids["n01440764"] == 449


def test_a_submission_of_the_right_boxes_scores_zero_on_all_50000_images(data_dir, tmp_path):
    """The whole validation set in devkit format: the ground truth itself as the only guess."""
    from wsol_bench.datasets import datasets

    dataset = datasets.get("imagenet")(root=data_dir / "ilsvrc-val-annotations")
    first = np.cumsum(dataset.images["n_boxes"]) - dataset.images["n_boxes"]
    ids = dict(dataset.classes[["wnid", "ilsvrc_id"]].itertuples(index=False))
    labels = dataset.images["label"].map(ids)
    corners = dataset.boxes[first] - [0, 0, 1, 1]
    lines = [
        f"{label} {' '.join(f'{value:g}' for value in box)}"
        for label, box in zip(labels, corners, strict=True)
    ]
    (tmp_path / "p.txt").write_text("\n".join(lines) + "\n")
    table = read_predictions(tmp_path / "p.txt", dataset)
    line = score_predictions(table, dataset, name="truth").iloc[0]
    assert (line["n_images"], line["n_blacklisted"]) == (50_000, 1_762)
    assert line["top1_loc_error"] == line["top5_loc_error_all"] == 0
    # Shifted by one line every image has another image's guess.
    (tmp_path / "p.txt").write_text("\n".join([*lines[1:], lines[0]]) + "\n")
    table = read_predictions(tmp_path / "p.txt", dataset)
    wrong = score_predictions(table, dataset, name="shifted").iloc[0]
    assert wrong["top1_cls_error"] == pytest.approx(1 - same_neighbors(labels), abs=1e-12)


def same_neighbors(labels: pd.Series) -> float:
    """Share of images whose successor (the first after the last) has the same class."""
    values = labels.to_numpy()
    return float(np.mean(values == np.roll(values, -1)))


def test_hits_are_those_of_the_code_of_choe_et_al_from_the_stored_maps_on(results, tmp_path):
    """Upsampling, scaling, contours, boxes and IoU, step by step with OpenCV."""
    scored = rescore(results.folder, "choe-2020-v2", out=tmp_path / "out")
    thresholds, ious = np.arange(0, 1, 0.001), (0.3, 0.5, 0.7)
    images = scored.images.set_index(["model", "image_id"])
    curves = scored.curves.set_index(["model", "method", "image_id"])
    own = scored.rows.merge(scored.images[["model", "image_id", "label"]])
    own = own[own["class"] == own["label"]].merge(scored.maps, on=MAP_KEYS)
    for line in own.groupby(["model", "method"]).head(8).itertuples():
        shape = (line.height, line.width)
        low = np.frombuffer(line.map, np.float16).reshape(shape).astype(np.float32)
        large = cv2.resize(low, (224, 224), interpolation=cv2.INTER_CUBIC)
        image = images.loc[(line.model, line.image_id)]
        size = (image["width"], image["height"])
        corners = np.reshape(image["boxes"], (-1, 4)) - [0, 0, 1, 1]  # inclusive
        truth = [wsolevaluation.resize_bbox(box, size, (224, 224)) for box in corners]
        expected = [
            wsolevaluation.box_hits(
                wsolevaluation.normalize_scoremap(large), truth, thresholds[::20], iou, every
            )
            for every in (False, True)
            for iou in ious
        ]
        [ours] = unpacked([curves.loc[(line.model, line.method, line.image_id), "hits"]], 1000)
        np.testing.assert_array_equal(ours[:, ::20], expected, err_msg=line.image_id)


def test_no_fixed_threshold_is_better_than_the_best_one(results, tmp_path):
    """One box a map at fixed thresholds, by the code of protocols of one threshold.

    Its GT-known, top-1 and top-5 accuracies are those of the sweep at the best threshold of each.
    """
    swept = rescore(results.folder, "wsol-2018-squash", out=tmp_path / "swept")
    best = swept.summary.set_index(["model", "method"])
    errors = {
        "max_box_acc": "gt_known_loc_error",
        "max_top1_loc": "top1_loc_error",
        "max_top5_loc": "top5_loc_error",
    }
    line = best.loc[("squeezenet1_1", "cam")]
    assert line["max_top1_loc_threshold"] != line["max_box_acc_threshold"]
    own = {float(line[f"{name}_threshold"]) for name in errors}
    for threshold in sorted({0.3, *own}):
        protocol = {"name": "wsol-2018-squash", "box": {"threshold": threshold}}
        fixed = rescore(results.folder, protocol, out=tmp_path / f"{threshold}").summary
        fixed = fixed.set_index(["model", "method"])
        for name, error in errors.items():
            assert (best[name] >= 1 - fixed[error] - 1e-12).all(), (name, threshold)
            if threshold == line[f"{name}_threshold"]:
                at_best = 1 - fixed.loc[("squeezenet1_1", "cam"), error]
                assert line[name] == pytest.approx(at_best, abs=1e-12)
        for k in (1, 5):
            assert (best[f"top{k}_cls_error"] == fixed[f"top{k}_cls_error"]).all()
