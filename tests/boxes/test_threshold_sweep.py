"""The sweep over thresholds against scikit-image's labels of every single cut."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import find_objects, gaussian_filter
from skimage.measure import label, regionprops

from wsol_bench.boxes import largest_component_box
from wsol_bench.boxes.threshold_sweep import (
    GAIN_POLYGON,
    ranks_of,
    sweep,
    sweep_best_iou,
    threshold_sweep,
)
from wsol_bench.geometry import pairwise_iou

NONE = [None] * 4
RULES = [
    {"connectivity": connectivity, "of": of, "comparison": comparison}
    for connectivity, of, comparison in product((1, 2), ("maximum", "range"), ("at_least", "above"))
]
RULE_NAMES = ["-".join(map(str, rule.values())) for rule in RULES]


# The oracle: each threshold by itself, cut in float64, labeled by scikit-image.


def cut(values, threshold, *, of, comparison):
    """The pixels that reach a threshold."""
    if not values.size or not np.isfinite(values).all():
        return np.zeros(values.shape, bool)
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if of == "maximum" and high <= 0:
        return np.zeros(values.shape, bool)
    level = threshold * high if of == "maximum" else low + threshold * (high - low)
    return values >= level if comparison == "at_least" else values > level


def components(mask, connectivity):
    """(pixels, first pixel in raster order, half-open box) of each component."""
    if not mask.any():
        return []
    labels = label(mask, connectivity=connectivity)
    numbers, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    there = numbers > 0
    boxes = [
        (x.start, y.start, x.stop, y.stop) for y, x in find_objects(labels)
    ]  # as regionprops finds them
    return list(zip(sizes[there].tolist(), first[there].tolist(), boxes, strict=True))


def largest(found):
    """Its box: most pixels, of several the one whose first pixel comes first."""
    return min(found, key=lambda one: (-one[0], one[1]))[2] if found else None


def expected_boxes(values, thresholds, *, connectivity, of, comparison):
    @cache
    def box_of(cut_pixels):
        mask = np.frombuffer(cut_pixels, bool).reshape(values.shape)
        return largest(components(mask, connectivity))

    boxes = [
        box_of(cut(values, threshold, of=of, comparison=comparison).tobytes())
        for threshold in thresholds
    ]
    return np.array([NONE if box is None else box for box in boxes], float).reshape(-1, 4)


def assert_as_labeled(values, thresholds, rule):
    ours = threshold_sweep(values, np.asarray(thresholds, np.float64), **rule)
    theirs = expected_boxes(values, thresholds, **rule)
    assert np.array_equal(ours, theirs, equal_nan=True), (values, thresholds, rule, ours, theirs)


# Maps.


def drawn(*lines):
    return np.array([[character == "#" for character in line] for line in lines])


def spiral(size):
    """A way of one pixel's width from the corner to the center, as the number of each step."""
    steps = np.zeros((size, size))
    y, x, turn, step = 0, 0, 0, 1
    moves = [(0, 1), (1, 0), (0, -1), (-1, 0)]

    def is_free(y, x):
        return 0 <= y < size and 0 <= x < size and steps[y, x] == 0

    while True:
        steps[y, x] = step
        step += 1
        for _ in range(2):
            dy, dx = moves[turn % 4]
            # Stop short of the way's own wall.
            if is_free(y + dy, x + dx) and (
                not (0 <= y + 2 * dy < size and 0 <= x + 2 * dx < size)
                or is_free(y + 2 * dy, x + 2 * dx)
            ):
                break
            turn += 1
        else:
            return steps
        y, x = y + dy, x + dx


def rings(size):
    """Square rings around the center, every other one present, as their distance to the edge."""
    y, x = np.indices((size, size))
    depth = np.minimum.reduce([y, x, size - 1 - y, size - 1 - x]) + 1.0
    return np.where(depth % 2 == 1, depth, 0)


