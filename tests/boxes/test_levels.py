"""The number of levels that each pixel of a map reaches."""

import numpy as np
from difficult_maps import anything
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsol_bench.boxes.levels import ranks_of


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
