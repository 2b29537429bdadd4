"""Bootstrap percentile intervals of means, and of numbers made of means."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from wsol_bench.statistics.bootstrap import N_RESAMPLES, resampled_means, resampled_numbers
from wsol_bench.statistics.columns import (
    Columns,
    PerImage,
    Statistic,
    apply_statistic,
    checked,
    count_values,
    means_of,
    sample_of,
)
from wsol_bench.statistics.hits import Hits

__all__ = [
    "LEVEL",
    "Interval",
    "confidence_interval",
    "confidence_intervals",
    "percentile_interval",
    "statistic_interval",
]

LEVEL = 0.95


class Interval(NamedTuple):
    """A number with its percentile interval; NaN if no image counts.

    Attributes:
        value: the number over all images that count, in the unit of the values.
        low: lower end of the interval.
        high: upper end of the interval.
        n: number of images that count.
    """

    value: float
    low: float
    high: float
    n: int


def confidence_interval(
    values: PerImage,
    *,
    level: float = LEVEL,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean of per-image values with its bootstrap percentile interval.

    The interval reaches from the ``(1 - level) / 2`` to the ``(1 + level) / 2`` quantile of the
    means of ``bootstrap_means`` (Efron & Tibshirani 1993, section 13.3). It has no width if all
    values are equal, as for a method that hits every image: the bootstrap knows no value that it
    has not seen.

    >>> confidence_interval(np.array([1.0, 0.0, 1.0, np.nan, 1.0] * 1000))
    Interval(value=0.75, low=0.7365, high=0.7635, n=4000)

    Args:
        values: hits or real values, shape (n,); NaN is an image that does not count.
        level: probability that the interval covers, in (0, 1).
        n_resamples: number of resamples, at least 1.
        seed: seed of the draws; equal seeds give equal resamples.

    Raises:
        ValueError: the values are not one an image or hold an infinite value, there are no
            resamples, or the level is outside (0, 1).
    """
    column = checked(values, 1)[:, None]
    return confidence_intervals(column, level=level, n_resamples=n_resamples, seed=seed)[0]


def confidence_intervals(
    values: Columns | Hits, *, level: float = LEVEL, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> list[Interval]:
    """``confidence_interval`` of every column, all from the same resamples.

    A resample without an image that counts in a column has no mean there, and is left out.

    Args:
        values: hits or real values; one row an image, one column a method or metric.
        level: probability that each interval covers, in (0, 1).
        n_resamples: number of resamples, at least 1.
        seed: seed of the draws; equal seeds give equal resamples.

    Raises:
        ValueError: the values are no matrix or hold an infinite value, there are no resamples, or
            the level is outside (0, 1).
    """
    sample = sample_of(values)
    resampled = np.concatenate(list(resampled_means(sample, n_resamples, seed)))
    return [
        percentile_interval(value, column, level, n)
        for value, column, n in zip(
            means_of(sample).tolist(), resampled.T, count_values(sample).tolist(), strict=True
        )
    ]


def statistic_interval(
    values: Columns | Hits,
    statistic: Statistic,
    *,
    level: float = LEVEL,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """A number made of column means, with its bootstrap percentile interval.

    A maximum of means is biased upwards, in a resample by about as much again as in the data, so
    the interval of a maximum over thresholds lies rather high if many thresholds are about as good.

    >>> hits = np.array([[True, True, False], [False, True, True]] * 500)
    >>> statistic_interval(hits, lambda means: means.max(axis=1))
    Interval(value=1.0, low=1.0, high=1.0, n=1000)

    Args:
        values: hits or real values; one row an image, one column a threshold, method or metric.
        statistic: function from means of shape (r, m) to numbers of shape (r,).
        level: probability that the interval covers, in (0, 1).
        n_resamples: number of resamples, at least 1.
        seed: seed of the draws; equal seeds give equal resamples.

    Returns:
        The interval; ``n`` is the number of images that count in at least one column.

    Raises:
        ValueError: see ``bootstrap_statistic``, or the level is outside (0, 1).
    """
    sample = sample_of(values)
    resampled = resampled_numbers(sample, statistic, n_resamples, seed)
    [value] = apply_statistic(statistic, means_of(sample)[None]).tolist()
    return percentile_interval(value, resampled, level, len(sample))


def percentile_interval(
    value: float, resampled: Float64[np.ndarray, " r"], level: float, n: int
) -> Interval:
    """The interval between two quantiles of a number in resamples.

    Args:
        value: the number over all images.
        resampled: the number in each resample; NaN is left out.
        level: probability that the interval covers, in (0, 1).
        n: number of images that count.

    Raises:
        ValueError: the level is outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level in (0, 1), found {level}")
    numbers = resampled[~np.isnan(resampled)]
    tail = (1 - level) / 2
    low, high = np.quantile(numbers, [tail, 1 - tail]) if len(numbers) else (np.nan, np.nan)
    return Interval(value, float(low), float(high), n)
