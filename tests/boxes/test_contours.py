"""The contours of wsolevaluation at all thresholds at once, against OpenCV at each of them."""

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter
from wsolevaluation import compute_bboxes_from_scoremaps, normalize_scoremap

from wsol_bench.boxes.contours import contour_sweep

GRID = np.arange(0, 1, 0.05)


def boxes_at(spans, threshold):
    exists = (spans.low <= threshold) & (threshold <= spans.high)
    return [(x0, y0, x1 - 1, y1 - 1) for x0, y0, x1, y1 in spans.boxes[exists].tolist()]


def assert_as_by_opencv(values, thresholds=GRID):
    values = np.asarray(values, np.float32)
    thresholds = np.asarray(thresholds, np.float64)
    swept = contour_sweep(values, thresholds, every=True)
    scoremap = normalize_scoremap(values)
    single = compute_bboxes_from_scoremaps(scoremap, thresholds, multi_contour_eval=False)
    several = compute_bboxes_from_scoremaps(scoremap, thresholds, multi_contour_eval=True)
    for index, (largest, every) in enumerate(zip(single, several, strict=True)):
        assert boxes_at(swept.largest, index) == largest, (values, thresholds[index])
        assert set(boxes_at(swept.all, index)) == set(every), (values, thresholds[index])


def drawn(*lines):
    """A map in ninths: a digit is its value, anything else is nothing."""
    return np.array([[int(c) if c.isdigit() else 0 for c in line] for line in lines], np.float32)


DRAWN = {
    "an island in a hole": drawn(
        "..........",
        ".99999999.",
        ".9......9.",
        ".9.55...9.",
        ".9.55.7.9.",
        ".9......9.",
        ".99999999.",
    ),
    "a hole in an island in a hole": drawn(
        "99999999999",
        "9.........9",
        "9.5555555.9",
        "9.5.....5.9",
        "9.5.777.5.9",
        "9.5.7.7.5.9",
        "9.5.777.5.9",
        "9.5.....5.9",
        "9.5555555.9",
        "9.........9",
        "99999999999",
    ),
    "a hole that the edge of the map closes is none": drawn("99999", "9...9", "9...9"),
    "holes at several depths": drawn(
        "9999999999",
        "9444499999",
        "9422493339",
        "9420493139",
        "9444493339",
        "9999999999",
    ),
    "a hole of one pixel, closed by corners": drawn(".9.", "9.9", ".9."),
    "a closed line with a tail": drawn(".9....", "9.9...", ".9.999"),
    "two closed lines of one area, one with a tail": drawn(".9...9..", "9.9.9.9.", ".9...9.9"),
    "two holes that touch at a corner": drawn("99999", "9.999", "99.99", "99999"),
    "squares that touch at a corner": drawn("99..", "99..", "..99", "..99"),
    "lines have no area: the last one": drawn("999999", "......", "9.....", "......", "..99.."),
    "points have no area: the last one": drawn("9..9", "....", ".9..", "....", "9...", "...9"),
    "two squares, the last one": drawn("99....", "99..99", "....99"),
    "two squares in a row": drawn("99.99", "99.99"),
    "two triangles": drawn("9..9.", "99.99"),
    "a triangle in a square's shadow": drawn("9....", "99...", ".....", "...99", "...99"),
    "many thin pixels and few of more area": drawn(
        "9.9.9.9.", ".9.9.9.9", "........", "99......", "99......"
    ),
    "a hole of more pixels than its component": drawn(
        "9999999.",
        "9.....9.",
        "9.....9.",
        "9.....9.",
        "9999999.",
        "........",
        "88888888",
        "88888888",
    ),
    "a tie that ends at a lower level": drawn("77.99", "77.99", "4...."),
    "a tie that begins at a lower level": drawn("99...", "99...", "...44", "...44"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawing_has_the_contours_of_opencv(name):
    for values in (DRAWN[name], DRAWN[name][::-1], DRAWN[name][:, ::-1], DRAWN[name].T):
        assert_as_by_opencv(values)
        # Its own negative: components become holes.
        assert_as_by_opencv(9 - values)
        # Away from the edges of the map, where boxes end one pixel farther.
        assert_as_by_opencv(np.pad(values, 2))


sizes = st.tuples(st.integers(1, 10), st.integers(1, 10))
maps = st.one_of(
    arrays(np.float32, sizes, elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0])),
    arrays(np.float32, sizes, elements=st.floats(-1, 1, width=16), fill=st.nothing()),
    arrays(np.float32, sizes, elements=st.integers(0, 255).map(float)),
    arrays(np.float32, sizes, elements=st.floats(-100, 100, width=32)),
)
ascending = st.lists(
    st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 0.2, 0.5])), min_size=1, max_size=8
).map(sorted)


