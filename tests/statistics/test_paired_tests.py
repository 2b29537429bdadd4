"""Paired tests of two methods, against sums by hand, all possible resamples, and scipy."""

import inspect
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from resamples import curves, every_resample, largest

from wsol_bench.statistics.intervals import confidence_interval
from wsol_bench.statistics.paired_tests import mcnemar_exact, paired_bootstrap, paired_statistic


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
        result = mcnemar_exact(*hits_of(n01, n10, both=7, neither=2))
        assert result.p == pytest.approx(p, rel=1e-12)
        assert result.p <= 1
        assert (result.n, result.n01, result.n10) == (n01 + n10 + 9, n01, n10)
        assert result.difference == pytest.approx((n10 - n01) / result.n)
        assert result.odds_ratio == (n10 / n01 if n01 else math.inf)

    @given(st.integers(0, 300), st.integers(0, 300))
    def test_equals_the_sum_of_binomial_coefficients(self, n01, n10):
        """The sum is one of whole numbers, which are exact."""
        result = mcnemar_exact(*hits_of(n01, n10, both=1))
        n = n01 + n10
        as_extreme = 2 * sum(math.comb(n, k) for k in range(min(n01, n10) + 1))
        exact = float(min(Fraction(1), Fraction(as_extreme, 2**n)))
        assert result.p == pytest.approx(exact, rel=1e-12, abs=1e-300)

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
        result = mcnemar_exact(first, second)
        assert result.difference == pytest.approx(first.mean() - second.mean()) == -0.2

    def test_the_same_hits_are_no_difference(self):
        result = mcnemar_exact(*hits_of(0, 0, both=3, neither=4))
        assert result[:4] == (7, 0, 0, 0.0)
        assert math.isnan(result.odds_ratio)
        assert result.p == 1

    def test_no_images_are_no_test(self):
        result = mcnemar_exact(*hits_of(0, 0))
        assert result[:3] == (0, 0, 0)
        assert np.isnan(result[3:]).all()

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
        result = paired_bootstrap(np.array([0.3, 0.6, 0.5]), np.array([0.2, 0.4, 0.2]))
        assert result.n == 3
        assert result.difference == pytest.approx(0.2)
        assert result.effect_size == pytest.approx(0.2 / 0.1)

    def test_the_interval_is_that_of_the_differences(self):
        first, second = np.random.default_rng(0).random((2, 300))
        result = paired_bootstrap(first, second, level=0.8)
        alone = confidence_interval(first - second, level=0.8)
        assert (result.difference, result.low, result.high, result.n) == alone

    @pytest.mark.parametrize(
        "tenths", [[1, 1, 1, -1, 3], [1, -1, 0, 0, 1], [2, 2, 2, -1], [-3, 1, 0, 1, 1]]
    )
    def test_p_by_all_resamples(self, tenths):
        # In integers, where equal sums are equal; the differences below are rounded.
        tenths = np.array(tenths)
        sums = tenths[every_resample(len(tenths))].sum(axis=1)
        p = (abs(sums - tenths.sum()) >= abs(tenths.sum())).mean()
        second = np.array([0.3, 0.7, 0.1, 0.6, 0.4])[: len(tenths)]
        result = paired_bootstrap(second + tenths / 10, second, n_resamples=40_000)
        assert result.p == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 40_000) + 1 / 40_000)

    def test_p_is_near_that_of_the_t_test_where_images_are_many(self):
        rng = np.random.default_rng(0)
        for shift in (0.0, 0.005, 0.01, 0.02):
            first, second = rng.beta(2, 3, (2, 1000))
            first += shift
            oracle = scipy.stats.ttest_rel(first, second).pvalue
            assert paired_bootstrap(first, second).p == pytest.approx(oracle, abs=0.025)

    @pytest.mark.slow  # many simulations
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
        result = paired_bootstrap(values, values)
        assert result[:4] == (300, 0, 0, 0)
        assert math.isnan(result.effect_size)
        assert result.p == 1

    def test_an_image_without_a_value_of_both_does_not_count(self):
        first, second = np.random.default_rng(0).random((2, 300))
        with_others = paired_bootstrap(
            np.concatenate([[np.nan, 0.3, np.nan], first]),
            np.concatenate([[0.7, np.nan, np.nan], second]),
        )
        assert with_others == paired_bootstrap(first, second)

    def test_hits_may_be_bool(self):
        first, second = hits_of(30, 10, both=40, neither=20)
        result = paired_bootstrap(first, second)
        assert result == paired_bootstrap(first.astype(float), second.astype(float))
        assert result.difference == pytest.approx(-0.2)

    @pytest.mark.parametrize("n", [0, 1])
    def test_too_few_images_are_no_test(self, n):
        result = paired_bootstrap(np.full(n, 0.5), np.full(n, 0.25))
        assert result.n == n
        assert np.isnan([result.p, result.effect_size]).all()
        assert str(result[1:4]) == str((0.25,) * 3 if n else (math.nan,) * 3)

    def test_seeds_decide(self):
        first, second = np.random.default_rng(0).random((2, 300))
        result = paired_bootstrap(first, second, seed=1)
        assert result == paired_bootstrap(first, second, seed=1)
        assert result != paired_bootstrap(first, second, seed=2)

    def test_what_are_not_values_of_the_same_images_is_refused(self):
        with pytest.raises(ValueError, match=r"found shapes \(1,\) and \(3,\)"):
            inspect.unwrap(paired_bootstrap)(np.ones(1), np.ones(3))
        with pytest.raises(ValueError, match="found inf"):
            paired_bootstrap(np.ones(2), np.array([1, np.inf]))


class TestPairedStatistic:
    """A number that is made of means, as a maximum over thresholds is."""

    def test_of_one_mean_is_the_paired_bootstrap(self):
        rng = np.random.default_rng(0)
        first, second = rng.random((2, 200))
        ours = paired_statistic(first[:, None], second[:, None], lambda means: means[:, 0])
        expected = paired_bootstrap(first, second)
        assert ours[:4] == pytest.approx(expected[:4], abs=1e-12)
        assert ours.p == expected.p
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
        result = paired_statistic(hits, hits, lambda means: means.max(axis=1), n_resamples=100)
        assert (result.difference, result.low, result.high, result.p) == (0, 0, 0, 1)

    def test_of_different_images_is_an_error(self):
        with pytest.raises(ValueError, match="values of the same images, found 3 and 2"):
            paired_statistic(np.ones((3, 1)), np.ones((2, 1)), lambda means: means[:, 0])
