"""Baselines that need no pixels: a center box, the whole image, chance."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
from annotations_only import IMAGES, without_model, write_annotations_only
from hits import unpacked

import wsol_bench
from wsol_bench.datasets.shapes.loader import shapes
from wsol_bench.errors import ConfigError
from wsol_bench.geometry import box_iou
from wsol_bench.methods.baselines.center_box import center_box
from wsol_bench.methods.baselines.random_map import random_map
from wsol_bench.runs.experiment_config import load_config
from wsol_bench.runs.methods import build_methods
from wsol_bench.runs.rescore import rescore

BOXES = ("x0", "y0", "x1", "y1")
SWEPT = ("choe-2020-v1", "choe-2020-v2")
ONE_BOX = ("gradcam-2017", "zhou-2016")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_annotations_only(tmp_path_factory.mktemp("baselines") / "root")


def sizes():
    """Width, height, width, height of each image."""
    return np.array([size[::-1] * 2 for size, _, _ in IMAGES])


def best_iou(boxes):
    """The best IoU of each image's box with its ground truth."""
    return [
        box_iou(box[None], np.array(truth, float)).max()
        for box, (_, _, truth) in zip(boxes, IMAGES, strict=True)
    ]


def hits_of(results):
    """Hits (image, IoU, threshold) of the largest contour; under v1 at IoU 0.5 alone."""
    return unpacked(results.folder.read("curves")["hits"].tolist(), 1000)


def boxes_beside(root, tmp_path, shares, protocol):
    """A run over the same boxes, read from a file."""
    lines = ["image_id,x0,y0,x1,y1"]
    for number, box in enumerate(sizes() * np.array(shares), 1):
        lines.append(f"ILSVRC2012_val_{number:08d}," + ",".join(map(repr, box.tolist())))
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    method = {"name": "boxes_from", "path": str(tmp_path / "boxes.csv")}
    return wsol_bench.run(without_model(root, method, protocol=protocol))


def build(**method):
    """The network-free methods of an experiment with this method alone."""
    content = {"name": "m", "dataset": "shapes", "methods": [method], "protocol": "gradcam-2017"}
    return build_methods(load_config(content))[1]


class TestCenterBox:
    @pytest.mark.parametrize("protocol", ONE_BOX)
    def test_the_box_covers_exactly_half_of_the_image_by_default(self, root, protocol):
        rows = wsol_bench.run(without_model(root, "center_box", protocol=protocol)).rows
        x0, y0, x1, y1 = (rows[name].to_numpy() for name in BOXES)
        width, height = sizes()[:, :2].T
        assert (x1 - x0) / width == pytest.approx(math.sqrt(0.5), abs=2e-12)  # not 158 / 224
        assert (y1 - y0) / height == pytest.approx(math.sqrt(0.5), abs=2e-12)
        assert (x1 - x0) * (y1 - y0) / (width * height) == pytest.approx(0.5, abs=2e-12)
        assert (x0 + x1) / 2 == pytest.approx(width / 2)
        assert (y0 + y1) / 2 == pytest.approx(height / 2)

    def test_the_whole_image_is_hit_by_the_default_in_every_size_of_image(self):
        """The IoU is 1/2; rounding would decide for a third of all sizes."""
        sides = np.arange(2, 1200, 7)
        width, height = (grid.ravel() for grid in np.meshgrid(sides, sides))
        dataset = shapes.load(split="val").take([0])
        images = dataset.images.loc[[0] * len(width)].assign(
            width=width, height=height, image_id=[f"{n}" for n in range(len(width))], n_boxes=0
        )
        empty = replace(dataset, images=images, boxes=dataset.boxes[:0], box_labels=np.array([]))
        boxes = np.array([box.box for [box] in center_box.opener(empty).boxes.values()])
        whole = np.stack([0 * width, 0 * width, width, height], axis=1).astype(float)
        iou = box_iou(boxes, whole)
        assert ((iou >= 0.5) & (iou < 0.5 + 1e-11)).all()

    @pytest.mark.parametrize(
        "input_section",
        [
            {"size": 7},
            {"size": 299},
            {"size": 224, "geometry": "center_crop", "resize_to": 256},
            {"size": 224, "geometry": "shorter_side"},
        ],
    )
    def test_the_box_does_not_depend_on_the_networks_input(self, root, input_section):
        protocol = {"name": "gradcam-2017", "input": input_section}
        method = {"name": "center_box", "side": 0.3}
        rows = wsol_bench.run(without_model(root, method, protocol=protocol)).rows
        assert np.allclose(rows[list(BOXES)], sizes() * [0.35, 0.35, 0.65, 0.65], rtol=0, atol=1e-9)
        assert rows["iou"].tolist() == pytest.approx(best_iou(rows[list(BOXES)].to_numpy()))

    @pytest.mark.parametrize("protocol", SWEPT)
    @pytest.mark.parametrize("side", [0.5, math.sqrt(0.5)])
    def test_the_box_of_a_sweep_is_the_same_at_every_threshold(
        self, root, tmp_path, protocol, side
    ):
        method = {"name": "center_box", "side": side}
        swept = wsol_bench.run(without_model(root, method, protocol=protocol))
        near, far = (1 - side) / 2, (1 + side) / 2
        boxes = boxes_beside(root, tmp_path, [near, near, far, far], protocol)
        hits = hits_of(swept)
        assert np.array_equal(hits, hits_of(boxes))
        assert 0 < hits.mean() < 1
        assert (hits.min(axis=-1) == hits.max(axis=-1)).all()

    def test_an_image_of_unknown_size_has_no_box(self):
        dataset = shapes.load(split="val").take([0, 1])
        images = dataset.images.assign(width=[8, 0], height=[6, 0])
        opened = center_box.opener(replace(dataset, images=images), side=0.5)
        first, second = opened.boxes.values()
        assert [box.box for box in first] == [(2, 1.5, 6, 4.5)]
        assert second == []

    @pytest.mark.parametrize("side", [0, 1, -0.5, "half"])
    def test_a_side_outside_of_0_to_1_is_an_error(self, side):
        with pytest.raises(ConfigError, match=r"methods\.center_box\.side: "):
            build(name="center_box", side=side)


