"""Boxes: conventions, areas, IoU, repairs, and where the input lies in its image."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from overlaps import pairwise_iou
from torchvision.transforms.v2 import functional as tv

from wsol_bench.geometry import (
    HALF_OPEN,
    INCLUSIVE,
    ONE_BASED_INCLUSIVE,
    box_area,
    box_intersection,
    box_iou,
    from_inclusive,
    image_pairs,
    place,
    repair,
    to_inclusive,
)


def boxes(*rows):
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def pixel_iou(first, second, size=40):
    """IoU by counting pixels: an oracle that knows no formula."""
    masks = []
    for x0, y0, x1, y1 in (first, second):
        mask = np.zeros((size, size), bool)
        mask[y0:y1, x0:x1] = True
        masks.append(mask)
    union = (masks[0] | masks[1]).sum()
    return (masks[0] & masks[1]).sum() / union if union else 0.0


@pytest.mark.parametrize(
    ("convention", "corners"),
    [
        (HALF_OPEN, [10, 20, 30, 40]),
        (INCLUSIVE, [10, 20, 29, 39]),
        (ONE_BASED_INCLUSIVE, [11, 21, 30, 40]),
    ],
)
def test_a_box_is_the_same_in_every_convention(convention, corners):
    assert convention.to_half_open(boxes(corners)).tolist() == [[10, 20, 30, 40]]
    assert convention.to_corners(boxes([10, 20, 30, 40])).tolist() == [corners]


class TestIou:
    def test_no_boxes_give_an_empty_matrix(self):
        assert pairwise_iou(boxes(), boxes([0, 0, 1, 1])).shape == (0, 1)
        assert pairwise_iou(boxes([0, 0, 1, 1]), boxes()).shape == (1, 0)

    @given(st.lists(st.tuples(*[st.integers(0, 39)] * 4), min_size=2, max_size=2))
    def test_it_equals_counting_pixels(self, corners):
        first, second = [
            (min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in corners
        ]
        measured = pairwise_iou(boxes(first), boxes(second))[0, 0]
        assert measured == pytest.approx(pixel_iou(first, second), abs=1e-12)

    def test_disjoint_touching_and_inverted_boxes_overlap_nothing(self):
        reference = boxes([10, 10, 20, 20])
        others = boxes([30, 30, 40, 40], [20, 10, 30, 20], [20, 20, 10, 10], [20, 10, 10, 20])
        assert pairwise_iou(reference, others).tolist() == [[0, 0, 0, 0]]

    def test_a_box_of_nan_overlaps_nothing(self):
        assert box_iou(np.full(4, np.nan), boxes([0, 0, 5, 5])[0]) == 0

    def test_an_iou_of_one_half_is_exact(self):
        assert pairwise_iou(boxes([0, 0, 10, 10]), boxes([0, 0, 10, 20]))[0, 0] == 0.5


class TestIntersection:
    def test_boxes_share_the_area_counted_by_hand(self):
        first, second = boxes([0, 0, 10, 4], [0, 0, 10, 4]), boxes([8, 1, 12, 9], [10, 0, 12, 4])
        assert box_area(first).tolist() == [40, 40]
        assert box_area(second).tolist() == [32, 8]
        assert box_intersection(first, second).tolist() == [6, 0]

    def test_inverted_boxes_and_boxes_of_nan_share_nothing(self):
        others = boxes([20, 20, 10, 10], [20, 10, 10, 20], [np.nan] * 4, [12, 12, 18, 18])
        assert box_intersection(boxes([10, 10, 20, 20]), others).tolist() == [0, 0, 0, 36]

    def test_a_single_box_has_an_area(self):
        assert box_area(boxes([1, 2, 3, 5])[0]) == 6


class TestImagePairs:
    def test_each_guess_meets_the_boxes_of_its_image(self):
        pairs = image_pairs(np.array([2, 0, 1, 2]), np.array([1, 0, 3]))
        assert pairs.guess.tolist() == [0, 0, 0, 1, 3, 3, 3]
        assert pairs.box.tolist() == [1, 2, 3, 0, 1, 2, 3]

    @pytest.mark.parametrize(("images", "boxes_per_image"), [([], [2]), ([], []), ([0, 0], [0])])
    def test_no_guess_or_no_box_makes_no_pair(self, images, boxes_per_image):
        pairs = image_pairs(np.array(images, np.int64), np.array(boxes_per_image, np.int64))
        assert pairs.guess.tolist() == pairs.box.tolist() == []


class TestRepair:
    """Boxes of images of 100 x 50 pixels (width x height)."""

    SIZE = (100.0, 50.0)

    def test_proper_boxes_are_left_alone(self):
        proper = boxes([0, 0, 100, 50], [5, 6, 7, 8])
        repaired = repair(proper, np.array([self.SIZE, self.SIZE]))
        assert np.array_equal(repaired.boxes, proper)
        assert repaired.kept.all()
        assert repaired.remarks == {}

    @pytest.mark.parametrize(
        ("inclusive", "expected", "remark"),
        [
            ([59, 10, 10, 20], [10, 10, 59, 20], "corners swapped"),
            ([-5, 10, 120, 20], [0, 10, 99, 20], "clipped"),
            ([200, 10, 300, 20], None, "dropped"),
            ([np.nan, 10, 300, 20], None, "dropped"),
            ([7, 7, 7, 7], [7, 7, 7, 7], None),  # one pixel is a box
        ],
    )
    def test_odd_boxes_are_mended_or_dropped(self, inclusive, expected, remark):
        repaired = repair(from_inclusive(boxes(inclusive)), np.array([self.SIZE]))
        kept = to_inclusive(repaired.boxes[repaired.kept])
        assert kept.tolist() == ([expected] if expected else [])
        assert [remark in text for text in repaired.remarks.values()] == ([True] if remark else [])

    @pytest.mark.parametrize(
        ("written", "expected", "remark"),
        [
            (
                [59, 10, 10, 20],
                [10, 10, 59, 20],
                "box (59, 10, 10, 20) has its minimum above",
            ),
            ([7, 7, 7, 9], None, "box (7, 7, 7, 9) has no pixel"),
            ([7, 7, 7.5, 9], [7, 7, 7.5, 9], None),
        ],
    )
    def test_odd_half_open_boxes_are_mended_or_dropped(self, written, expected, remark):
        repaired = repair(boxes(written), np.array([self.SIZE]), HALF_OPEN)
        assert repaired.boxes[repaired.kept].tolist() == ([expected] if expected else [])
        assert [remark in text for text in repaired.remarks.values()] == ([True] if remark else [])

    def test_each_box_is_cut_at_its_own_image(self):
        same = boxes([0, 0, 80, 80], [0, 0, 80, 80])
        repaired = repair(same, np.array([[100.0, 50.0], [50.0, 100.0]]))
        assert repaired.boxes.tolist() == [[0, 0, 80, 50], [0, 0, 50, 80]]
        assert list(repaired.remarks) == [0, 1]

    def test_an_unknown_size_clips_at_the_origin_only(self):
        repaired = repair(boxes([-5, 0, 1e6, 10]), np.array([[np.inf, np.inf]]))
        assert repaired.boxes.tolist() == [[0, 0, 1e6, 10]]


class TestPlacement:
    @pytest.mark.parametrize(
        "height,width", [(375, 500), (500, 333), (1, 1), (224, 224), (97, 1001)]
    )
    def test_squash_maps_the_whole_input_to_exactly_the_whole_image(self, height, width):
        placement = place(height, width, geometry="squash", size=224)
        whole = placement.to_original(boxes([0, 0, 224, 224]))
        assert whole.tolist() == [[0, 0, width, height]]

    def test_squash_scales_each_axis_by_its_own_factor(self):
        placement = place(100, 400, geometry="squash", size=200)
        assert placement.to_original(boxes([10, 20, 30, 40])).tolist() == [[20, 10, 60, 20]]

    def test_center_crop_cuts_the_middle_of_a_wide_image(self):
        # 300 x 600 is resized to 256 x 512; the window starts at (16, 144).
        placement = place(300, 600, geometry="center_crop", size=224, resize_to=256)
        assert placement.resized == (256, 512)
        assert placement.offset == (16, 144)
        [[x0, y0, x1, y1]] = placement.to_original(boxes([0, 0, 224, 224]))
        assert [x0, x1] == [144 * 600 / 512, 368 * 600 / 512]
        assert [y0, y1] == [16 * 300 / 256, 240 * 300 / 256]

    @pytest.mark.parametrize(
        "height,width", [(375, 500), (500, 375), (333, 500), (224, 224), (80, 81)]
    )
    @pytest.mark.parametrize("resize_to", [224, 256, 255])
    def test_center_crop_is_torchvision_resize_and_center_crop(self, height, width, resize_to):
        rows, columns = np.mgrid[0:height, 0:width]
        image = torch.tensor(np.stack([rows, columns]))
        resized = tv.resize(image, [resize_to], interpolation=tv.InterpolationMode.NEAREST)
        placement = place(height, width, geometry="center_crop", size=224, resize_to=resize_to)
        assert placement.resized == tuple(resized.shape[1:])
        top, left = placement.offset
        expected = tv.center_crop(resized, [224])
        assert torch.equal(resized[:, top : top + 224, left : left + 224], expected)

    def test_shorter_side_keeps_the_aspect_ratio(self):
        placement = place(300, 600, geometry="shorter_side", size=224)
        assert placement.input == placement.resized == (224, 448)
        assert placement.to_original(boxes([0, 0, 448, 224])).tolist() == [[0, 0, 600, 300]]
