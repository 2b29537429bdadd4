"""Holm's correction, by hand and against the closure of Bonferroni's."""

import inspect
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsol_bench.statistics.correction import holm


def by_closed_testing(p):
    """Holm as the closure of Bonferroni (Marcus, Peritz & Gabriel, Biometrika 63, 1976).

    A hypothesis is rejected where Bonferroni rejects every intersection that it is part of.
    """
    adjusted = [0.0] * len(p)
    for size in range(1, len(p) + 1):
        for subset in itertools.combinations(range(len(p)), size):
            bonferroni = min(1.0, size * min(p[index] for index in subset))
            for index in subset:
                adjusted[index] = max(adjusted[index], bonferroni)
    return adjusted


class TestHolm:
    @pytest.mark.parametrize(
        ("p", "adjusted"),
        [
            ([], []),
            ([0.04], [0.04]),
            ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
            ([0.4, 0.6, 0.5], [1, 1, 1]),
            ([0.02, 0.02], [0.04, 0.04]),
            ([0.0, 1.0], [0, 1]),
            # The second would be 0.04 by its own factor, less than the first.
            ([0.03, 0.04, 0.9], [0.09, 0.09, 0.9]),
            ([np.nan, 0.03, np.nan, 0.01], [np.nan, 0.03, np.nan, 0.02]),
            ([np.nan, np.nan], [np.nan, np.nan]),
        ],
    )
    def test_by_hand(self, p, adjusted):
        given_p = np.array(p, np.float64)
        assert holm(given_p) == pytest.approx(adjusted, nan_ok=True)
        assert np.array_equal(given_p, p, equal_nan=True)

    @given(st.lists(st.floats(0, 1), max_size=6))
    def test_is_the_closure_of_bonferroni(self, p):
        assert holm(np.array(p)) == pytest.approx(by_closed_testing(p))

    def test_what_are_not_p_values_is_refused(self):
        for wrong in (-0.1, 1.5, np.inf):
            with pytest.raises(ValueError, match=rf"in \[0, 1\], found {wrong}"):
                holm(np.array([0.5, wrong]))
        with pytest.raises(ValueError, match=r"\(m,\), found shape \(1, 2\)"):
            inspect.unwrap(holm)(np.ones((1, 2)))
