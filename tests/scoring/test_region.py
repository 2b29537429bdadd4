"""The region that a map is cut to, beside the box that the protocol's scoring takes of it."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from wsol_bench.boxes.contours import contour_sweep
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.geometry import Placement
from wsol_bench.protocols.load import load_protocol
from wsol_bench.scoring.batches import ImageBatch, RowBatch
from wsol_bench.scoring.kinds import scoring_of
from wsol_bench.scoring.region import region_of

SIZE = (64, 80)


def smooth_maps(n=40, seed=0):
    """Maps of a few cells, rough and smooth ones, some of them with negative values."""
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=rng.integers(2, 9, 2)) + rng.random() - 0.3).astype(np.float32)
        for _ in range(n)
    ]


def box_of(mask):
    """The half-open xyxy box of a mask."""
    (rows, columns), *_ = ndimage.find_objects(mask.astype(int))
    return [columns.start, rows.start, columns.stop, rows.stop]


def cut(map, protocol, threshold):
    return region_of(map, SIZE, protocol.map, protocol.box, threshold)


class TestOneBox:
    @pytest.mark.parametrize("name", ["gradcam-2017", "zhou-2016"])
    def test_the_component_has_the_box_that_is_scored(self, name):
        protocol = load_protocol(name)
        placement = Placement(SIZE, SIZE, (0, 0), SIZE)
        images = ImageBatch(("",), (ImageTruth("", np.zeros((0, 4))),), (placement,))
        row = RowBatch.of_labels(images)
        boxes = 0
        for map in smooth_maps():
            region = cut(map, protocol, protocol.box.threshold)
            scored = scoring_of(protocol, ()).score_maps(map[None], row).rows
            expected = [scored[name][0] for name in ("x0", "y0", "x1", "y1")]
            if region.box is None:
                assert np.isnan(expected).all()
                assert not region.component.any()
                continue
            boxes += 1
            assert region.box.tolist() == expected == box_of(region.component)
            assert (region.kept | ~region.component).all()
            labels, _ = ndimage.label(region.kept, np.ones((3, 3)))
            assert len(np.unique(labels[region.component])) == 1
            assert region.component.sum() == np.bincount(labels.ravel())[1:].max()
        assert boxes > 20

    def test_by_hand(self):
        """Four cells at their own size: two touch at a corner, and one of the two is the level."""
        protocol = load_protocol("zhou-2016", {"map": {"upsample": "nearest"}})
        map = np.array([[1, 0, 0, 0.3], [0, 0.5, 0, 0.3]], np.float32)
        region = region_of(map, (2, 4), protocol.map, protocol.box, 0.3)
        assert region.kept.astype(int).tolist() == [[1, 0, 0, 1], [0, 1, 0, 1]]
        assert region.component.astype(int).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
        assert region.box.tolist() == [0, 0, 2, 2]


class TestContours:
    @pytest.mark.parametrize("threshold", [0.1, 0.35, 0.6])
    def test_the_box_ends_one_pixel_behind_the_component(self, threshold):
        protocol = load_protocol("choe-2020-v1")
        for map in smooth_maps(seed=1):
            region = cut(map, protocol, threshold)
            expected = contour_sweep(region.values, np.array([threshold])).largest.boxes[0]
            assert region.box.tolist() == expected.tolist()
            x0, y0, x1, y1 = box_of(region.component)
            ended = [x0, y0, min(x1 + 1, SIZE[1]), min(y1 + 1, SIZE[0])]
            assert region.box.tolist() == ended


def test_values_are_those_of_another_interpolation():
    """Pillow's bilinear enlargement is that of torch without aligned corners, up to rounding."""
    protocol = load_protocol("gradcam-2017")
    for map in smooth_maps(8):
        positive = np.maximum(map, 0)
        expected = Image.fromarray(positive).resize(SIZE[::-1], Image.Resampling.BILINEAR)
        values = cut(map, protocol, 0.15).values
        np.testing.assert_allclose(values, np.maximum(expected, 0), atol=2e-5)
