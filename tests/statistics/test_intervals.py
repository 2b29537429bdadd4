"""Intervals of means, against scipy, against statsmodels' formulas by hand, and their coverage."""

import inspect
import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from wsol_bench.statistics.intervals import UNBOUNDED, hit_difference_interval, mean_interval


class TestHits:
    @pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
    @pytest.mark.parametrize(("n_hits", "n"), [(0, 1), (0, 50), (1, 3), (49, 50), (50, 50)])
    def test_have_wilsons_interval(self, n_hits, n, level):
        oracle = scipy.stats.binomtest(n_hits, n).proportion_ci(level, method="wilson")
        result = mean_interval(np.arange(n) < n_hits, level=level)
        assert (result.value, result.n) == (n_hits / n, n)
        assert (result.low, result.high) == pytest.approx(oracle, abs=1e-12)
        assert 0 <= result.low <= result.value <= result.high <= 1

    def test_errors_have_the_interval_of_the_hits(self):
        errors = np.random.default_rng(0).random(80) < 0.1
        ours, mirrored = mean_interval(errors), mean_interval(~errors)
        assert (ours.low, ours.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))

    def test_may_be_bool_or_numbers(self):
        hits = np.random.default_rng(0).random(80) < 0.9
        assert mean_interval(hits) == mean_interval(hits.astype(float))

    @pytest.mark.parametrize(("rate", "n"), [(0.6, 50), (0.9, 100), (0.98, 300), (0.98, 1000)])
    def test_cover_their_rate_as_often_as_the_interval_says(self, rate, n):
        """By the binomial distribution, without a draw."""
        covered = 0.0
        for n_hits, chance in enumerate(scipy.stats.binom.pmf(range(n + 1), n, rate).tolist()):
            _, low, high, _ = mean_interval(np.arange(n) < n_hits)
            covered += chance * (low <= rate <= high)
        assert 0.93 <= covered <= 0.97


class TestRealValues:
    def test_without_bounds_have_the_t_interval(self):
        values = np.random.default_rng(0).normal(3, 2, 12)
        oracle = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
        result = mean_interval(values, bounds=UNBOUNDED, level=0.9)
        assert (result.low, result.high) == pytest.approx(oracle, rel=1e-12)
        one_bound = mean_interval(values, bounds=(-20.0, np.inf), level=0.9)
        assert one_bound == result

    def test_far_from_their_bounds_have_the_t_interval(self):
        values = np.random.default_rng(0).normal(0.5, 0.01, 50)
        oracle = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
        result = mean_interval(values)
        assert (result.low, result.high) == pytest.approx(oracle, abs=2e-6)

    def test_hold_the_means_that_their_variance_does_not_refuse(self):
        """The two ends solve (m - mu)^2 = q^2 f mu (1 - mu) / n."""
        values = np.array([0.0, 0.2, 0.1, 0.9, 0.4])
        mean, variance = values.mean(), values.var(ddof=1)
        square = scipy.stats.t.ppf(0.975, 4) ** 2 * variance / (mean * (1 - mean)) / 5
        result = mean_interval(values)
        for end in (result.low, result.high):
            assert (mean - end) ** 2 == pytest.approx(square * end * (1 - end))

    @pytest.mark.parametrize("bounds", [(0.0, 9.0), (-3.0, 1.0)])
    def test_of_another_range_are_scaled(self, bounds):
        values = np.random.default_rng(0).beta(2, 5, 30)
        least, width = bounds[0], bounds[1] - bounds[0]
        result = mean_interval(least + width * values, bounds=bounds)
        expected = [least + width * end for end in mean_interval(values)[:3]]
        assert result[:3] == pytest.approx(expected)

    def test_stay_in_their_range_and_are_wide_if_all_are_at_its_end(self):
        for value in (0.0, 1.0):
            result = mean_interval(np.full(20, value))
            assert result == mean_interval(np.full(20, bool(value)))
            assert result.high - result.low == pytest.approx(0.16, abs=0.01)

    @pytest.mark.parametrize("value", [0.25, 0.1])
    @pytest.mark.parametrize("n", [2, 1000])
    def test_that_are_equal_have_an_interval_without_width(self, n, value):
        expected = pytest.approx((value, value, value, n), rel=1e-12)
        assert mean_interval(np.full(n, value)) == expected
        assert mean_interval(np.full(n, value), bounds=UNBOUNDED) == expected

    def test_of_one_image_have_no_interval(self):
        for bounds in ((0.0, 1.0), UNBOUNDED):
            assert str(mean_interval(np.array([0.5]), bounds=bounds)[:3]) == "(0.5, nan, nan)"

    @pytest.mark.parametrize("n", [50, 200])
    def test_cover_their_mean_as_often_as_the_interval_says(self, n):
        rng = np.random.default_rng(0)
        covered = 0
        for _ in range(2000):
            values = np.where(rng.random(n) < 0.15, 0.0, rng.beta(3, 2, n))
            _, low, high, _ = mean_interval(values)
            covered += low <= 0.85 * 0.6 <= high
        # Three standard deviations of a share of 0.95 in 2,000.
        assert covered / 2000 == pytest.approx(0.95, abs=0.015)

    def test_of_rare_events_have_an_interval_that_a_t_interval_is_too_narrow_for(self):
        """5% of the images have a value that is not 0."""
        rng = np.random.default_rng(0)
        covered = np.zeros(2)
        for _ in range(1000):
            values = np.where(rng.random(50) < 0.05, rng.random(50), 0.0)
            for which, bounds in enumerate(((0.0, 1.0), UNBOUNDED)):
                _, low, high, _ = mean_interval(values, bounds=bounds)
                covered[which] += low <= 0.025 <= high
        assert covered[0] > 880 > 820 > covered[1]