def comb(height, width, *, spine=0.1):
    """Teeth of different heights that only the spine connects, last."""
    values = np.zeros((height, width))
    values[:-1, ::2] = 0.3 + 0.7 * np.linspace(1, 0, (width + 1) // 2)
    values[-1] = spine
    return values


def shapes():
    random = np.random.default_rng(7)
    y, x = np.indices((13, 17))
    checkers = (y + x) % 2
    yield "checkerboard", checkers.astype(np.float32)
    yield "checkerboard of all values", checkers * random.permutation(221).reshape(13, 17)
    yield "checkerboard, then its other color", checkers + 0.5 * random.random((13, 17))
    yield "lattice of points", ((y % 2 == 0) & (x % 2 == 0)) * 1.0
    yield "lattice of lines", np.maximum(y % 2 == 0, x % 2 == 0) * (1.0 + y * x)
    yield "diagonals", ((y + x) % 4 == 0) * (1.0 + x)
    yield "spiral inward", spiral(15)
    yield "spiral outward", np.where(spiral(15) > 0, 200 - spiral(15), 0)
    yield "spiral of random values", (spiral(15) > 0) * random.random((15, 15))
    yield "rings in rings, outermost first", rings(17).max() + 1 - rings(17)
    yield "rings in rings, innermost first", rings(17)
    yield "rings in rings of random values", (rings(17) > 0) * random.random((17, 17))
    yield "comb", comb(9, 21)
    yield "comb upside down", comb(9, 21)[::-1].copy()
    yield "two combs, tooth in gap", np.maximum(comb(9, 21), 0.9 * np.roll(comb(9, 21)[::-1], 1, 1))
    yield "ramp", x.astype(np.float16)
    yield "ramp downward", -1.0 * x
    yield "bowl", np.hypot(y - 6, x - 8)
    yield "hill", -np.hypot(y - 6, x - 8) + 3
    yield "constant", np.full((4, 6), 0.3)
    yield "constant and negative", np.full((4, 6), -0.3)
    yield "zeros", np.zeros((4, 6))
    yield "negative zeros", np.copysign(np.zeros((4, 6)), -1)
    yield "negative", -1 - random.random((5, 5))
    yield "one pixel", np.array([[2.0]])
    yield "one negative pixel", np.array([[-2.0]])
    yield "one row", random.integers(0, 5, (1, 40)).astype(np.int16)
    yield "one column", random.integers(0, 5, (40, 1)).astype(np.uint8)
    yield "denormal", np.array([[5e-324, 1e-323, 0.0], [1.5e-323, 0.0, 5e-324]])
    yield "denormal beside one", np.array([[5e-324, 1.0, -5e-324], [0.0, 0.0, 1e-310]])
    yield "denormal float32", np.array([[1e-45, 3e-45, 0.0, 1e-38]], np.float32)
    yield "huge", random.normal(size=(6, 7)) * 1e300
    yield "huge and tiny", np.array([[1e300, 1e-300, -1e300, 0.0, 1e299]])
    yield "large float16", np.array([[65504, 60000, -65504, 6e-8]], np.float16)
    yield "bool", drawn("#.#", ".#.", "..#")
    yield "int64", random.integers(-(2**53), 2**53, (7, 7))
    yield "uint8", random.integers(0, 256, (9, 9)).astype(np.uint8)
    yield "int8", random.integers(-128, 128, (9, 9)).astype(np.int8)
    yield "in columns", np.asfortranarray(random.random((9, 5)))
    yield "every other pixel of a larger one", random.random((18, 10))[::2, ::2]
    yield "a value that is not a number", np.array([[1.0, np.nan], [0.5, 0.2]])
    yield "all not a number", np.full((3, 3), np.nan)
    yield "infinite", np.array([[1.0, np.inf], [0.5, 0.2]])
    yield "infinite downward", np.array([[1.0, -np.inf], [0.5, 0.2]], np.float32)
    yield "empty", np.empty((0, 0))
    yield "no rows", np.empty((0, 7))
    yield "no columns", np.empty((7, 0), np.float32)


SHAPES = dict(shapes())
GRID = [0.0, 1.0, 0.5, 0.15, 0.15, 0.999, 0.05, *np.linspace(0, 1, 23).tolist(), 0.2, 1.0, 0.0]


@pytest.mark.parametrize("name", SHAPES)
def test_a_difficult_map_is_labeled_as_by_scikit_image_at_every_threshold(name):
    for rule in RULES:
        assert_as_labeled(SHAPES[name], GRID, rule)


elements = st.one_of(
    st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.75, 1.0]),
    st.floats(-2, 2, width=16),
)
anything = st.one_of(
    elements,
    st.floats(-1e300, 1e300),
    st.sampled_from([5e-324, -5e-324, 1e300, 0.15, np.nextafter(0.15, 1), np.nextafter(0.15, 0)]),
)
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
maps = st.one_of(
    arrays(np.float16, sizes, elements=elements),
    arrays(np.float32, sizes, elements=elements, fill=st.nothing()),
    arrays(np.float64, sizes, elements=anything),
    arrays(st.sampled_from([np.int8, np.uint8, np.int32]), sizes, elements=st.integers(0, 6)),
    arrays(np.int64, sizes, elements=st.integers(-(2**53), 2**53)),
)
fractions = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, 0.15, 0.25, 0.5, 0.75]), st.floats(0, 1)), max_size=9
)


