import inspect
import itertools
import math
import tracemalloc
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from wsol_bench import statistics
from wsol_bench.statistics import (
    Hits,
    Resampler,
    bootstrap_means,
    bootstrap_statistic,
    confidence_interval,
    confidence_intervals,
    holm,
    mcnemar_exact,
    paired_bootstrap,
    paired_statistic,
    statistic_interval,
)


def largest(means):
    return means.max(axis=1)


def curves(n, thresholds, seed=0):
    """Hits at increasing thresholds: each image is hit from one threshold to another."""
    ends = np.sort(np.random.default_rng(seed).integers(0, thresholds, (n, 2)), axis=1)
    at = np.arange(thresholds)
    return (at >= ends[:, :1]) & (at <= ends[:, 1:])


def scipy_interval(data, statistic, **options):
    """The percentile interval of scipy, by its own resampling, with its standard error."""
    result = scipy.stats.bootstrap(
        (data,), statistic, n_resamples=10_000, method="percentile", rng=1, **options
    )
    return result.confidence_interval, result.standard_error


def every_resample(n):
    """All n^n ways to draw n of n images, each as likely."""
    return np.array(list(itertools.product(range(n), repeat=n)))


def assert_drawn_from(numbers, possible):
    """The numbers have the distribution of a list of equally likely ones (chi-square test)."""
    chances = Counter(np.round(possible, 9).tolist())
    found = Counter(np.round(numbers, 9).tolist())
    assert found.keys() <= chances.keys()
    # Outcomes that are too rare for the test are one.
    often = [key for key in chances if chances[key] * len(numbers) >= 10 * len(possible)]
    expected = np.array([chances[key] for key in often]) * len(numbers) / len(possible)
    observed = np.array([found[key] for key in often])
    rest = len(numbers) - expected.sum()
    if rest > 1:
        expected = np.append(expected, rest)
        observed = np.append(observed, len(numbers) - observed.sum())
    assert scipy.stats.chisquare(observed, expected).pvalue > 1e-3


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