class TestFullImage:
    @pytest.mark.parametrize("size", [224, 448, 299, 64])
    @pytest.mark.parametrize("protocol", ONE_BOX)
    def test_the_box_is_the_whole_image(self, root, protocol, size):
        protocol = {"name": protocol, "input": {"size": size}}
        rows = wsol_bench.run(without_model(root, "full_image", protocol=protocol)).rows
        assert np.array_equal(rows[list(BOXES)].to_numpy(), [[0, 0, *size[2:]] for size in sizes()])
        assert rows["status"].tolist() == ["box"] * len(IMAGES)
        assert rows["iou"].tolist() == pytest.approx(best_iou(rows[list(BOXES)].to_numpy()))
        assert rows["iou"].max() > 0.5

    @pytest.mark.parametrize("protocol", SWEPT)
    def test_the_box_of_a_sweep_is_the_same_at_every_threshold(self, root, tmp_path, protocol):
        swept = wsol_bench.run(without_model(root, "full_image", protocol=protocol))
        boxes = boxes_beside(root, tmp_path, [0, 0, 1, 1], protocol)
        assert np.array_equal(hits_of(swept), hits_of(boxes))
        assert 0 < hits_of(swept).mean() < 1

    def test_the_maximum_is_the_first_pixel(self, root):
        rows = wsol_bench.run(without_model(root, "full_image")).rows
        half = sizes()[:, :2] / 224 / 2
        assert np.allclose(rows[["peak_x", "peak_y"]].to_numpy(), half)

    def test_the_full_image_has_no_options(self):
        with pytest.raises(ConfigError, match="unknown option 'size'"):
            build(name="full_image", size=7)


class TestRandomMap:
    def test_the_map_depends_on_seed_and_image_alone(self):
        first, again = random_map.opener(None), random_map.opener(None, seed=0)
        assert np.array_equal(first.map_of("a"), again.map_of("a"))
        again.map_of("b")
        assert np.array_equal(first.map_of("a"), again.map_of("a"))
        other = random_map.opener(None, seed=1)
        maps = [first.map_of("a"), first.map_of("b"), other.map_of("a"), other.map_of("b")]
        assert len({map.tobytes() for map in maps}) == 4

    def test_the_map_is_drawn_from_the_digest(self):
        key = int.from_bytes(hashlib.sha256(b"3 val/x.JPEG").digest(), "big")
        expected = np.random.default_rng(key).standard_normal((5, 5), dtype=np.float32)
        map = random_map.opener(None, seed=3, size=5).map_of("val/x.JPEG")
        assert np.array_equal(map, expected)

    def test_the_values_are_standard_normal(self):
        maps = random_map.opener(None)
        values = np.array([maps.map_of(str(number)) for number in range(400)])
        assert values.shape == (400, 7, 7)
        assert values.dtype == np.float32
        assert abs(values.mean()) < 4 / np.sqrt(values.size)
        assert values.std() == pytest.approx(1, abs=0.02)
        assert abs(np.corrcoef(values[:, 0, 0], values[:, 0, 1])[0, 1]) < 0.2

    def test_a_run_in_parts_or_of_fewer_images_has_the_same_rows(self, root):
        whole = wsol_bench.run(without_model(root, "random_map", part_size=7)).rows
        parts = wsol_bench.run(without_model(root, "random_map", part_size=2, limit=5)).rows
        assert whole[whole["image_id"].isin(parts["image_id"])].equals(parts)
        assert len(parts) == 5
        assert len({tuple(box) for box in (whole[list(BOXES)] / sizes()).to_numpy()}) == len(IMAGES)

    def test_several_seeds_are_several_methods(self, root):
        method = {"name": "random_map", "seeds": 3}
        rows = wsol_bench.run(without_model(root, method)).rows
        assert sorted(set(rows["method"])) == [f"random_map+seed={seed}" for seed in range(3)]
        alone = wsol_bench.run(without_model(root, {"name": "random_map", "seed": 2})).rows
        seeded = rows[rows["method"] == "random_map+seed=2"].reset_index(drop=True)
        assert seeded[list(BOXES)].equals(alone[list(BOXES)])

    @pytest.mark.parametrize("protocol", SWEPT)
    def test_a_sweep_scores_the_random_map(self, root, protocol):
        results = wsol_bench.run(without_model(root, "random_map", protocol=protocol))
        assert set(results.rows["status"]) == {"swept"}
        assert 0 < results.summary["max_box_acc"].iloc[0] <= 1


@pytest.mark.parametrize("name", ["center_box", "full_image", "random_map"])
def test_stored_results_are_scored_again(root, tmp_path, name):
    stored = wsol_bench.run(without_model(root, name), out=tmp_path / "run")
    again = rescore(stored.folder, "zhou-2016")
    anew = wsol_bench.run(without_model(root, name, protocol="zhou-2016"))
    assert again.rows[list(BOXES)].equals(anew.rows[list(BOXES)])
    assert len(again.rows) == len(stored.rows)