@settings(max_examples=600)
@given(maps, fractions, st.sampled_from(RULES))
def test_any_map_is_labeled_as_by_scikit_image_at_every_threshold(values, thresholds, rule):
    assert_as_labeled(values, thresholds, rule)


def test_five_thousand_random_maps_are_labeled_as_by_scikit_image():
    random = np.random.default_rng(0)
    for index in range(5000):
        height, width = random.integers(1, 15, 2)
        # Of two values up to all different.
        n_values = random.integers(2, 3 + height * width)
        values = random.integers(0, n_values, (height, width)) - random.integers(0, n_values)
        values = values.astype(random.choice([np.float16, np.float32, np.float64, np.int32]))
        thresholds = random.choice([random.random(6), np.arange(6) / n_values])
        assert_as_labeled(values, thresholds, RULES[index % len(RULES)])


def test_values_at_a_level_and_beside_it_are_told_apart():
    # Maps of nothing but the levels themselves and the numbers next to them.
    random = np.random.default_rng(1)
    for index in range(800):
        rule = RULES[index % len(RULES)]
        thresholds = np.append(random.random(4), [0.0, 1.0])
        high = random.choice([1.0, 0.7, 3.0, 1e-310, 1e300, random.random()])
        low = random.choice([0.0, -1.0, 0.1, -0.3]) * high
        levels = thresholds * high if rule["of"] == "maximum" else low + thresholds * (high - low)
        pool = np.concatenate(
            [levels, np.nextafter(levels, np.inf), np.nextafter(levels, -np.inf), [low]]
        )
        values = random.choice(pool[(low <= pool) & (pool <= high)], (6, 6))
        values.flat[random.choice(36, 2, replace=False)] = low, high
        assert_as_labeled(values, thresholds, rule)
        if 1e-30 < high < 1e30:
            assert_as_labeled(values.astype(np.float32), thresholds, rule)


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_a_thousand_thresholds(rule):
    random = np.random.default_rng(2)
    values = gaussian_filter(random.standard_normal((44, 37)), 2.0).astype(np.float32)
    thresholds = random.permutation(np.arange(0, 1, 0.001))
    assert_as_labeled(values, thresholds, rule)


def test_the_same_regions_as_regionprops():
    # The oracle finds boxes and sizes without regionprops, which takes a hundred times as long.
    mask = np.random.default_rng(3).random((20, 20)) < 0.4
    for connectivity in (1, 2):
        regions = regionprops(label(mask, connectivity=connectivity))
        found = components(mask, connectivity)
        assert len(found) == len(regions) > 10
        for (size, first, box), region in zip(found, regions, strict=True):
            y0, x0, y1, x1 = region.bbox
            assert (size, box) == (region.area, (x0, y0, x1, y1))
            assert divmod(first, 20) == tuple(region.coords[0])


@settings(max_examples=150)
@given(maps, fractions, st.sampled_from(RULES))
@example(np.full((3, 3), np.nan), [0.0, 0.5], RULES[0])
@example(np.array([[1.0, np.inf]]), [0.0, 0.5], RULES[2])
@example(np.empty((0, 7)), [0.0, 0.5], RULES[0])
@example(np.full((3, 4), 0.3, np.float32), [0.0, 0.15, 1.0], RULES[0])
@example(np.full((3, 4), 0.3, np.float32), [0.0, 0.15, 1.0], RULES[2])
@example(-np.ones((3, 4), np.int64), [0.0, 0.15, 1.0], RULES[0])
def test_equal_to_the_box_of_one_threshold_at_each(values, thresholds, rule):
    singles = [largest_component_box(values, threshold=one, **rule) for one in thresholds]
    expected = [NONE if box is None else box.tolist() for box in singles]
    ours = threshold_sweep(values, np.array(thresholds), **rule)
    assert np.array_equal(ours, np.array(expected, float).reshape(-1, 4), equal_nan=True)


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