class TestInterval:
    @pytest.mark.parametrize("n", [40, 300, 1000])
    def test_equals_scipy_on_real_values(self, n):
        values = np.random.default_rng(n).beta(2, 5, n)
        (low, high), error = scipy_interval(values, np.mean)
        found = confidence_interval(values)
        assert found.value == pytest.approx(values.mean())
        assert found.n == n
        # Two quantiles of 10,000 resamples each: 0.04 standard errors apart, or 4 times that.
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * error)

    def test_equals_scipy_at_another_level(self):
        values = np.random.default_rng(0).beta(2, 5, 300)
        (low, high), error = scipy_interval(values, np.mean, confidence_level=0.5)
        found = confidence_interval(values, level=0.5)
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * error)

    @pytest.mark.parametrize("n", [100, 6400])
    def test_a_resample_of_hits_is_a_binomial_number(self, n):
        hits = np.arange(n) < 0.3 * n
        found = confidence_interval(hits, n_resamples=40_000)
        exact = scipy.stats.binom.ppf([0.025, 0.975], n, 0.3) / n
        error = math.sqrt(0.3 * 0.7 / n)
        assert found.value == 0.3
        assert (found.low, found.high) == pytest.approx(exact, abs=0.08 * error + 1 / n)

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

    def test_covers_the_truth_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        rate, mean = 0.6, 2 / 7
        covered = np.zeros(2)
        simulations = 1000
        for seed in range(simulations):
            of_hits = confidence_interval(rng.random(400) < rate, n_resamples=1000, seed=seed)
            of_values = confidence_interval(rng.beta(2, 5, 150), n_resamples=1000, seed=seed)
            covered += of_hits.low <= rate <= of_hits.high, of_values.low <= mean <= of_values.high
        # Three standard deviations of a share of 0.95 in 1,000.
        assert covered / simulations == pytest.approx([0.95, 0.95], abs=0.021)

    def test_an_image_that_does_not_count_changes_nothing(self):
        values = np.random.default_rng(0).random(200)
        with_others = np.full(500, np.nan)
        with_others[np.sort(np.random.default_rng(1).permutation(500)[:200])] = values
        assert confidence_interval(with_others) == confidence_interval(values)
        assert np.array_equal(
            bootstrap_means(with_others[:, None]), bootstrap_means(values[:, None])
        )

    def test_an_image_that_counts_in_one_column_alone(self):
        rng = np.random.default_rng(0)
        values = rng.random((300, 2))
        values[rng.random(300) < 0.4, 0] = np.nan
        (low, high), error = scipy_interval(values[:, 0], np.nanmean)
        partly, wholly = confidence_intervals(values)
        assert (partly.low, partly.high) == pytest.approx((low, high), abs=0.15 * error)
        assert partly.value == pytest.approx(np.nanmean(values[:, 0]))
        assert partly.n == np.isfinite(values[:, 0]).sum()
        assert wholly == pytest.approx(confidence_interval(values[:, 1]), rel=1e-12)

    def test_a_resample_without_an_image_that_counts_has_no_mean(self):
        values = np.array([[1.0, 0.5], [2.0, np.nan], [3.0, np.nan]])
        means = bootstrap_means(values)
        # The first image is in none of three draws.
        assert np.isnan(means[:, 1]).mean() == pytest.approx((2 / 3) ** 3, abs=0.02)
        assert np.isfinite(means[:, 0]).all()
        assert confidence_intervals(values)[1] == (0.5, 0.5, 0.5, 1)

    @pytest.mark.parametrize("value", [True, False, 1.0, 0.0, 0.25])
    @pytest.mark.parametrize("n", [1, 2, 1000])
    def test_equal_values_have_an_interval_without_width(self, n, value):
        assert confidence_interval(np.full(n, value)) == (value, value, value, n)

    @pytest.mark.parametrize(
        "values", [np.zeros(0), np.zeros(0, bool), np.full(1, np.nan), np.full(300, np.nan)]
    )
    def test_no_image_that_counts_gives_no_number(self, values):
        assert str(confidence_interval(values)) == "Interval(value=nan, low=nan, high=nan, n=0)"
        assert str(statistic_interval(values[:, None], largest)).endswith("high=nan, n=0)")

    @pytest.mark.parametrize("n", [0, 1, 300])
    def test_no_columns_give_no_intervals(self, n):
        assert bootstrap_means(np.zeros((n, 0)), n_resamples=7).shape == (7, 0)
        assert bootstrap_means(np.zeros((n, 0), bool), n_resamples=7).shape == (7, 0)
        assert confidence_intervals(np.zeros((n, 0))) == []

    def test_what_cannot_be_is_refused(self):
        values = np.array([0.5, np.inf])
        with pytest.raises(ValueError, match=r"finite values or NaN, found inf at index \(1,\)"):
            confidence_interval(values)
        with pytest.raises(ValueError, match=r"found -inf at index \(0, 1\)"):
            bootstrap_means(-values[None])
        with pytest.raises(ValueError, match="at least 1 resample, found 0"):
            bootstrap_means(values[:1, None], n_resamples=0)
        for level in (0.0, 1.0, 95.0, float("nan")):
            with pytest.raises(ValueError, match=r"level in \(0, 1\), found"):
                confidence_interval(values[:1], level=level)

    def test_wrong_shapes_are_refused(self):
        # Without the checks of the tests, as everybody else calls them.
        with pytest.raises(ValueError, match=r"\(images,\), found shape \(2, 3\)"):
            inspect.unwrap(confidence_interval)(np.zeros((2, 3)))
        with pytest.raises(ValueError, match=r"\(images, columns\), found shape \(2,\)"):
            inspect.unwrap(bootstrap_means)(np.zeros(2))


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
        found = statistic_interval(hits, largest)
        assert found.value == hits.mean(axis=0).max()
        assert found.n == 300
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * error + 1 / 300)

    def test_a_statistic_may_compare_methods(self):
        first, second = curves(500, 40, seed=1), curves(500, 40, seed=2)

        def gain(means):
            return largest(means[:, :40]) - largest(means[:, 40:])

        found = bootstrap_statistic(np.concatenate([first, second], axis=1), gain)
        separate = [bootstrap_means(both, seed=0).max(axis=1) for both in (first, second)]
        assert np.allclose(found, separate[0] - separate[1], atol=1e-12)

    def test_a_column_is_its_own_maximum(self):
        values = np.random.default_rng(0).random(300)
        assert statistic_interval(values[:, None], largest) == confidence_interval(values)

    def test_images_that_count_in_some_column_count(self):
        values = np.array([[1.0, np.nan], [np.nan, np.nan], [0.5, 2.0]])
        found = statistic_interval(values, largest)
        assert (found.value, found.n) == (2.0, 2)

    def test_a_statistic_gives_a_number_a_row(self):
        with pytest.raises(ValueError, match=r"shape \(100,\) for means of shape \(100, 4\)"):
            bootstrap_statistic(curves(9, 4), lambda means: means[:50, 0], n_resamples=100)