@settings(max_examples=600)
@given(maps, ascending)
@example(np.zeros((3, 4), np.float32), [0.0, 0.5, 1.0])
@example(np.full((3, 4), 0.7, np.float32), [0.0, 0.5, 1.0])
@example(np.full((3, 4), np.nan, np.float32), [0.0, 0.5, 1.0])
@example(np.array([[0, 1, np.nan]], np.float32), [0.0, 0.5, 1.0])
@example(np.array([[3]], np.float32), [0.0, 0.5, 1.0])
@example(np.array([[0, 1, 1, 0, 1, 0]], np.float32), [0.0, 0.5, 1.0])
@example(np.array([[0, 1, 1, 0, 1, 0]], np.float32).T, [0.0, 0.5, 1.0])
@example(np.array([[1e-45, 3e-45, 0, 0]], np.float32), [0.0, 0.5, 1.0])
def test_any_map_has_the_contours_of_opencv(values, thresholds):
    assert_as_by_opencv(values, thresholds)


@pytest.mark.parametrize("n_values", [2, 3, 5, 40])
def test_random_maps_have_the_contours_of_opencv(n_values):
    random = np.random.default_rng(n_values)
    for _ in range(400):
        share = random.random(n_values) ** 3
        shape = tuple(random.integers(1, 22, 2))
        values = random.choice(random.random(n_values), shape, p=share / share.sum())
        assert_as_by_opencv(values, [0.0, 0.25, 0.5, 0.75, 1.0])


def test_smooth_maps_have_the_contours_of_opencv_at_1000_thresholds():
    random = np.random.default_rng(0)
    for width in (1.0, 2.0, 4.0):
        values = gaussian_filter(random.standard_normal((61, 47)), width)
        assert_as_by_opencv(values, np.arange(0, 1, 0.001))


def test_the_boxes_of_wsolevaluations_own_code(data_dir):
    reference = json.loads((data_dir / "reference/maxboxacc_boxes.json").read_text())
    maps = np.load(data_dir / "reference/maxboxacc_maps.npz")["maps"].astype(np.float32)
    thresholds = np.array(reference["selected_thresholds"])
    assert maps.shape == (40, 224, 224) and len(thresholds) == 13
    for values, expected in zip(maps, reference["maps"], strict=True):
        swept = contour_sweep(values, thresholds, every=True)
        for index, threshold in enumerate(reference["selected_thresholds"]):
            largest = expected["largest_contour_boxes"][f"{threshold:g}"]
            every = expected["all_contour_boxes"][f"{threshold:g}"]
            assert boxes_at(swept.largest, index) == [tuple(largest)]
            assert set(boxes_at(swept.all, index)) == {tuple(box) for box in every}


# Hand-solved.


def half_open(spans, threshold):
    exists = (spans.low <= threshold) & (threshold <= spans.high)
    return sorted(spans.boxes[exists].tolist())


