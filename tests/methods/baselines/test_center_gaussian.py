"""The center baseline against its formula, its authors' code, and their published number."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from annotations_only import IMAGES, without_model, write_annotations_only
from hits import unpacked
from timeless import timeless
from wsolevaluation import calculate_iou, compute_bboxes_from_scoremaps, resize_bbox

import wsol_bench
from wsol_bench.errors import ConfigError
from wsol_bench.methods.baselines.center_gaussian import center_gaussian

THRESHOLDS = np.arange(0, 1, 0.001)
LEAST = (0.3, 0.5, 0.7)


def bell(size=224):
    return center_gaussian.opener(None, size=size).map_of("whatever")


def hits_of(results):
    """Hits (image, curve, threshold): the largest contour at each IoU, then all contours."""
    return unpacked(results.folder.read("curves")["hits"].tolist(), len(THRESHOLDS))


class TestMap:
    def test_a_map_of_three_pixels_equals_the_one_made_by_hand(self):
        edge, corner = np.exp(-0.5), np.exp(-1.0)
        rest = (edge - corner) / (1 - corner)
        expected = [[0, rest, 0], [rest, 1, rest], [0, rest, 0]]
        assert np.allclose(bell(3), expected, rtol=0, atol=1e-7)

    def test_the_map_follows_the_papers_formula(self):
        x, y = np.meshgrid(np.linspace(-1, 1, 224), np.linspace(-1, 1, 224))
        formula = np.exp(-(x * x + y * y) / 2)
        formula = (formula - formula.min()) / (formula.max() - formula.min())
        assert bell().shape == (224, 224)
        assert np.abs(bell() - formula).max() < 1e-7
        assert (bell().min(), bell().max()) == (0, 1)

    @pytest.mark.parametrize("size", [1, 0, -3])
    def test_a_map_has_at_least_two_pixels_a_side(self, tmp_path, size):
        method = {"name": "center_gaussian", "size": size}
        root = write_annotations_only(tmp_path / "root")
        with pytest.raises(ConfigError, match=r"methods.center_gaussian.size: expected at least 2"):
            wsol_bench.run(without_model(root, method))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_annotations_only(tmp_path_factory.mktemp("center") / "root")


@pytest.fixture(scope="module")
def results(root):
    return wsol_bench.run(without_model(root, "center_gaussian", protocol="choe-2020-v2"))


def hits_of_wsolevaluation():
    """The same hits by its authors' steps, one threshold at a time."""
    contours = [compute_bboxes_from_scoremaps(bell(), THRESHOLDS, every) for every in (False, True)]
    hits = np.zeros((len(IMAGES), 2 * len(LEAST), len(THRESHOLDS)), bool)
    for index, ((height, width), _, boxes) in enumerate(IMAGES):
        truth = [
            resize_bbox((x0, y0, x1 - 1, y1 - 1), (width, height), (224, 224))
            for x0, y0, x1, y1 in boxes
        ]
        for kind, at_thresholds in enumerate(contours):
            for t, contour_boxes in enumerate(at_thresholds):
                best = max(
                    calculate_iou(box, true_box) for box in contour_boxes for true_box in truth
                )
                for position, least in enumerate(LEAST):
                    hits[index, len(LEAST) * kind + position, t] = best >= least
    return hits