def hits_of(n01, n10, both=0, neither=0):
    pairs = [(False, True)] * n01 + [(True, False)] * n10
    pairs += [(True, True)] * both + [(False, False)] * neither
    first, second = np.array(pairs, bool).reshape(-1, 2).T
    return np.ascontiguousarray(first), np.ascontiguousarray(second)


class TestMcNemar:
    @pytest.mark.parametrize(
        ("n01", "n10", "p"),
        [
            (0, 1, 1.0),
            (0, 5, 2 / 2**5),
            (5, 0, 2 / 2**5),
            (1, 9, 2 * (1 + 10) / 2**10),
            (10, 2, 2 * (1 + 12 + 66) / 2**12),
            (3, 3, 1.0),
            (4, 5, 1.0),
        ],
    )
    def test_by_hand(self, n01, n10, p):
        found = mcnemar_exact(*hits_of(n01, n10, both=7, neither=2))
        assert found.p == pytest.approx(p, rel=1e-12)
        assert found.p <= 1
        assert (found.n, found.n01, found.n10) == (n01 + n10 + 9, n01, n10)
        assert found.difference == pytest.approx((n10 - n01) / found.n)
        assert found.odds_ratio == (n10 / n01 if n01 else math.inf)

    @given(st.integers(0, 300), st.integers(0, 300))
    def test_equals_the_sum_of_binomial_coefficients(self, n01, n10):
        """The sum is one of whole numbers, which are exact."""
        found = mcnemar_exact(*hits_of(n01, n10, both=1))
        n = n01 + n10
        as_extreme = 2 * sum(math.comb(n, k) for k in range(min(n01, n10) + 1))
        exact = float(min(Fraction(1), Fraction(as_extreme, 2**n)))
        assert found.p == pytest.approx(exact, rel=1e-12, abs=1e-300)

    def test_of_as_many_images_as_imagenet_has(self):
        n01, n10 = 4900, 5100
        tail, term = 0, 1
        for k in range(n01 + 1):
            tail += term
            term = term * (n01 + n10 - k) // (k + 1)
        exact = float(Fraction(2 * tail, 2 ** (n01 + n10)))
        assert mcnemar_exact(*hits_of(n01, n10, both=40_000)).p == pytest.approx(exact, rel=1e-12)

    def test_the_difference_is_that_of_the_hit_rates(self):
        first, second = hits_of(30, 10, both=40, neither=20)
        found = mcnemar_exact(first, second)
        assert found.difference == pytest.approx(first.mean() - second.mean()) == -0.2

    def test_the_same_hits_are_no_difference(self):
        found = mcnemar_exact(*hits_of(0, 0, both=3, neither=4))
        assert found[:4] == (7, 0, 0, 0.0)
        assert math.isnan(found.odds_ratio)
        assert found.p == 1

    def test_no_images_are_no_test(self):
        found = mcnemar_exact(*hits_of(0, 0))
        assert found[:3] == (0, 0, 0)
        assert np.isnan(found[3:]).all()

    def test_what_are_not_hits_of_the_same_images_is_refused(self):
        unchecked = inspect.unwrap(mcnemar_exact)
        with pytest.raises(ValueError, match=r"found shapes \(1,\) and \(3,\)"):
            unchecked(np.ones(1, bool), np.ones(3, bool))
        with pytest.raises(ValueError, match=r"found shapes \(2, 2\) and \(2, 2\)"):
            unchecked(np.ones((2, 2), bool), np.ones((2, 2), bool))
        with pytest.raises(ValueError, match="dtype bool, found bool and float64"):
            unchecked(np.ones(3, bool), np.array([1, 0, np.nan]))