def test_a_component_with_two_holes_and_an_island_by_hand():
    values = drawn(
        "999999999999..",
        "9..9.......9..",
        "9..9..333..9..",
        "9..9.......9..",
        "999999999999..",
        "..............",
        "..............",
    )
    # On gray values 0, 85, 255: above 0, above 102, above 255.
    swept = contour_sweep(values, np.array([0.0, 0.4, 1.0]), every=True)
    # A box ends where width and height say, and its end counts as a pixel: one more in half-open.
    component, left_hole, right_hole = [0, 0, 13, 6], [0, 0, 5, 6], [3, 0, 13, 6]
    island = [6, 2, 10, 4]
    assert half_open(swept.all, 0) == sorted([component, left_hole, right_hole, island])
    assert half_open(swept.all, 1) == sorted([component, left_hole, right_hole])
    assert half_open(swept.all, 2) == [[0, 0, 1, 1]]
    assert [half_open(swept.largest, index) for index in range(3)] == [
        [component],
        [component],
        [[0, 0, 1, 1]],
    ]


def test_the_largest_is_that_of_the_largest_polygon_not_of_most_pixels():
    # A thin ring encloses 4 x 4; two full rows have more pixels and enclose 10 x 1.
    values = drawn(
        "99999.......",
        "9...9.......",
        "9...9.......",
        "9...9.......",
        "99999.......",
        "............",
        "99999999999.",
        "99999999999.",
    )
    swept = contour_sweep(values, np.array([0.0]))
    assert half_open(swept.largest, 0) == [[0, 0, 6, 6]]


def test_of_several_largest_contours_the_last_one():
    swept = contour_sweep(drawn("99....", "99.99.", "...99.", "......"), np.array([0.0]))
    assert half_open(swept.largest, 0) == [[3, 1, 6, 4]]


def test_a_box_ends_inside_the_map():
    swept = contour_sweep(drawn(".....", "...99", "...99"), np.array([0.0]), every=True)
    assert half_open(swept.largest, 0) == half_open(swept.all, 0) == [[3, 1, 5, 3]]


def test_values_are_cut_on_256_levels():
    # 0.4999 * 255 = 127.47 is 127, as is int(0.5 * 255): not above it. 0.503 * 255 = 128.3 is.
    values = np.array([[0.0, 0.503, 0.4999, 1.0, 0.0]], np.float32)
    swept = contour_sweep(values, np.array([0.4941, 0.5]))
    assert half_open(swept.largest, 0) == [[1, 0, 5, 1]]
    assert half_open(swept.largest, 1) == [[3, 0, 5, 1]]


def test_values_are_scaled_in_the_arithmetic_of_float32():
    # In float64 most of k / 255 (in float32) times 255 are a little less than k, or than k + 1.
    steps = np.random.default_rng(0).permutation(256).reshape(16, 16)
    for values in (steps / 255, steps / 255 * 0.7 - 0.2):
        assert_as_by_opencv(values, np.arange(0, 1, 0.001))


@pytest.mark.parametrize("nothing", [0.0, 0.7, -2.0, np.nan])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (4, 4)])
def test_the_box_of_a_constant_map_is_its_first_pixel(nothing, shape):
    swept = contour_sweep(np.full(shape, nothing, np.float32), GRID, every=True)
    for spans in swept:
        assert spans.boxes.tolist() == [[0, 0, 1, 1]]
        assert (spans.low.tolist(), spans.high.tolist()) == ([0], [len(GRID) - 1])


def test_one_box_at_each_threshold_is_the_largest():
    values = np.random.default_rng(1).random((30, 30)).astype(np.float32)
    largest = contour_sweep(values, GRID).largest
    covered = np.concatenate(
        [np.arange(a, b + 1) for a, b in zip(largest.low, largest.high, strict=True)]
    )
    assert sorted(covered.tolist()) == list(range(len(GRID)))


def test_boxes_of_all_contours_are_kept_only_with_every():
    values = drawn("9.9")
    assert len(contour_sweep(values, GRID).all.boxes) == 0
    assert len(contour_sweep(values, GRID, every=True).all.boxes) == 2
