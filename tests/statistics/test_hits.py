"""Packed hits: every number of them is that of the matrix they stand for."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resamples import bootstrap_means, largest, packed, swept

from wsol_bench.statistics import hits as hits_module
from wsol_bench.statistics import weighted_means
from wsol_bench.statistics.bootstrap import bootstrap_bias, bootstrap_statistic
from wsol_bench.statistics.columns import column_means
from wsol_bench.statistics.contributions import statistic_contributions
from wsol_bench.statistics.hits import Hits


class TestPackedHits:
    """Every number of packed hits is that of the matrix, digit for digit."""

    # Two distinct rows are few among 128 images, not among 63; 9 and 100 do not fill a byte.
    @pytest.mark.parametrize("block", [200, 2**18])
    @pytest.mark.parametrize("few", [0, 2**22])
    @pytest.mark.parametrize("kind", ["intervals", "random", "alike"])
    @settings(max_examples=25)
    @given(
        n=st.sampled_from([0, 1, 2, 63, 64, 128, 300]),
        n_curves=st.integers(0, 3),
        thresholds=st.sampled_from([1, 8, 9, 100]),
        seed=st.integers(0, 2**32),
    )
    def test_numbers_are_those_of_the_matrix(self, block, few, kind, n, n_curves, thresholds, seed):
        hits = swept(n, n_curves, thresholds, kind=kind, seed=seed)
        flat = hits.reshape(n, n_curves * thresholds)
        options = {"n_resamples": 20, "seed": seed}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hits_module, "_BLOCK", block)
            patch.setattr(weighted_means, "_FEW", few)
            assert np.array_equal(
                bootstrap_means(packed(hits), **options),
                bootstrap_means(flat, **options),
                equal_nan=True,
            )
            assert str(column_means(packed(hits))) == str(column_means(flat))
            if not n_curves:  # there is no largest of nothing
                return
            assert np.array_equal(
                bootstrap_statistic(packed(hits), largest, **options),
                bootstrap_statistic(flat, largest, **options),
                equal_nan=True,
            )
            assert str(bootstrap_bias(packed(hits), largest, **options)) == str(
                bootstrap_bias(flat, largest, **options)
            )
            ours = statistic_contributions(packed(hits), largest)
            alike = statistic_contributions(flat, largest)
            assert ours == pytest.approx(alike, abs=1e-12, nan_ok=True)

    def test_curves_are_chosen_by_place(self):
        hits = swept(20, 4, 13, kind="random", seed=0)
        for chosen in (slice(1, 3), [2, 0], slice(-1, None)):
            result = packed(hits).curves(chosen)
            assert np.array_equal(result.unpacked(), hits[:, chosen].reshape(20, -1))
            assert result.shape == result.unpacked().shape

    # The matrix would be 24 MB, its differences as much again, as floats eight times as much. Of
    # random hits the sparse differences are 36 MB before they turn out to be too many.
    @pytest.mark.slow
    @pytest.mark.parametrize(("kind", "most"), [("intervals", 17e6), ("random", 44e6)])
    def test_are_never_unpacked_all_at_once(self, kind, most):
        hits = packed(swept(20_000, 3, 400, kind=kind, seed=0))
        bootstrap_statistic(hits, largest, n_resamples=1)
        tracemalloc.start()
        bootstrap_statistic(hits, largest, n_resamples=30)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < most

    def test_what_are_not_packed_hits_is_refused(self):
        with pytest.raises(
            ValueError, match=r"\(images, curves, 2\) for 9 thresholds, found shape"
        ):
            Hits(np.zeros((5, 1, 1), np.uint8), 9)
        with pytest.raises(ValueError, match="no hit behind threshold 8, found one"):
            Hits(np.full((5, 1, 2), 255, np.uint8), 9)
