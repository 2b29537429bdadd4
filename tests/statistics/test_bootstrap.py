"""Means and statistics in resamples, against all possible resamples and against scipy."""

import math
import tracemalloc

import numpy as np
import pytest
import scipy.stats
from resamples import assert_drawn_from, curves, every_resample, largest, scipy_interval

from wsol_bench.statistics.bootstrap import bootstrap_means, bootstrap_statistic
from wsol_bench.statistics.intervals import confidence_interval, statistic_interval
from wsol_bench.statistics.paired_tests import paired_statistic


class TestResamples:
    @pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
    def test_every_resample_is_as_likely(self, n):
        # Sums of these digits say how often each image was drawn.
        digits = 10.0 ** np.arange(n)
        means = bootstrap_means(digits[:, None], n_resamples=20_000)[:, 0]
        assert_drawn_from(means, digits[every_resample(n)].mean(axis=1))

    @pytest.mark.parametrize("n", [7, 256, 257, 300, 511, 777])
    def test_images_are_drawn_as_binomial_numbers_that_sum_to_n(self, n):
        weights = bootstrap_means(np.eye(n), n_resamples=2000) * n
        assert np.allclose(weights, weights.round())
        weights = weights.round().astype(int)
        assert (weights.sum(axis=1) == n).all()
        # Each image, and any set of images: here the first third, which lies across blocks.
        each = weights.sum(axis=0)
        assert scipy.stats.chisquare(each).pvalue > 1e-3
        occurrences = np.bincount(np.minimum(weights.ravel(), 5), minlength=6)
        chances = scipy.stats.binom.pmf(range(6), n, 1 / n)
        chances[5] = 1 - chances[:5].sum()
        assert occurrences / weights.size == pytest.approx(chances, abs=0.01)
        third = n // 3
        drawn = weights[:, :third].sum(axis=1)
        assert drawn.mean() == pytest.approx(third, rel=0.02)
        spread = math.sqrt(third * (1 - third / n))
        assert drawn.std() == pytest.approx(spread, rel=4 / math.sqrt(2 * 2000))

    def test_two_resamples_have_nothing_in_common(self):
        means = bootstrap_means(np.random.default_rng(0).random((3000, 1)))[:, 0]
        assert len(np.unique(means)) == len(means)
        assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 4 / math.sqrt(len(means))

    def test_columns_share_their_resamples(self):
        first, second = np.random.default_rng(0).random((2, 700))
        means = bootstrap_means(np.stack([first, second, first - second], axis=1))
        assert np.allclose(means[:, 0] - means[:, 1], means[:, 2], atol=1e-12)

    @pytest.mark.parametrize("columns", [1, 3])
    @pytest.mark.parametrize("n", [50, 5000])
    def test_hits_may_be_bool_or_numbers(self, n, columns):
        hits = np.random.default_rng(0).random((n, columns)) < 0.3
        as_bool = bootstrap_means(hits, n_resamples=500)
        assert np.array_equal(as_bool, bootstrap_means(hits.astype(float), n_resamples=500))
        assert np.array_equal(as_bool, bootstrap_means(hits.astype(int), n_resamples=500))

    @pytest.mark.parametrize("hits", [curves(400, 200), np.eye(400, 200) > 0])
    def test_curves_of_hits_may_be_bool_or_numbers(self, hits):
        as_bool = bootstrap_means(hits, n_resamples=300)
        assert np.allclose(
            as_bool, bootstrap_means(hits.astype(float), n_resamples=300), rtol=0, atol=1e-15
        )

    def test_the_order_of_images_does_not_matter_where_few_are_distinct(self):
        hits = np.random.default_rng(0).random((5000, 3)) < 0.3
        shuffled = np.random.default_rng(1).permutation(hits)
        assert np.array_equal(bootstrap_means(hits), bootstrap_means(shuffled))

    def test_seeds_decide(self):
        values = np.random.default_rng(0).random((100, 2))
        first = bootstrap_means(values, seed=3)
        assert np.array_equal(first, bootstrap_means(values, seed=3))
        assert not np.isin(first, bootstrap_means(values, seed=4)).all()

    def test_digits_of_a_seed_stay_what_they_were(self):
        """Every way to draw and to sum is here; another digit is a change of results."""
        at, few = np.arange(300), {"n_resamples": 1000}
        rows = [at * step % 50 for step in (7, 11)]
        hits = [
            (np.arange(50) >= row[:, None]) & (np.arange(50) < (row + at % 23)[:, None])
            for row in rows
        ]
        real = confidence_interval(np.sqrt(at), **few)
        assert real[1:3] == pytest.approx((11.028635783221693, 11.945192172088523), rel=1e-12)
        assert confidence_interval(at % 3 == 0, **few)[1:3] == (0.28, 0.38666666666666666)
        assert statistic_interval(hits[0], largest, **few) == (
            *(0.22333333333333333, 0.22666666666666666, 0.29333333333333333, 300),
        )
        assert paired_statistic(*hits, largest, **few)[:4] == (
            *(300, 0.0, -0.036666666666666625, 0.03999999999999998),
        )

    @pytest.mark.parametrize("real", [True, False])
    def test_memory_does_not_grow_with_the_resamples(self, real):
        values = np.random.default_rng(0).random((50_000, 1)) if real else curves(50_000, 100)
        bootstrap_statistic(values, largest, n_resamples=1)
        tracemalloc.start()
        bootstrap_statistic(values, largest, n_resamples=400)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # All counts at once would be 160 MB.
        assert peak < 50e6


class TestStatistic:
    def test_a_maximum_over_thresholds_by_all_resamples(self):
        hits = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1], [1, 0, 0, 1]]) > 0
        possible = hits[every_resample(5)].mean(axis=1).max(axis=1)
        assert_drawn_from(bootstrap_statistic(hits, largest, n_resamples=20_000), possible)

    # Where the columns are few and where they are many, the sums are taken in different ways.
    @pytest.mark.parametrize("thresholds", [10, 100])
    def test_a_maximum_over_thresholds_equals_scipy(self, thresholds):
        hits = curves(300, thresholds)
        (low, high), error = scipy_interval(
            np.arange(300), lambda images: hits[images].mean(axis=0).max(), vectorized=False
        )
        result = statistic_interval(hits, largest)
        assert result.value == hits.mean(axis=0).max()
        assert result.n == 300
        assert (result.low, result.high) == pytest.approx((low, high), abs=0.15 * error + 1 / 300)

    def test_a_statistic_may_compare_methods(self):
        first, second = curves(500, 40, seed=1), curves(500, 40, seed=2)

        def gain(means):
            return largest(means[:, :40]) - largest(means[:, 40:])

        result = bootstrap_statistic(np.concatenate([first, second], axis=1), gain)
        separate = [bootstrap_means(both, seed=0).max(axis=1) for both in (first, second)]
        assert np.allclose(result, separate[0] - separate[1], atol=1e-12)

    def test_a_column_is_its_own_maximum(self):
        values = np.random.default_rng(0).random(300)
        assert statistic_interval(values[:, None], largest) == confidence_interval(values)

    def test_images_that_count_in_some_column_count(self):
        values = np.array([[1.0, np.nan], [np.nan, np.nan], [0.5, 2.0]])
        result = statistic_interval(values, largest)
        assert (result.value, result.n) == (2.0, 2)

    def test_a_statistic_gives_a_number_a_row(self):
        with pytest.raises(ValueError, match=r"shape \(100,\) for means of shape \(100, 4\)"):
            bootstrap_statistic(curves(9, 4), lambda means: means[:50, 0], n_resamples=100)
