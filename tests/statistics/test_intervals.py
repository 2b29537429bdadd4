"""Percentile intervals of means, against scipy and against known distributions."""

import inspect
import math

import numpy as np
import pytest
import scipy.stats
from resamples import largest, scipy_interval

from wsol_bench.statistics.bootstrap import bootstrap_means
from wsol_bench.statistics.intervals import (
    confidence_interval,
    confidence_intervals,
    statistic_interval,
)


class TestInterval:
    @pytest.mark.parametrize("n", [40, 300, 1000])
    def test_equals_scipy_on_real_values(self, n):
        values = np.random.default_rng(n).beta(2, 5, n)
        (low, high), error = scipy_interval(values, np.mean)
        result = confidence_interval(values)
        assert result.value == pytest.approx(values.mean())
        assert result.n == n
        # Two quantiles of 10,000 resamples each: 0.04 standard errors apart, or 4 times that.
        assert (result.low, result.high) == pytest.approx((low, high), abs=0.15 * error)

    def test_equals_scipy_at_another_level(self):
        values = np.random.default_rng(0).beta(2, 5, 300)
        (low, high), error = scipy_interval(values, np.mean, confidence_level=0.5)
        result = confidence_interval(values, level=0.5)
        assert (result.low, result.high) == pytest.approx((low, high), abs=0.1 * error)

    @pytest.mark.parametrize("n", [100, 6400])
    def test_a_resample_of_hits_is_a_binomial_number(self, n):
        hits = np.arange(n) < 0.3 * n
        result = confidence_interval(hits, n_resamples=40_000)
        exact = scipy.stats.binom.ppf([0.025, 0.975], n, 0.3) / n
        error = math.sqrt(0.3 * 0.7 / n)
        assert result.value == 0.3
        assert (result.low, result.high) == pytest.approx(exact, abs=0.08 * error + 1 / n)

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

    @pytest.mark.slow  # many simulations
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
