"""Means and statistics in resamples, against all possible resamples and against scipy."""

import inspect
import math
import tracemalloc

import numpy as np
import pytest
import scipy.stats
from resamples import assert_drawn_from, bootstrap_means, curves, every_resample, largest

from wsol_bench.statistics.bootstrap import bootstrap_bias, bootstrap_statistic


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
        at = np.arange(300)
        row = at * 7 % 50
        hits = (np.arange(50) >= row[:, None]) & (np.arange(50) < (row + at % 23)[:, None])
        for values, first, last in (
            (np.sqrt(at)[:, None], 11.710659055413883, 11.72137083002897),
            ((at % 3 == 0)[:, None], 0.31, 0.37),
            (hits, 0.24333333333333335, 0.27),
        ):
            numbers = bootstrap_statistic(values, largest, n_resamples=1000)
            assert numbers[[0, -1]] == pytest.approx((first, last), rel=1e-12)

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
        oracle = scipy.stats.bootstrap(
            (np.arange(300),),
            lambda images: hits[images].mean(axis=0).max(),
            vectorized=False,
            n_resamples=10_000,
            rng=1,
        )
        numbers = bootstrap_statistic(hits, largest, n_resamples=10_000)
        error = 0.15 * oracle.standard_error
        assert numbers.mean() == pytest.approx(oracle.bootstrap_distribution.mean(), abs=error)
        assert numbers.std() == pytest.approx(oracle.standard_error, rel=0.05)
        bias = oracle.bootstrap_distribution.mean() - hits.mean(axis=0).max()
        assert bootstrap_bias(hits, largest) == pytest.approx(bias, abs=error)

    def test_a_statistic_may_compare_methods(self):
        first, second = curves(500, 40, seed=1), curves(500, 40, seed=2)

        def gain(means):
            return largest(means[:, :40]) - largest(means[:, 40:])

        both = np.concatenate([first, second], axis=1)
        result = bootstrap_statistic(both, gain, n_resamples=10_000)
        separate = [bootstrap_means(both, seed=0).max(axis=1) for both in (first, second)]
        assert np.allclose(result, separate[0] - separate[1], atol=1e-12)

    def test_a_mean_has_no_bias_and_a_maximum_one_above_0(self):
        values = np.random.default_rng(0).random((300, 20))
        error = values[:, 0].std() / math.sqrt(300)
        few = bootstrap_bias(values[:, :1], largest)
        assert few == pytest.approx(0, abs=4 * error / math.sqrt(1000))
        # 20 means that are as high: the expected maximum of 20 normal numbers is 1.87.
        equal = values - values.mean(axis=0)
        assert bootstrap_bias(equal, largest) == pytest.approx(1.87 * error, rel=0.1)

    def test_images_that_count_in_no_column_change_no_bias(self):
        values = np.random.default_rng(0).random((9, 2))
        values[4, 1] = np.nan
        more = np.insert(values, 2, np.nan, axis=0)
        assert bootstrap_bias(more, largest) == bootstrap_bias(values, largest)
        assert bootstrap_bias(values[:0], largest) == 0

    @pytest.mark.parametrize("n", [0, 1, 300])
    def test_no_columns_have_no_means(self, n):
        assert bootstrap_means(np.zeros((n, 0)), n_resamples=7).shape == (7, 0)
        assert bootstrap_means(np.zeros((n, 0), bool), n_resamples=7).shape == (7, 0)

    def test_a_resample_without_an_image_that_counts_has_no_mean(self):
        values = np.array([[1.0, 0.5], [2.0, np.nan], [3.0, np.nan]])
        means = bootstrap_means(values)
        # The first image is in none of three draws.
        assert np.isnan(means[:, 1]).mean() == pytest.approx((2 / 3) ** 3, abs=0.02)
        assert np.isfinite(means[:, 0]).all()

    @pytest.mark.parametrize("beside", [False, True])
    def test_the_standard_error_of_hits_is_known(self, beside):
        n, rate = 6400, 0.3
        columns = [np.arange(n) < rate * n]
        if beside:
            # A column of distinct values: no images are alike any more.
            columns.append(np.arange(n) / n)
        means = bootstrap_means(np.stack(columns, axis=1).astype(float))[:, 0]
        assert means.mean() == pytest.approx(rate, abs=4 * math.sqrt(rate * (1 - rate) / n) / 100)
        # The standard deviation of 10,000 numbers is right to 0.7%.
        assert means.std() == pytest.approx(math.sqrt(rate * (1 - rate) / n), rel=0.028)

    def test_what_cannot_be_is_refused(self):
        with pytest.raises(ValueError, match=r"found -inf at index \(0, 1\)"):
            bootstrap_statistic(np.array([[0.5, -np.inf]]), largest)
        with pytest.raises(ValueError, match="at least 1 resample, found 0"):
            bootstrap_statistic(np.ones((2, 1)), largest, n_resamples=0)
        # Without the checks of the tests, as everybody else calls it.
        with pytest.raises(ValueError, match=r"\(images, columns\), found shape \(2,\)"):
            inspect.unwrap(bootstrap_statistic)(np.zeros(2), largest)

    def test_a_statistic_gives_a_number_a_row(self):
        with pytest.raises(ValueError, match=r"shape \(100,\) for means of shape \(100, 4\)"):
            bootstrap_statistic(curves(9, 4), lambda means: means[:50, 0], n_resamples=100)