class TestInterval:
    def test_of_a_number_with_a_bias_is_around_the_number_without_it(self):
        values = np.random.default_rng(0).random(100) < 0.6
        result = mean_interval(values, bias=0.05)
        assert result.value == values.mean()
        centered = scipy.stats.binomtest(6, 10).proportion_ci(0.95, method="wilson")
        shifted = mean_interval(np.arange(100) < 100 * (values.mean() - 0.05))
        assert (result.low, result.high) == pytest.approx((shifted.low, shifted.high), rel=1e-3)
        assert result.high - result.low < centered.high - centered.low
        assert mean_interval(values, bounds=UNBOUNDED, bias=0.05).low == pytest.approx(
            mean_interval(values, bounds=UNBOUNDED).low - 0.05
        )
        # The bias cannot lead out of the range.
        assert mean_interval(values, bias=0.9)[1:3] == pytest.approx(
            mean_interval(np.zeros(100, bool))[1:3]
        )

    def test_an_image_that_does_not_count_changes_nothing(self):
        values = np.random.default_rng(0).random(200)
        with_others = np.full(500, np.nan)
        with_others[np.sort(np.random.default_rng(1).permutation(500)[:200])] = values
        assert mean_interval(with_others) == mean_interval(values)

    @pytest.mark.parametrize(
        "values", [np.zeros(0), np.zeros(0, bool), np.full(1, np.nan), np.full(300, np.nan)]
    )
    def test_no_image_that_counts_gives_no_number(self, values):
        assert str(mean_interval(values)) == "Interval(value=nan, low=nan, high=nan, n=0)"

    def test_what_cannot_be_is_refused(self):
        values = np.array([0.5, np.inf])
        with pytest.raises(ValueError, match=r"finite values or NaN, found inf at index \(1,\)"):
            mean_interval(values)
        for level in (0.0, 1.0, 95.0, math.nan):
            with pytest.raises(ValueError, match=r"level in \(0, 1\), found"):
                mean_interval(values[:1], level=level)
        with pytest.raises(ValueError, match=r"a mean in \[0, 1\], found 1.5"):
            mean_interval(np.array([1.0, 2.0]))
        # Without the checks of the tests, as everybody else calls it.
        with pytest.raises(ValueError, match=r"\(images,\), found shape \(2, 3\)"):
            inspect.unwrap(mean_interval)(np.zeros((2, 3)))