class TestPairedBootstrap:
    def test_difference_and_effect_by_hand(self):
        found = paired_bootstrap(np.array([0.3, 0.6, 0.5]), np.array([0.2, 0.4, 0.2]))
        assert found.n == 3
        assert found.difference == pytest.approx(0.2)
        assert found.effect_size == pytest.approx(0.2 / 0.1)

    def test_the_interval_is_that_of_the_differences(self):
        first, second = np.random.default_rng(0).random((2, 300))
        found = paired_bootstrap(first, second, level=0.8)
        alone = confidence_interval(first - second, level=0.8)
        assert (found.difference, found.low, found.high, found.n) == alone

    @pytest.mark.parametrize(
        "tenths", [[1, 1, 1, -1, 3], [1, -1, 0, 0, 1], [2, 2, 2, -1], [-3, 1, 0, 1, 1]]
    )
    def test_p_by_all_resamples(self, tenths):
        # In integers, where equal sums are equal; the differences below are rounded.
        tenths = np.array(tenths)
        sums = tenths[every_resample(len(tenths))].sum(axis=1)
        p = (abs(sums - tenths.sum()) >= abs(tenths.sum())).mean()
        second = np.array([0.3, 0.7, 0.1, 0.6, 0.4])[: len(tenths)]
        found = paired_bootstrap(second + tenths / 10, second, n_resamples=40_000)
        assert found.p == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 40_000) + 1 / 40_000)

    def test_p_is_near_that_of_the_t_test_where_images_are_many(self):
        rng = np.random.default_rng(0)
        for shift in (0.0, 0.005, 0.01, 0.02):
            first, second = rng.beta(2, 3, (2, 1000))
            first += shift
            oracle = scipy.stats.ttest_rel(first, second).pvalue
            assert paired_bootstrap(first, second).p == pytest.approx(oracle, abs=0.025)

    def test_errs_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        p = [
            paired_bootstrap(*rng.beta(2, 3, (2, 150)), n_resamples=999, seed=seed).p
            for seed in range(1000)
        ]
        # Three standard deviations.
        assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.021)
        assert np.mean(np.array(p) <= 0.5) == pytest.approx(0.5, abs=0.047)

    def test_swapping_the_methods_swaps_the_sign(self):
        first, second = np.random.default_rng(0).random((2, 300))
        one, other = paired_bootstrap(first, second), paired_bootstrap(second, first)
        assert (-one.difference, -one.high, -one.low, -one.effect_size) == pytest.approx(
            (other.difference, other.low, other.high, other.effect_size), abs=1e-12
        )
        assert one.p == other.p

    def test_p_is_never_0(self):
        second = np.random.default_rng(0).random(300)
        assert paired_bootstrap(second + 0.5, second, n_resamples=99).p == 1 / 100

    def test_no_difference_at_all(self):
        values = np.random.default_rng(0).random(300)
        found = paired_bootstrap(values, values)
        assert found[:4] == (300, 0, 0, 0)
        assert math.isnan(found.effect_size)
        assert found.p == 1

    def test_an_image_without_a_value_of_both_does_not_count(self):
        first, second = np.random.default_rng(0).random((2, 300))
        with_others = paired_bootstrap(
            np.concatenate([[np.nan, 0.3, np.nan], first]),
            np.concatenate([[0.7, np.nan, np.nan], second]),
        )
        assert with_others == paired_bootstrap(first, second)

    def test_hits_may_be_bool(self):
        first, second = hits_of(30, 10, both=40, neither=20)
        found = paired_bootstrap(first, second)
        assert found == paired_bootstrap(first.astype(float), second.astype(float))
        assert found.difference == pytest.approx(-0.2)

    @pytest.mark.parametrize("n", [0, 1])
    def test_too_few_images_are_no_test(self, n):
        found = paired_bootstrap(np.full(n, 0.5), np.full(n, 0.25))
        assert found.n == n
        assert np.isnan([found.p, found.effect_size]).all()
        assert str(found[1:4]) == str((0.25,) * 3 if n else (math.nan,) * 3)

    def test_seeds_decide(self):
        first, second = np.random.default_rng(0).random((2, 300))
        found = paired_bootstrap(first, second, seed=1)
        assert found == paired_bootstrap(first, second, seed=1)
        assert found != paired_bootstrap(first, second, seed=2)

    def test_what_are_not_values_of_the_same_images_is_refused(self):
        with pytest.raises(ValueError, match=r"found shapes \(1,\) and \(3,\)"):
            inspect.unwrap(paired_bootstrap)(np.ones(1), np.ones(3))
        with pytest.raises(ValueError, match="found inf"):
            paired_bootstrap(np.ones(2), np.array([1, np.inf]))


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