class TestMaxBoxAcc:
    def test_hits_equal_those_of_wsolevaluation(self, results):
        expected = hits_of_wsolevaluation()
        assert np.array_equal(hits_of(results), expected)
        assert 0 < expected.mean() < 1
        # MaxBoxAcc is of the largest contour, MaxBoxAccV2 of all of them.
        best = expected.mean(axis=0).max(axis=1)
        [line] = results.summary.to_dict(orient="records")
        assert line["max_box_acc"] == pytest.approx(best[1], abs=1e-12)
        assert line["max_box_acc_v2"] == pytest.approx(best[3:].mean(), abs=1e-12)
        assert (line["n_scored"], line["n_skipped"], line["status"]) == (7, 0, "ok")

    def test_v1_is_the_same_curve_of_the_largest_contour(self, root, results):
        v1 = wsol_bench.run(without_model(root, "center_gaussian", protocol="choe-2020-v1"))
        hits = unpacked(v1.folder.read("curves")["hits"].tolist(), len(THRESHOLDS))
        assert np.array_equal(hits[:, 0], hits_of(results)[:, 1])
        assert v1.summary["max_box_acc"].equals(results.summary["max_box_acc"])

    def test_a_row_has_no_box_under_a_sweep(self, results):
        rows = results.rows
        assert set(rows["status"]) == {"swept"}
        assert set(rows["rank"]) == {0}
        assert "iou" not in rows
        assert rows[["x0", "score"]].isna().all(axis=None)
        assert set(rows["layer"]) == {""}
        assert set(rows["model"]) == {"-"}


def test_the_box_at_one_threshold_is_the_middle_of_every_image(root):
    """15% of the maximum: a disk around the middle, 0.15 > 0 at all but the corners."""
    rows = wsol_bench.run(without_model(root, "center_gaussian")).rows
    sizes = np.array([size[::-1] * 2 for size, _, _ in IMAGES])
    shares = rows[["x0", "y0", "x1", "y1"]].to_numpy() / sizes
    assert np.allclose(shares, shares[0])
    assert np.allclose(shares[0][:2], 1 - shares[0][2:])
    high = np.argwhere(bell() >= np.float32(0.15))
    assert np.allclose(shares[0] * 224, [*high.min(axis=0)[::-1], *high.max(axis=0)[::-1] + 1])


def test_the_same_map_from_files_has_the_same_hits(root, results, tmp_path):
    for name in results.images["image_id"]:
        np.save(tmp_path / f"{name}.npy", bell())
    method = {"name": "maps_from", "path": str(tmp_path), "label": "center_gaussian"}
    from_files = wsol_bench.run(without_model(root, method, protocol="choe-2020-v2"))
    pd.testing.assert_frame_equal(from_files.rows, results.rows)
    pd.testing.assert_frame_equal(from_files.folder.read("curves"), results.folder.read("curves"))
    pd.testing.assert_frame_equal(timeless(from_files.summary), timeless(results.summary))


@pytest.fixture(scope="module")
def baseline(data_dir):
    """Runs the committed experiment, with changes to its configuration."""
    experiment = Path(__file__).parents[3] / "experiments/center_baseline.yaml"
    return lambda *overrides: wsol_bench.run(wsol_bench.load_config(experiment, overrides))


@pytest.mark.slow
def test_the_accuracy_on_ilsvrc_val_is_the_published_one(baseline):
    [line] = baseline().summary.to_dict(orient="records")
    assert line["n_scored"] == 50_000
    assert line["max_box_acc"] == pytest.approx(0.54062, abs=2e-5)
    assert line["max_box_acc_v2"] == pytest.approx(0.53385, abs=2e-5)
    for name, published in (("iou30", 0.76814), ("iou70", 0.29280)):
        assert line[f"max_box_acc_{name}"] == pytest.approx(published, abs=2e-5)


@pytest.mark.slow
def test_the_same_map_from_files_has_the_same_hits_on_real_images(baseline, tmp_path):
    n = 2000
    computed = baseline(f"limit={n}")
    np.save(tmp_path / "bell.npy", bell())
    (tmp_path / "maps").mkdir()
    for name in computed.images["image_id"]:
        os.link(tmp_path / "bell.npy", tmp_path / f"maps/{name}.npy")
    method = f"methods=[{{name: maps_from, path: {tmp_path / 'maps'}}}]"
    from_files = baseline(f"limit={n}", method)
    curves = [
        results.folder.read("curves").drop(columns="method") for results in (from_files, computed)
    ]
    assert len(curves[0]) == n
    pd.testing.assert_frame_equal(*curves)
    columns = [name for name in from_files.summary if name.startswith("max_box_acc")]
    assert "max_box_acc_v2" in columns
    assert from_files.summary[columns].equals(computed.summary[columns])
