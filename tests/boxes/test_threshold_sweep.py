"""The box at every threshold of a sweep, against labels of every single cut and by hand."""

import numpy as np
import pytest
from difficult_maps import GRID, SHAPES, fractions, maps
from hypothesis import example, given, settings
from hypothesis import strategies as st
from labeled_components import CUT_NAMES, CUTS, NONE, assert_as_labeled, components
from scipy.ndimage import gaussian_filter
from skimage.measure import label, regionprops

from wsol_bench.boxes import largest_component_box
from wsol_bench.boxes.threshold_sweep import threshold_sweep


@pytest.mark.parametrize("name", SHAPES)
def test_a_difficult_map_is_labeled_as_by_scikit_image_at_every_threshold(name):
    for choices in CUTS:
        assert_as_labeled(SHAPES[name], GRID, choices)


@settings(max_examples=600)
@given(maps, fractions, st.sampled_from(CUTS))
def test_any_map_is_labeled_as_by_scikit_image_at_every_threshold(values, thresholds, choices):
    assert_as_labeled(values, thresholds, choices)


@pytest.mark.slow
def test_five_thousand_random_maps_are_labeled_as_by_scikit_image():
    random = np.random.default_rng(0)
    for index in range(5000):
        height, width = random.integers(1, 15, 2)
        # Of two values up to all different.
        n_values = random.integers(2, 3 + height * width)
        values = random.integers(0, n_values, (height, width)) - random.integers(0, n_values)
        values = values.astype(random.choice([np.float16, np.float32, np.float64, np.int32]))
        thresholds = random.choice([random.random(6), np.arange(6) / max(5, n_values)])
        assert_as_labeled(values, thresholds, CUTS[index % len(CUTS)])


def test_values_at_a_level_and_beside_it_are_told_apart():
    # Maps of nothing but the levels themselves and the numbers next to them.
    random = np.random.default_rng(1)
    for index in range(800):
        choices = CUTS[index % len(CUTS)]
        thresholds = np.append(random.random(4), [0.0, 1.0])
        high = random.choice([1.0, 0.7, 3.0, 1e-310, 1e300, random.random()])
        low = random.choice([0.0, -1.0, 0.1, -0.3]) * high
        levels = (
            thresholds * high if choices["of"] == "maximum" else low + thresholds * (high - low)
        )
        pool = np.concatenate(
            [levels, np.nextafter(levels, np.inf), np.nextafter(levels, -np.inf), [low]]
        )
        values = random.choice(pool[(low <= pool) & (pool <= high)], (6, 6))
        values.flat[random.choice(36, 2, replace=False)] = low, high
        assert_as_labeled(values, thresholds, choices)
        if 1e-30 < high < 1e30:
            assert_as_labeled(values.astype(np.float32), thresholds, choices)


@pytest.mark.parametrize("choices", CUTS, ids=CUT_NAMES)
def test_a_thousand_thresholds_are_labeled_as_by_scikit_image(choices):
    random = np.random.default_rng(2)
    values = gaussian_filter(random.standard_normal((44, 37)), 2.0).astype(np.float32)
    thresholds = random.permutation(np.arange(0, 1, 0.001))
    assert_as_labeled(values, thresholds, choices)


def test_the_oracle_finds_the_regions_of_regionprops():
    # The oracle finds boxes and sizes without regionprops, which takes a hundred times as long.
    mask = np.random.default_rng(3).random((20, 20)) < 0.4
    for connectivity, hops in ((4, 1), (8, 2)):
        regions = regionprops(label(mask, connectivity=hops))
        labeled = components(mask, connectivity)
        assert len(labeled) == len(regions) > 10
        for (size, first, box), region in zip(labeled, regions, strict=True):
            y0, x0, y1, x1 = region.bbox
            assert (size, box) == (region.area, (x0, y0, x1, y1))
            assert divmod(first, 20) == tuple(region.coords[0])


@settings(max_examples=150)
@given(maps, fractions, st.sampled_from(CUTS))
@example(np.full((3, 3), np.nan), [0.0, 0.5], CUTS[0])
@example(np.array([[1.0, np.inf]]), [0.0, 0.5], CUTS[2])
@example(np.empty((0, 7)), [0.0, 0.5], CUTS[0])
@example(np.full((3, 4), 0.3, np.float32), [0.0, 0.15, 1.0], CUTS[0])
@example(np.full((3, 4), 0.3, np.float32), [0.0, 0.15, 1.0], CUTS[2])
@example(-np.ones((3, 4), np.int64), [0.0, 0.15, 1.0], CUTS[0])
def test_each_box_is_that_of_its_threshold_alone(values, thresholds, choices):
    singles = [largest_component_box(values, threshold=level, **choices) for level in thresholds]
    expected = [NONE if box is None else box.tolist() for box in singles]
    boxes = threshold_sweep(values, np.array(thresholds), **choices)
    assert np.array_equal(boxes, np.array(expected, float).reshape(-1, 4), equal_nan=True)


# Hand-solved.


