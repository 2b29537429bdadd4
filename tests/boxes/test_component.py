"""The largest component of a map at one threshold, by hand and against OpenCV."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsol_bench.boxes import largest_component, largest_component_box


def mask_of(*lines):
    return np.array([[character == "#" for character in line] for line in lines])


class TestLargestComponent:
    def test_the_component_with_most_pixels_not_the_widest_box(self):
        mask = mask_of("#####..", ".......", "....###", "....###")
        assert largest_component(mask).tolist() == [4, 2, 7, 4]

    def test_a_tie_goes_to_the_first_in_raster_order(self):
        mask = mask_of("....##", "......", "##....")
        assert largest_component(mask).tolist() == [4, 0, 6, 1]
        # The component that starts first in raster order, though it lies lower and further right.
        mask = mask_of("...#", "#..#", "#...")
        assert largest_component(mask).tolist() == [3, 0, 4, 2]

    def test_diagonal_neighbors_connect_with_8_and_not_with_4(self):
        mask = mask_of("#..", ".#.", "..#")
        assert largest_component(mask, connectivity=8).tolist() == [0, 0, 3, 3]
        assert largest_component(mask, connectivity=4).tolist() == [0, 0, 1, 1]

    def test_an_empty_mask_has_no_component(self):
        assert largest_component(np.zeros((3, 3), bool)) is None

    @given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))), st.sampled_from([4, 8]))
    def test_agrees_with_opencv(self, mask, connectivity):
        _, _, stats, _ = cv2.connectedComponentsWithStats(
            mask.astype(np.uint8), connectivity=connectivity
        )
        box = largest_component(mask, connectivity=connectivity)
        if box is None:
            assert len(stats) == 1
            return
        largest = stats[1:, cv2.CC_STAT_AREA].max()
        x, y, w, h = (cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP, cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT)
        candidates = [
            [line[x], line[y], line[x] + line[w], line[y] + line[h]]
            for line in stats[1:]
            if line[cv2.CC_STAT_AREA] == largest
        ]
        assert box.tolist() in candidates
        if len(candidates) == 1:
            assert box.tolist() == candidates[0]


class TestThreshold:
    def test_at_least_15_percent_of_the_maximum(self):
        values = np.array([[20.0, 3.0, 2.9, 0.0]])
        assert largest_component_box(values, threshold=0.15).tolist() == [0, 0, 2, 1]

    def test_above_leaves_out_what_equals_the_level(self):
        values = np.array([[20.0, 4.0, 3.9, 0.0]])
        at_least = largest_component_box(values, threshold=0.2, comparison="at_least")
        above = largest_component_box(values, threshold=0.2, comparison="above")
        assert at_least.tolist() == [0, 0, 2, 1]
        assert above.tolist() == [0, 0, 1, 1]

    def test_the_level_is_not_rounded_to_the_precision_of_the_map(self):
        # 0.15 in float32 is above 0.15: compared in float32 the second pixel would reach the level.
        values = np.array([[1.0, np.nextafter(np.float32(0.15), np.float32(0))]], dtype=np.float32)
        assert float(values[0, 1]) < 0.15
        assert largest_component_box(values, threshold=0.15).tolist() == [0, 0, 1, 1]

    def test_a_positive_constant_map_is_the_whole_image(self):
        for comparison in ("at_least", "above"):
            box = largest_component_box(np.full((4, 6), 0.3), comparison=comparison)
            assert box.tolist() == [0, 0, 6, 4]

    @pytest.mark.parametrize(
        "values",
        [
            np.zeros((5, 5)),
            -np.ones((5, 5)),
            np.full((5, 5), np.nan),
            np.array([[1.0, np.nan]]),
            np.array([[1.0, np.inf]]),
            np.empty((0, 0)),
            np.empty((0, 7)),
        ],
    )
    def test_no_positive_value_or_a_value_that_is_not_finite_is_no_box(self, values):
        assert largest_component_box(values) is None

    def test_range_measures_between_minimum_and_maximum(self):
        values = np.array([[-10.0, -5.0, 0.0, 10.0]])
        assert largest_component_box(values, threshold=0.25, of="range").tolist() == [1, 0, 4, 1]
        assert largest_component_box(values, threshold=0.25).tolist() == [3, 0, 4, 1]

    def test_a_map_of_one_pixel(self):
        assert largest_component_box(np.array([[2.0]])).tolist() == [0, 0, 1, 1]

    def test_integer_maps_are_maps(self):
        assert largest_component_box(np.array([[0, 200, 255]], np.uint8)).tolist() == [1, 0, 3, 1]

    def test_a_stack_of_maps_is_refused_with_its_shape(self):
        with pytest.raises(ValueError, match=r"shape \(h, w\), found shape \(2, 3, 3\)"):
            largest_component_box(np.zeros((2, 3, 3)))

    @given(arrays(np.float32, (6, 7), elements=st.floats(0, 1, width=32)), st.floats(0.01, 100))
    def test_a_power_of_two_factor_moves_no_box(self, values, factor):
        scaled = values * np.float32(2.0 ** round(np.log2(factor)))
        first, second = largest_component_box(values), largest_component_box(scaled)
        assert (first is None) == (second is None)
        if first is not None and values[values > 0].min() > 1e-30:
            assert first.tolist() == second.tolist()