class TestPairedStatistic:
    """A number that is made of means, as a maximum over thresholds is."""

    def test_of_one_mean_is_the_paired_bootstrap(self):
        rng = np.random.default_rng(0)
        first, second = rng.random((2, 200))
        ours = paired_statistic(first[:, None], second[:, None], lambda means: means[:, 0])
        theirs = paired_bootstrap(first, second)
        assert ours[:4] == pytest.approx(theirs[:4], abs=1e-12)
        assert ours.p == theirs.p
        assert np.isnan(ours.effect_size)

    def test_of_a_maximum_is_that_of_resamples_drawn_one_by_one(self):
        rng = np.random.default_rng(1)
        first, second = (rng.random((300, 4)) < rng.uniform(0.3, 0.6, 4) for _ in range(2))

        def difference(one, other, axis):
            return one.mean(axis=axis).max(axis=0) - other.mean(axis=axis).max(axis=0)

        ours = paired_statistic(first, second, lambda means: means.max(axis=1))
        draws = rng.integers(300, size=(4000, 300))
        resampled = [difference(first[draw], second[draw], 0) for draw in draws]
        assert ours.difference == difference(first, second, 0)
        low, high = np.quantile(resampled, [0.025, 0.975])
        assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.01)
        as_large = np.abs(np.array(resampled) - ours.difference) >= abs(ours.difference)
        assert ours.p == pytest.approx(as_large.mean(), abs=0.03)

    def test_of_a_maximum_is_that_of_scipy(self):
        first, second = curves(300, 20, seed=1), curves(300, 20, seed=2)

        def difference(images, _):
            return first[images].mean(axis=0).max() - second[images].mean(axis=0).max()

        at = np.arange(300)
        oracle = scipy.stats.bootstrap(
            (at, at),
            difference,
            paired=True,
            vectorized=False,
            n_resamples=10_000,
            method="percentile",
            rng=1,
        )
        ours = paired_statistic(first, second, largest)
        assert ours.difference == difference(at, at)
        error = 0.15 * oracle.standard_error + 1 / 300
        assert (ours.low, ours.high) == pytest.approx(oracle.confidence_interval, abs=error)
        center = oracle.bootstrap_distribution - ours.difference
        as_large = np.abs(center) >= abs(ours.difference) - 1e-12
        assert ours.p == pytest.approx(as_large.mean(), abs=0.03)

    def test_of_methods_that_are_one_is_no_difference(self):
        hits = np.random.default_rng(0).random((50, 8)) < 0.5
        found = paired_statistic(hits, hits, lambda means: means.max(axis=1), n_resamples=100)
        assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)

    def test_of_different_images_is_an_error(self):
        with pytest.raises(ValueError, match="as many images, found 3 and 2"):
            paired_statistic(np.ones((3, 1)), np.ones((2, 1)), lambda means: means[:, 0])


def packed(hits):
    """Pack hits of shape (images, curves, thresholds)."""
    return Hits(np.packbits(hits, axis=2), hits.shape[2])