def test_thresholds_come_back_in_the_order_they_were_asked_for():
    values = np.random.default_rng(4).random((12, 12))
    thresholds = np.array([0.9, 0.1, 0.5, 0.1, 0.9, 0.3])
    ordered = threshold_sweep(values, np.sort(thresholds))
    ours = threshold_sweep(values, thresholds)
    assert ours[[1, 3, 5, 2, 0, 4]].tolist() == ordered.tolist()
    assert ours[0].tolist() != ours[1].tolist()


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
def test_of_several_largest_components_the_first_in_raster_order(lines, box):
    values = np.array([[float("0" if c == "." else c) for c in line] for line in lines])
    level = 2 / values.max()
    assert threshold_sweep(values, [level]).tolist() == [box]
    # With all thresholds around it the answer at this one is the same.
    assert threshold_sweep(values, [1.0, level, 0.9, 0.01])[1].tolist() == box


def test_of_equals_the_later_one_loses_once_the_earlier_one_has_caught_up():
    values = np.array([[3.0, 2.0, 0.0, 3.0, 3.0]])
    assert threshold_sweep(values, [1.0, 0.5]).tolist() == [[3, 0, 5, 1], [0, 0, 2, 1]]


def test_diagonal_neighbors_connect_with_8_and_not_with_4():
    values = np.array([[3.0, 0, 0], [0, 2.0, 0], [0, 0, 1.0]])
    thresholds = [1 / 3, 2 / 3, 1.0]
    eight = threshold_sweep(values, thresholds, connectivity=2)
    assert eight.tolist() == [[0, 0, 3, 3], [0, 0, 2, 2], [0, 0, 1, 1]]
    four = threshold_sweep(values, thresholds, connectivity=1)
    assert four.tolist() == [[0, 0, 1, 1]] * 3


def test_no_thresholds_are_no_boxes():
    assert threshold_sweep(np.ones((3, 3)), np.array([])).shape == (0, 4)
    assert sweep_best_iou(np.ones((3, 3)), np.array([]), np.ones((0, 4))).shape == (0,)


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


# IoU at every threshold.

gt_boxes = arrays(
    np.float64, st.tuples(st.integers(0, 4), st.just(4)), elements=st.integers(0, 9).map(float)
)


@settings(max_examples=300)
@given(maps, fractions, gt_boxes, st.sampled_from(["largest", "all"]), st.sampled_from(RULES))
def test_the_best_iou_is_that_of_brute_force(values, thresholds, truth, which, rule):
    assert_best_iou(values, thresholds, truth, which, rule)


@pytest.mark.parametrize("which", ["largest", "all"])
@pytest.mark.parametrize("name", SHAPES)
def test_the_best_iou_in_a_difficult_map_is_that_of_brute_force(name, which):
    height, width = SHAPES[name].shape
    random = np.random.default_rng(5)
    for rule in RULES[::3]:
        corners = np.sort(random.uniform(-2, 2 + max(height, width), (5, 2, 2)), axis=1)
        assert_best_iou(SHAPES[name], GRID, corners.reshape(5, 4), which, rule)


def assert_best_iou(values, thresholds, truth, which, rule):
    expected = []
    for threshold in thresholds:
        mask = cut(values, threshold, of=rule["of"], comparison=rule["comparison"])
        found = components(mask, rule["connectivity"])
        boxes = [largest(found)] if which == "largest" and found else [one[2] for one in found]
        overlaps = pairwise_iou(np.array(boxes, float).reshape(-1, 4), truth)
        expected.append(overlaps.max(initial=0.0))
    ours = sweep_best_iou(values, np.array(thresholds), truth, components=which, **rule)
    assert ours.shape == (len(thresholds),)
    assert np.array_equal(ours, expected), (values, thresholds, truth, which, rule)


def test_the_best_of_all_components_by_hand():
    values = np.array([[4.0, 4.0, 0.0, 2.0, 0.0, 1.0]])
    truth = np.array([[3.0, 0.0, 4.0, 1.0], [0.0, 0.0, 4.0, 1.0]])
    thresholds = [1.0, 0.5, 0.0, 0.25]
    largest = sweep_best_iou(values, thresholds, truth)
    every = sweep_best_iou(values, thresholds, truth, components="all")
    # [0, 2) against [0, 4) is 2/4; [0, 6) against [0, 4) is 4/6; [3, 4) is a truth itself.
    assert largest.tolist() == [0.5, 0.5, 4 / 6, 0.5]
    assert every.tolist() == [0.5, 1.0, 4 / 6, 1.0]


