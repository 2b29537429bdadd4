"""The best IoU of a sweep's boxes at every threshold, against brute force."""

import numpy as np
import pytest
from difficult_maps import GRID, SHAPES, fractions, maps
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from labeled_components import CUTS, components, cut, largest
from overlaps import pairwise_iou

from wsol_bench.boxes.threshold_sweep import sweep_best_iou

gt_boxes = arrays(
    np.float64, st.tuples(st.integers(0, 4), st.just(4)), elements=st.integers(0, 9).map(float)
)


@settings(max_examples=300)
@given(maps, fractions, gt_boxes, st.sampled_from(["largest", "all"]), st.sampled_from(CUTS))
def test_the_best_iou_is_that_of_brute_force(values, thresholds, truth, which, choices):
    assert_best_iou(values, thresholds, truth, which, choices)


@pytest.mark.parametrize("which", ["largest", "all"])
@pytest.mark.parametrize("name", SHAPES)
def test_the_best_iou_in_a_difficult_map_is_that_of_brute_force(name, which):
    height, width = SHAPES[name].shape
    random = np.random.default_rng(5)
    for choices in CUTS[::3]:
        corners = np.sort(random.uniform(-2, 2 + max(height, width), (5, 2, 2)), axis=1)
        assert_best_iou(SHAPES[name], GRID, corners.reshape(5, 4), which, choices)


def assert_best_iou(values, thresholds, truth, which, choices):
    expected = []
    for threshold in thresholds:
        mask = cut(values, threshold, of=choices["of"], comparison=choices["comparison"])
        regions = components(mask, choices["connectivity"])
        boxes = [region[2] for region in regions]
        if which == "largest" and regions:
            boxes = [largest(regions)]
        overlaps = pairwise_iou(np.array(boxes, float).reshape(-1, 4), truth)
        expected.append(overlaps.max(initial=0.0))
    curve = sweep_best_iou(values, np.array(thresholds), truth, components=which, **choices)
    assert curve.shape == (len(thresholds),)
    assert np.array_equal(curve, expected), (values, thresholds, truth, which, choices)


def test_the_best_of_all_components_by_hand():
    values = np.array([[4.0, 4.0, 0.0, 2.0, 0.0, 1.0]])
    truth = np.array([[3.0, 0.0, 4.0, 1.0], [0.0, 0.0, 4.0, 1.0]])
    thresholds = [1.0, 0.5, 0.0, 0.25]
    largest = sweep_best_iou(values, thresholds, truth)
    every = sweep_best_iou(values, thresholds, truth, components="all")
    # [0, 2) against [0, 4) is 2/4; [0, 6) against [0, 4) is 4/6; [3, 4) is a truth itself.
    assert largest.tolist() == [0.5, 0.5, 4 / 6, 0.5]
    assert every.tolist() == [0.5, 1.0, 4 / 6, 1.0]


def test_a_box_that_exists_between_thresholds_counts_at_none():
    # The truth is the box of 3 3 alone, which exists from above 2/3 down to above 1/3.
    values = np.array([[0.0, 3.0, 3.0, 1.0, 0.0]])
    truth = np.array([[1.0, 0.0, 3.0, 1.0]])
    curve = sweep_best_iou(values, [1.0, 0.5, 0.34, 1 / 3, 0.0], truth, components="all")
    assert curve.tolist() == [1.0, 1.0, 1.0, 2 / 3, 2 / 5]


def test_without_a_component_or_a_truth_the_iou_is_zero():
    truth = np.array([[0.0, 0.0, 3.0, 3.0]])
    for which in ("largest", "all"):
        for values in (np.zeros((3, 3)), np.full((3, 3), np.nan)):
            assert sweep_best_iou(values, [0.0, 0.5], truth, components=which).tolist() == [0, 0]
        none = np.zeros((0, 4))
        curve = sweep_best_iou(np.ones((3, 3)), [0.0, 0.5], none, components=which)
        assert curve.tolist() == [0, 0]
        # On both sides of a box, above and below it, and a box of no size.
        apart = np.array([[-3.0, 0, 0, 3], [3, 0, 6, 3], [0, 3, 3, 9], [0, -1, 3, 0], [1, 1, 1, 1]])
        assert sweep_best_iou(np.ones((3, 3)), [0.5], apart, components=which).tolist() == [0]


def test_integer_ground_truth_is_ground_truth():
    curve = sweep_best_iou(np.ones((3, 3)), [0.5], np.array([[0, 0, 3, 1]]))
    assert curve.tolist() == [1 / 3]


def test_no_thresholds_are_no_ious():
    assert sweep_best_iou(np.ones((3, 3)), np.array([]), np.ones((0, 4))).shape == (0,)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 3), ()])
def test_what_is_not_one_map_is_refused_with_its_shape(shape):
    message = rf"shape \(h, w\), found shape \({', '.join(map(str, shape))}"
    with pytest.raises(ValueError, match=message):
        sweep_best_iou(np.zeros(shape), [0.5], np.zeros((1, 4)))


@pytest.mark.parametrize(
    "thresholds",
    [[0.5, float("nan")], np.zeros((2, 2)), np.array(0.5)],
    ids=["nan", "matrix", "number"],
)
def test_what_is_not_a_list_of_thresholds_is_refused(thresholds):
    with pytest.raises(ValueError, match=r"expected a list of thresholds in \[0, 1\], found"):
        sweep_best_iou(np.ones((3, 3)), thresholds, np.zeros((1, 4)))