def swept(n, n_curves, thresholds, *, kind, seed):
    """Hits of images x curves x thresholds: of intervals, at random, or of few distinct images."""
    rng = np.random.default_rng(seed)
    shape = (n, n_curves, thresholds)
    if kind == "intervals":
        return curves(n * n_curves, thresholds, seed=seed).reshape(shape)
    if kind == "random":
        return rng.random(shape) < 0.5
    distinct = rng.random((2, *shape[1:])) < 0.5
    return distinct[rng.integers(0, 2, n)]


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
        first, second = (
            swept(n, n_curves, thresholds, kind=kind, seed=seed + more) for more in (0, 1)
        )
        flat = [hits.reshape(n, n_curves * thresholds) for hits in (first, second)]
        options = {"n_resamples": 20, "seed": seed}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(statistics, "_BLOCK", block)
            patch.setattr(statistics, "_FEW", few)
            assert np.array_equal(
                bootstrap_means(packed(first), **options),
                bootstrap_means(flat[0], **options),
                equal_nan=True,
            )
            ours = confidence_intervals(packed(first), **options)
            assert str(ours) == str(confidence_intervals(flat[0], **options))
            if not n_curves:  # there is no largest of nothing
                return
            assert np.array_equal(
                bootstrap_statistic(packed(first), largest, **options),
                bootstrap_statistic(flat[0], largest, **options),
                equal_nan=True,
            )
            one = statistic_interval(packed(first), largest, **options)
            assert str(one) == str(statistic_interval(flat[0], largest, **options))
            pair = paired_statistic(packed(first), packed(second), largest, **options)
            assert str(pair) == str(paired_statistic(*flat, largest, **options))

    def test_pairs_may_differ_in_their_thresholds(self):
        first, second = (swept(200, 2, t, kind="intervals", seed=t) for t in (20, 50))
        ours = paired_statistic(packed(first), packed(second), lambda means: means[:, 0])
        theirs = paired_statistic(
            first.reshape(200, -1), second.reshape(200, -1), lambda means: means[:, 0]
        )
        assert str(ours) == str(theirs)

    def test_curves_are_chosen_by_place(self):
        hits = swept(20, 4, 13, kind="random", seed=0)
        for chosen in (slice(1, 3), [2, 0], slice(-1, None)):
            found = packed(hits).curves(chosen)
            assert np.array_equal(found.unpacked(), hits[:, chosen].reshape(20, -1))
            assert found.shape == found.unpacked().shape

    # The matrix would be 48 MB, its differences as much again, as floats eight times as much. Of
    # random hits the sparse differences are 36 MB before they turn out to be too many.
    @pytest.mark.parametrize(("kind", "most"), [("intervals", 17e6), ("random", 44e6)])
    def test_are_never_unpacked_all_at_once(self, kind, most):
        pair = [packed(swept(20_000, 3, 400, kind=kind, seed=seed)) for seed in (0, 1)]
        paired_statistic(*pair, largest, n_resamples=1)
        tracemalloc.start()
        paired_statistic(*pair, largest, n_resamples=30)
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
        hits = swept(5, 1, 9, kind="random", seed=0)
        with pytest.raises(ValueError, match="packed hits of both methods or of neither"):
            paired_statistic(packed(hits), hits[:, 0], largest)


