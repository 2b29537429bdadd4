"""Tests whether two methods differ on the same images: McNemar's test and the paired bootstrap."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from wsol_bench.statistics.bootstrap import N_RESAMPLES, bootstrap_means, resampled_numbers
from wsol_bench.statistics.columns import (
    PerImage,
    Statistic,
    Values,
    apply_statistic,
    check_pairs,
    checked,
    means_of,
    sample_of,
    side_by_side,
)
from wsol_bench.statistics.hits import Hits
from wsol_bench.statistics.intervals import LEVEL, percentile_interval

__all__ = [
    "McNemar",
    "PairedDifference",
    "difference_test",
    "differences",
    "mcnemar_exact",
    "paired_bootstrap",
    "paired_statistic",
    "without_missing",
]

# Two means of the same values in another order differ by less, relative to the largest value.
_ROUNDING = 1e-12


class McNemar(NamedTuple):
    """The result of McNemar's exact test of the hits of two methods on the same images.

    Attributes:
        n: number of images.
        n01: number of images that only the second method hits.
        n10: number of images that only the first method hits.
        difference: hit rate of the first minus that of the second, (n10 - n01) / n, in [-1, 1];
            NaN without images.
        odds_ratio: n10 / n01, in [0, inf]; NaN if both are 0.
        p: two-sided p value, in [0, 1]; 1 if the methods hit the same images, NaN without images.
    """

    n: int
    n01: int
    n10: int
    difference: float
    odds_ratio: float
    p: float


class PairedDifference(NamedTuple):
    """The result of the paired bootstrap of the values of two methods on the same images.

    Attributes:
        n: number of images with a value of both methods.
        difference: mean of first - second, in the unit of the values; NaN without images.
        low: lower end of its percentile interval.
        high: upper end of its percentile interval.
        effect_size: Cohen's d_z, mean over standard deviation (n - 1) of the differences; NaN if
            all differences are equal, or if the number is no mean.
        p: two-sided p value, in [1 / (1 + n_resamples), 1]; NaN for fewer than two images.
    """

    n: int
    difference: float
    low: float
    high: float
    effect_size: float
    p: float


def mcnemar_exact(first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"]) -> McNemar:
    """McNemar's test whether two methods hit equally many images, in its exact form.

    Only images that one method alone hits tell the methods apart. If neither method is better, each
    such image is hit by the first method with probability 1/2:
    ``p = min(1, 2 P(X <= min(n01, n10)))`` with ``X ~ Binomial(n01 + n10, 1/2)`` (McNemar,
    Psychometrika 12, 1947; the sign test, by ``scipy.stats.binomtest``).

    >>> first, second = np.array([True] * 8 + [False] * 2), np.array([False] * 7 + [True] * 3)
    >>> mcnemar_exact(first, second)
    McNemar(n=10, n01=2, n10=7, difference=0.5, odds_ratio=3.5, p=0.1796875)

    Args:
        first, second: hits of the two methods, shape (n,), in the same order of images.

    Raises:
        ValueError: the hits are not bool, or not one value an image of each method.
    """
    from scipy.stats import binomtest  # its import takes a second, which few commands need

    first, second = np.asarray(first), np.asarray(second)
    check_pairs(first, second)
    if first.dtype != bool or second.dtype != bool:
        # A cast to bool makes NaN a hit, so the caller, who knows the values, must cast.
        raise ValueError(f"expected hits of dtype bool, found {first.dtype} and {second.dtype}")
    n = len(first)
    n01, n10 = int((~first & second).sum()), int((first & ~second).sum())
    p = float(binomtest(n10, n01 + n10).pvalue) if n01 + n10 else 1.0
    return McNemar(
        n=n,
        n01=n01,
        n10=n10,
        difference=_ratio(n10 - n01, n),
        odds_ratio=_ratio(n10, n01),
        p=p if n else float("nan"),
    )


def paired_bootstrap(
    first: PerImage,
    second: PerImage,
    *,
    level: float = LEVEL,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """The mean difference of two methods on the same images, with its interval and test.

    With ``d = first - second`` and its mean ``d*`` in B resamples,
    ``p = (1 + #{|d* - mean(d)| >= |mean(d)|}) / (1 + B)``: how often chance alone, in differences
    moved to a mean of 0, gives a mean as large (Efron & Tibshirani 1993, section 16.4, not
    studentized). The data are one more resample, so p is never 0. The test is an approximation that
    needs some tens of images.

    Args:
        first, second: values of the two methods, shape (n,), in the same order of images; an image
            with NaN for either method does not count.
        level: probability that the interval covers, in (0, 1).
        n_resamples: number of resamples, at least 1.
        seed: seed of the draws; equal seeds give equal resamples.

    Raises:
        ValueError: the values are not one an image of each method or hold an infinite value, there
            are no resamples, or the level is outside (0, 1).
    """
    column = differences(first, second)
    resampled = bootstrap_means(column[:, None], n_resamples=n_resamples, seed=seed)[:, 0]
    return difference_test(column, resampled, level)


def paired_statistic(
    first: Values | Hits,
    second: Values | Hits,
    statistic: Statistic,
    *,
    level: float = LEVEL,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """``paired_bootstrap`` of a number made of column means, such as a maximum over thresholds.

    A choice that the statistic makes is made anew in each resample, for either method.

    Args:
        first, second: values of the two methods, one row an image, in the same order, one column a
            threshold; both packed, or neither.
        statistic: function from means of shape (r, m) to numbers of shape (r,).
        level: probability that the interval covers, in (0, 1).
        n_resamples: number of resamples, at least 1.
        seed: seed of the draws; equal seeds give equal resamples.

    Returns:
        The test; its effect size is NaN, since single images have no difference.

    Raises:
        ValueError: see ``bootstrap_statistic``, or the values are not one row an image of each
            method.
    """
    if len(first) != len(second):
        raise ValueError(
            f"expected values of the same images, found {len(first)} and {len(second)} images"
        )
    width = first.shape[1]

    def difference(means: Float64[np.ndarray, "r m"]) -> Float64[np.ndarray, " r"]:
        return np.asarray(statistic(means[:, :width]) - statistic(means[:, width:]))

    sample = sample_of(side_by_side(first, second))
    resampled = resampled_numbers(sample, difference, n_resamples, seed)
    [value] = apply_statistic(difference, means_of(sample)[None]).tolist()
    _, low, high, n = percentile_interval(value, resampled, level, len(sample))
    as_large = np.abs(resampled - value) >= abs(value) - _ROUNDING
    p = (1 + int(as_large.sum())) / (1 + n_resamples) if n > 1 else float("nan")
    return PairedDifference(n, value, low, high, float("nan"), p)


def differences(first: np.ndarray, second: np.ndarray) -> Float64[np.ndarray, " m"]:
    """``first - second``, over the images that count in both.

    Args:
        first, second: values of the same images, shape (n,); checked here.
    """
    first, second = (checked(values, 1).astype(np.float64) for values in (first, second))
    check_pairs(first, second)
    return without_missing(first - second)


def without_missing(values: PerImage) -> Float64[np.ndarray, " m"]:
    """The values of the images that count, as float64."""
    column = checked(values, 1).astype(np.float64)
    return column[~np.isnan(column)]


def difference_test(
    column: Float64[np.ndarray, " n"], resampled: Float64[np.ndarray, " r"], level: float
) -> PairedDifference:
    """Test two methods by the resampled means of their differences.

    Args:
        column: difference of each image, all of which count.
        resampled: mean difference in each resample.
        level: probability that the interval covers, in (0, 1).
    """
    n, n_resamples = len(column), len(resampled)
    [mean] = means_of(column[:, None]).tolist()
    _, low, high, _ = percentile_interval(mean, resampled, level, n)
    p = effect_size = float("nan")
    if n > 1:
        rounding = _ROUNDING * np.abs(column).max()
        as_large = np.abs(resampled - mean) >= abs(mean) - rounding
        p = (1 + int(as_large.sum())) / (1 + n_resamples)
        # Equal differences may differ from their rounded mean, so the deviation would not be 0.
        if np.ptp(column) > 0:
            effect_size = mean / float(column.std(ddof=1))
    return PairedDifference(n, mean, low, high, effect_size, p)


def _ratio(numerator: int, denominator: int) -> float:
    """Divide as floats do: 0 / 0 is NaN, 1 / 0 infinite."""
    if denominator:
        return numerator / denominator
    return float("inf") if numerator else float("nan")