def test_a_map_of_one_row_by_hand():
    #            0    1    2    3    4    5    6
    values = [[0.0, 4.0, 1.0, 2.0, 2.0, 0.0, 3.0]]
    boxes = threshold_sweep(np.array(values), [1.0, 0.75, 0.5, 0.25, 0.0, 0.26])
    assert boxes.tolist() == [
        [1, 0, 2, 1],  # 4
        [1, 0, 2, 1],  # 4 | 3, and the first of equals
        [3, 0, 5, 1],  # 4 | 2 2 | 3
        [1, 0, 5, 1],  # 4 1 2 2 | 3
        [0, 0, 7, 1],
        [3, 0, 5, 1],
    ]
    above = threshold_sweep(np.array(values), [1.0, 0.75, 0.0], comparison="above")
    assert np.isnan(above[0]).all()
    assert above[1:].tolist() == [[1, 0, 2, 1], [1, 0, 5, 1]]


def test_boxes_come_in_the_order_of_the_thresholds():
    values = np.random.default_rng(4).random((12, 12))
    thresholds = np.array([0.9, 0.1, 0.5, 0.1, 0.9, 0.3])
    ordered = threshold_sweep(values, np.sort(thresholds))
    boxes = threshold_sweep(values, thresholds)
    assert boxes[[1, 3, 5, 2, 0, 4]].tolist() == ordered.tolist()
    assert boxes[0].tolist() != boxes[1].tolist()


@pytest.mark.parametrize(
    ("lines", "box"),
    [
        # Two of two pixels: the upper one, though it lies further right.
        ((".....2", ".....2", "22...."), [5, 0, 6, 2]),
        # In one row: the left one.
        (("22.22",), [0, 0, 2, 1]),
        # First in raster order is the first pixel, not the leftmost column or the lowest row.
        (("...2", "2..2", "2..."), [3, 0, 4, 2]),
        # The later one was there at a higher threshold, and grown to equal size at this one.
        (("22..", "....", "..33"), [0, 0, 2, 1]),
        (("33..", "....", "..22"), [0, 0, 2, 1]),
        # By the last pixel to come the right one starts earlier in raster order.
        (("....2", "33..3"), [4, 0, 5, 2]),
    ],
)
def test_the_first_in_raster_order_of_several_largest_components_counts(lines, box):
    values = np.array([[float("0" if c == "." else c) for c in line] for line in lines])
    level = 2 / values.max()
    assert threshold_sweep(values, [level]).tolist() == [box]
    # With all thresholds around it the answer at this one is the same.
    assert threshold_sweep(values, [1.0, level, 0.9, 0.01])[1].tolist() == box


def test_the_earlier_of_two_components_wins_once_it_is_as_large():
    values = np.array([[3.0, 2.0, 0.0, 3.0, 3.0]])
    assert threshold_sweep(values, [1.0, 0.5]).tolist() == [[3, 0, 5, 1], [0, 0, 2, 1]]


def test_diagonal_neighbors_connect_with_8_and_not_with_4():
    values = np.array([[3.0, 0, 0], [0, 2.0, 0], [0, 0, 1.0]])
    thresholds = [1 / 3, 2 / 3, 1.0]
    eight = threshold_sweep(values, thresholds, connectivity=8)
    assert eight.tolist() == [[0, 0, 3, 3], [0, 0, 2, 2], [0, 0, 1, 1]]
    four = threshold_sweep(values, thresholds, connectivity=4)
    assert four.tolist() == [[0, 0, 1, 1]] * 3


def test_no_thresholds_are_no_boxes():
    assert threshold_sweep(np.ones((3, 3)), np.array([])).shape == (0, 4)


@pytest.mark.parametrize("shape", [(40_000, 1), (1, 70_000)])
def test_a_side_may_be_longer_than_16_bits(shape):
    values = np.zeros(shape)
    values.flat[35_000:39_000] = 1
    values.flat[3:9] = 0.5
    for box, expected in zip(
        threshold_sweep(values, [0.0, 0.4, 1.0]), [(0, values.size), *[(35_000, 39_000)] * 2],
        strict=True,
    ):  # fmt: skip
        assert (max(box[:2]), max(box[2:])) == expected
        assert min(box[2:]) == 1


@pytest.mark.parametrize("shape", [(3,), (2, 3, 3), ()])
def test_what_is_not_one_map_is_refused_with_its_shape(shape):
    message = rf"shape \(h, w\), found shape \({', '.join(map(str, shape))}"
    with pytest.raises(ValueError, match=message):
        threshold_sweep(np.zeros(shape), [0.5])


@pytest.mark.parametrize(
    "thresholds",
    [[0.5, float("nan")], np.zeros((2, 2)), np.array(0.5)],
    ids=["nan", "matrix", "number"],
)
def test_what_is_not_a_list_of_thresholds_is_refused(thresholds):
    with pytest.raises(ValueError, match=r"expected a list of thresholds in \[0, 1\], found"):
        threshold_sweep(np.ones((3, 3)), thresholds)