class TestTogether:
    """Many means resampled at once are those of each alone."""

    @pytest.fixture(params=[50, 1000])
    def columns(self, request):
        """Name columns of hits, of few and many distinct values, with and without missing ones."""
        rng = np.random.default_rng(0)
        n = request.param
        few = rng.random(n) < 0.1
        columns = {
            "hits": (rng.random(n) < 0.6).astype(float),
            "other_hits": (rng.random(n) < 0.5).astype(float),
            "none": np.zeros(n),
            "thirds": rng.integers(0, 4, n) / 3,
            **{f"real{index}": rng.random(n) for index in range(3)},
            "missing": np.where(few, np.nan, rng.random(n)),
            "missing_there_too": np.where(few, np.nan, rng.random(n)),
            "missing_elsewhere": np.where(few[::-1], np.nan, rng.random(n)),
        }
        return columns | {"difference": columns["real0"] - columns["real1"]}

    def test_intervals_and_differences(self, columns):
        resampler = Resampler(n_resamples=200, seed=3)
        pairs = list(itertools.permutations(columns, 2))
        for values in columns.values():
            resampler.add(values)
        for first, second in pairs:
            resampler.add_pair(columns[first], columns[second])
        waiting, done = len(resampler), []
        resampler.run(done.append)
        assert sum(done) == waiting
        assert len(resampler) == 0
        for values in columns.values():
            alone = confidence_interval(values, n_resamples=200, seed=3)
            assert resampler.interval(values) == pytest.approx(alone, rel=1e-12)
        for names in pairs:
            pair = [columns[name] for name in names]
            alone = paired_bootstrap(*pair, n_resamples=200, seed=3)
            found = resampler.paired_difference(*pair)
            assert found == pytest.approx(alone, rel=1e-12, abs=1e-14, nan_ok=True), names

    def test_the_difference_of_two_resampled_means_is_not_resampled(self, monkeypatch):
        resampled = []
        monkeypatch.setattr(
            statistics,
            "bootstrap_means",
            lambda values, **options: (
                resampled.append(values.shape[1]) or bootstrap_means(values, **options)
            ),
        )
        methods = np.random.default_rng(0).random((5, 500))
        resampler = Resampler(n_resamples=20)
        for values in methods:
            resampler.add(values)
            resampler.add_pair(values, methods[0])
        resampler.run()
        # The first method's difference to itself is 0 in all images.
        assert sorted(resampled) == [5]

    def test_more_methods_than_images(self):
        methods = np.random.default_rng(0).random((20, 12))
        resampler = Resampler(n_resamples=50_000)
        for values in methods:
            resampler.add_pair(values, methods[0])
        resampler.run()
        for values in methods[1:]:
            alone = paired_bootstrap(values, methods[0], n_resamples=50_000)
            found = resampler.paired_difference(values, methods[0])
            assert found == pytest.approx(alone, rel=1e-12, abs=1e-14)

    def test_differences_of_differences(self):
        first, second, third = np.random.default_rng(0).random((3, 500))
        resampler = Resampler(n_resamples=100)
        resampler.add_pair(first - second, third)
        resampler.add_pair(first, second)
        resampler.run()
        for pair in ((first - second, third), (first, second)):
            alone = paired_bootstrap(*pair, n_resamples=100)
            found = resampler.paired_difference(*pair)
            assert found == pytest.approx(alone, rel=1e-12, abs=1e-14)

    def test_differences_that_are_small_against_the_values(self):
        """Many resamples tie exactly with the mean; rounding of the large values decides none."""
        rng = np.random.default_rng(0)
        for n, n_other, least in ((63, 4, 1.0), (40, 4, 1.0), (63, 8, 1.0), (50, 1, 1e-5)):
            first = rng.integers(0, 200_000, n).astype(float) if least == 1 else rng.random(n)
            second = first.copy()
            second[:n_other] -= least
            resampler = Resampler()
            resampler.add_pair(first, second)
            resampler.run()
            found = resampler.paired_difference(first, second)
            assert found == pytest.approx(paired_bootstrap(first, second), rel=1e-12)

    def test_where_no_image_counts(self):
        nothing = np.full(3, np.nan)
        resampler = Resampler(n_resamples=10)
        resampler.add(nothing)
        resampler.add_pair(nothing, np.ones(3))
        resampler.run()
        assert resampler.interval(nothing) == pytest.approx((np.nan,) * 3 + (0,), nan_ok=True)
        alone = paired_bootstrap(nothing, np.ones(3), n_resamples=10)
        found = resampler.paired_difference(nothing, np.ones(3))
        assert found == pytest.approx(alone, nan_ok=True)

    def test_hits_as_flags(self):
        first, second = np.random.default_rng(0).random((2, 200)) < 0.5
        resampler = Resampler(n_resamples=10)
        resampler.add_pair(first, second)
        resampler.run()
        alone = paired_bootstrap(first, second, n_resamples=10)
        assert resampler.paired_difference(first, second) == pytest.approx(alone)