class TestHitDifferences:
    """Against a published table, a numeric maximum of the likelihood, and exact coverage."""

    def score(self, difference, n10, n01, n):
        """Rao's score statistic of a difference, at its most likely nuisance share."""

        def loss(q):
            shares = np.array([q + difference, q, 1 - 2 * q - difference])
            return -scipy.special.xlogy([n10, n01, n - n10 - n01], shares).sum()

        bounds = max(0.0, -difference), (1 - difference) / 2
        most_likely = scipy.optimize.minimize_scalar(
            loss, bounds=bounds, method="bounded", options={"xatol": 1e-14}
        ).x
        variance = (2 * most_likely + difference - difference**2) / n
        return ((n10 - n01) / n - difference) / variance**0.5

    def test_are_those_of_a_published_example(self):
        """Fagerland, Lydersen and Laake (Statistics in Medicine 33, 2014), table V."""
        _, low, high, _ = hit_difference_interval(1, 7, 21)
        assert (round(low, 3), round(high, 3)) == (-0.517, -0.026)

    @pytest.mark.parametrize("level", [0.5, 0.95])
    @pytest.mark.parametrize("counts", [(40, 20, 160), (2, 0, 8), (1, 30, 1000), (3, 3, 7)])
    def test_end_where_the_score_test_rejects(self, counts, level):
        value, low, high, n = hit_difference_interval(*counts, level=level)
        assert (value, n) == ((counts[0] - counts[1]) / counts[2], counts[2])
        quantile = scipy.stats.norm.ppf((1 + level) / 2)
        assert self.score(low, *counts) == pytest.approx(quantile, rel=1e-5)
        assert self.score(high, *counts) == pytest.approx(-quantile, rel=1e-5)

    def test_of_exchanged_methods_are_mirrored(self):
        _, low, high, _ = hit_difference_interval(5, 12, 40)
        assert hit_difference_interval(12, 5, 40)[1:3] == pytest.approx((-high, -low))

    def test_without_a_difference_have_a_length(self):
        """``|d| <= z^2 / (n + z^2)`` by hand, since q is then 0."""
        square = scipy.stats.norm.ppf(0.975) ** 2
        end = square / (60 + square)
        assert hit_difference_interval(0, 0, 60)[1:3] == pytest.approx((-end, end))

    @pytest.mark.parametrize("counts", [(9, 0, 9), (0, 9, 9), (1, 0, 1), (0, 0, 1)])
    def test_stay_within_the_possible_differences(self, counts):
        value, low, high, _ = hit_difference_interval(*counts)
        assert -1 <= low <= value <= high <= 1
        assert low < high

    def test_of_no_image_are_none(self):
        assert str(hit_difference_interval(0, 0, 0)[:3]) == "(nan, nan, nan)"

    @pytest.mark.parametrize("shares", [(0.1, 0.05), (0.3, 0.1), (0.02, 0.02)])
    def test_cover_as_often_as_they_say(self, shares, n=40):
        """By the multinomial distribution, without a draw."""
        covered = 0.0
        for n10 in range(n + 1):
            for n01 in range(n + 1 - n10):
                counts = [n10, n01, n - n10 - n01]
                chance = scipy.stats.multinomial.pmf(counts, n, [*shares, 1 - sum(shares)])
                if chance > 1e-9:
                    _, low, high, _ = hit_difference_interval(n10, n01, n)
                    covered += chance * (low <= shares[0] - shares[1] <= high)
        assert 0.93 <= covered <= 0.995  # conservative where hardly any image differs