def test_a_box_that_is_there_at_no_threshold_between_counts_at_none():
    # The truth is the box of 3 3 alone, which lasts from above 2/3 down to above 1/3.
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


# What it is made of.


@settings(max_examples=200)
@given(arrays(np.int32, sizes, elements=st.integers(0, 5)), st.sampled_from([1, 2]), st.booleans())
def test_every_component_lasts_over_the_levels_at_which_it_is_labeled(ranks, connectivity, last):
    found = sweep(ranks, 6, connectivity=connectivity, every=True, last_of_equals=last)
    for level in range(6):
        labeled = components(ranks > level, connectivity)
        there = (found.all.low <= level) & (level <= found.all.high)
        assert {tuple(box) for box in found.all.boxes[there].tolist()} == {
            box for _, _, box in labeled
        }
        there = (found.largest.low <= level) & (level <= found.largest.high)
        ours = [tuple(box) for box in found.largest.boxes[there].tolist()]
        way = -1 if last else 1
        best = min(labeled, key=lambda one: (-one[0], way * one[1]), default=(0, 0, None))[2]
        assert ours == ([best] if best else [])


def test_boxes_of_all_components_are_kept_where_they_are_asked_for():
    ranks = np.array([[1, 0, 2]], np.int32)
    assert len(sweep(ranks, 2).all.boxes) == 0
    assert len(sweep(ranks, 2, every=True).all.boxes) == 2


@given(arrays(bool, (4, 5)))
def test_a_polygon_gains_the_squares_and_triangles_between_centers(mask):
    squares = mask[:-1, :-1] * 1 + mask[1:, :-1] + mask[:-1, 1:] + mask[1:, 1:]
    area = (squares == 4).sum() + (squares == 3).sum() / 2
    gained, ring = 0, [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    present = np.zeros((6, 7), bool)
    for y, x in np.argwhere(mask) + 1:
        index = sum(int(present[y + v, x + u]) << place for place, (v, u) in enumerate(ring))
        gained += int(GAIN_POLYGON[index])
        present[y, x] = True
    assert gained == 2 * area


@settings(max_examples=150)
@given(
    arrays(np.float64, (3, 3), elements=anything),
    st.lists(anything, min_size=1, max_size=6).map(sorted),
    st.sampled_from(["at_least", "above"]),
)
@example(np.array([[0.0, 5e-324, 1e-323]]), [0.0, 5e-324], "above")
@example(np.array([[-1e300, 1e300]]), [-1e300, 0.0, 1e300], "at_least")
@example(np.array([[0.5, -0.5]]), [0.5, 0.5, 0.5], "at_least")
def test_a_rank_is_the_number_of_levels_that_a_pixel_reaches(values, levels, comparison):
    levels = np.array(levels)
    reached = (
        values[..., None] >= levels if comparison == "at_least" else values[..., None] > levels
    )
    assert ranks_of(values, levels, comparison=comparison).tolist() == reached.sum(-1).tolist()


def test_no_pixel_reaches_a_level_that_is_not_a_number():
    ranks = ranks_of(np.array([[1.0, 2.0]]), np.array([np.nan, np.nan]), comparison="at_least")
    assert ranks.tolist() == [[0, 0]]


class TestWhatIsRefused:
    @pytest.mark.parametrize("shape", [(3,), (2, 3, 3), ()])
    def test_what_is_not_one_map_with_its_shape(self, shape):
        message = rf"shape \(h, w\), found shape \({', '.join(map(str, shape))}"
        with pytest.raises(ValueError, match=message):
            threshold_sweep(np.zeros(shape), [0.5])
        with pytest.raises(ValueError, match=message):
            sweep_best_iou(np.zeros(shape), [0.5], np.zeros((1, 4)))

    @pytest.mark.parametrize("thresholds", [[0.5, float("nan")], np.zeros((2, 2)), np.array(0.5)])
    def test_what_is_not_a_list_of_thresholds(self, thresholds):
        with pytest.raises(ValueError, match="expected a list of thresholds, found"):
            threshold_sweep(np.ones((3, 3)), thresholds)
        with pytest.raises(ValueError, match="expected a list of thresholds, found"):
            sweep_best_iou(np.ones((3, 3)), thresholds, np.zeros((1, 4)))
