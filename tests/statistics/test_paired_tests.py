"""Paired tests of two methods, against sums by hand, all possible signs, and scipy."""

import inspect
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from wsol_bench.statistics.paired_tests import mcnemar_exact, sign_flip_test


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


class TestSignFlips:
    def test_difference_and_effect_by_hand(self):
        result = sign_flip_test(np.array([0.3, 0.6, 0.5]), np.array([0.2, 0.4, 0.2]))
        assert result.n == 3
        assert result.difference == pytest.approx(0.2)
        assert result.effect_size == pytest.approx(0.2 / 0.1)
        assert result.p == 2 / 2**3

    def test_the_interval_is_that_of_the_t_test(self):
        first, second = np.random.default_rng(0).random((2, 30))
        result = sign_flip_test(first, second, level=0.8)
        oracle = scipy.stats.ttest_rel(first, second).confidence_interval(0.8)
        assert (result.low, result.high) == pytest.approx(oracle, rel=1e-12)

    @pytest.mark.parametrize(
        "tenths", [[1, 1, 1, -1, 3], [1, -1, 0, 0, 1], [2, 2, 2, -1], [-3, 1, 0, 1, 1], [0, 5, 0]]
    )
    def test_p_by_all_signs(self, tenths):
        # In integers, where equal sums are equal; the differences below are rounded.
        tenths = np.array(tenths)
        signs = np.array(list(itertools.product((-1, 1), repeat=len(tenths))))
        p = (abs(signs @ tenths) >= abs(tenths.sum())).mean()
        second = np.array([0.3, 0.7, 0.1, 0.6, 0.4])[: len(tenths)]
        result = sign_flip_test(np.round(second + tenths / 10, 1), second)
        assert result.p == sign_flip_test(tenths / 10, 0.0 * tenths).p == p

    # All ways, random ways, and the normal distribution.
    @pytest.mark.parametrize("n", [8, 16, 17, 40, 1500, 2500])
    def test_p_is_that_of_scipys_permutation_test(self, n):
        first, second = np.random.default_rng(n).beta(2, 3, (2, n))
        oracle = scipy.stats.permutation_test(
            (first - second,),
            lambda differences, axis: differences.mean(axis=axis),
            permutation_type="samples",
            n_resamples=20_000,
            vectorized=True,
            batch=1000,
            rng=1,
        ).pvalue
        error = math.sqrt(oracle * (1 - oracle) * (1 / 20_000 + (1 / 10_000 if n > 16 else 0)))
        assert sign_flip_test(first, second).p == pytest.approx(oracle, abs=4 * error + 1e-4)

    @pytest.mark.parametrize("n", [17, 40, 300])
    def test_of_hits_is_mcnemars_test(self, n):
        first, second = np.random.default_rng(0).random((2, n)) < 0.5
        exact = mcnemar_exact(first, second)
        result = sign_flip_test(first, second)
        assert result.difference == pytest.approx(exact.difference)
        assert result.p == pytest.approx(exact.p, abs=0.02)

    def test_p_is_near_that_of_the_t_test_where_images_are_many(self):
        rng = np.random.default_rng(0)
        for n in (1000, 5000):
            for shift in (0.0, 0.005, 0.01, 0.02):
                first, second = rng.beta(2, 3, (2, n))
                first += shift
                oracle = scipy.stats.ttest_rel(first, second).pvalue
                assert sign_flip_test(first, second).p == pytest.approx(oracle, abs=0.02)

    def test_a_few_large_differences_among_many_small_ones_decide(self):
        """3,000 images differ, and five matter: a normal distribution would say 0.025."""
        differences = np.concatenate([np.full(5, 1.0), np.full(3000, -1e-6)])
        assert sign_flip_test(differences, np.zeros(3005)).p == pytest.approx(2 / 2**5, abs=0.01)

    @pytest.mark.parametrize("n", [10, 50, 150])
    @pytest.mark.parametrize("share", [0.1, 1.0])
    def test_errs_as_often_as_it_says_at_most(self, n, share):
        rng = np.random.default_rng(n)
        p = []
        for seed in range(500):
            first, second = rng.beta(2, 3, (2, n))
            second = np.where(rng.random(n) < share, second, first)
            p.append(sign_flip_test(first, second, seed=seed).p)
        # Three standard deviations of a share in 500.
        for level in (0.05, 0.5):
            most = level + 3 * math.sqrt(level * (1 - level) / 500)
            assert np.mean(np.array(p) <= level) <= most
        if n * share >= 50:
            assert np.mean(np.array(p) <= 0.05) >= 0.021

    def test_swapping_the_methods_swaps_the_sign(self):
        first, second = np.random.default_rng(0).random((2, 300))
        one, other = sign_flip_test(first, second), sign_flip_test(second, first)
        assert (-one.difference, -one.high, -one.low, -one.effect_size) == pytest.approx(
            (other.difference, other.low, other.high, other.effect_size), abs=1e-12
        )
        assert one.p == other.p

    def test_the_unit_of_the_values_does_not_matter(self):
        first, second = np.random.default_rng(0).random((2, 300))
        for unit in (1e-100, 1e100):
            assert sign_flip_test(unit * first, unit * second).p == pytest.approx(
                sign_flip_test(first, second).p, rel=1e-2
            )

    def test_no_difference_at_all(self):
        values = np.random.default_rng(0).random(300)
        result = sign_flip_test(values, values)
        assert result[:4] == (300, 0, 0, 0)
        assert math.isnan(result.effect_size)
        assert result.p == 1

    def test_an_image_without_a_value_of_both_does_not_count(self):
        first, second = np.random.default_rng(0).random((2, 300))
        with_others = sign_flip_test(
            np.concatenate([[np.nan, 0.3, np.nan], first]),
            np.concatenate([[0.7, np.nan, np.nan], second]),
        )
        assert with_others == sign_flip_test(first, second)

    def test_too_few_images_tell_nothing(self):
        alone = sign_flip_test(np.full(1, 0.5), np.full(1, 0.25))
        assert (alone.n, alone.difference, alone.p) == (1, 0.25, 1)
        assert np.isnan([alone.low, alone.high, alone.effect_size]).all()
        nothing = sign_flip_test(np.zeros(0), np.zeros(0))
        assert nothing.n == 0 and np.isnan(nothing[1:]).all()
        for n in range(1, 6):
            assert sign_flip_test(np.ones(n), np.zeros(n)).p == 2.0 ** (1 - n) > 0.05

    def test_seeds_decide_where_ways_are_random(self):
        first, second = np.random.default_rng(0).random((2, 300))
        result = sign_flip_test(first, second, seed=1)
        assert result == sign_flip_test(first, second, seed=1)
        assert result.p != sign_flip_test(first, second, seed=2).p

    def test_what_are_not_values_of_the_same_images_is_refused(self):
        with pytest.raises(ValueError, match=r"found shapes \(1,\) and \(3,\)"):
            inspect.unwrap(sign_flip_test)(np.ones(1), np.ones(3))
        with pytest.raises(ValueError, match="found inf"):
            sign_flip_test(np.ones(2), np.array([1, np.inf]))
