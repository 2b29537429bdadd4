"""The components of a sweep with their levels, and the tables over neighbors that it uses."""

import numpy as np
from difficult_maps import sizes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from labeled_components import components

from wsol_bench.boxes.neighbor_ring import GAIN_POLYGON
from wsol_bench.boxes.threshold_sweep import sweep


@settings(max_examples=200)
@given(arrays(np.int32, sizes, elements=st.integers(0, 5)), st.sampled_from([4, 8]), st.booleans())
def test_every_component_exists_at_the_levels_at_which_it_is_labeled(ranks, connectivity, last):
    swept = sweep(ranks, 6, connectivity=connectivity, every=True, last_of_equals=last)
    direction = -1 if last else 1
    for level in range(6):
        labeled = components(ranks > level, connectivity)
        exists = (swept.all.low <= level) & (level <= swept.all.high)
        assert {tuple(box) for box in swept.all.boxes[exists].tolist()} == {
            box for _, _, box in labeled
        }
        exists = (swept.largest.low <= level) & (level <= swept.largest.high)
        largest_boxes = [tuple(box) for box in swept.largest.boxes[exists].tolist()]
        ordered = sorted(labeled, key=lambda region: (-region[0], direction * region[1]))
        best = ordered[0][2] if ordered else None
        assert largest_boxes == ([best] if best else [])


def test_boxes_of_all_components_are_kept_only_with_every():
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
