"""Confidence intervals of means: Wilson's score interval, for hits and for other bounded values."""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from wsol_bench.statistics.columns import PerImage, without_missing

__all__ = ["LEVEL", "UNBOUNDED", "Interval", "mean_interval"]

LEVEL = 0.95
UNBOUNDED = (-np.inf, np.inf)


class Interval(NamedTuple):
    """A number with its confidence interval; NaN if no image counts.

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


def mean_interval(
    values: PerImage,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    level: float = LEVEL,
    bias: float = 0.0,
) -> Interval:
    """The mean of per-image values with its confidence interval.

    The variance of values in [0, 1] with the mean mu is at most mu (1 - mu). The interval holds
    every mu whose distance to the mean m is at most ``q sqrt(f mu (1 - mu) / n)``, where
    ``f = s^2 / (m (1 - m))`` is the share of that variance which the values have:

        (m + q^2 / 2e -+ q sqrt(m (1 - m) / e + q^2 / 4e^2)) / (1 + q^2 / e),  e = n / f

    Hits have f = 1 and q of the normal distribution, which is Wilson's score interval (Journal of
    the American Statistical Association 22, 1927); f is 1, too, if all values are at one bound.
    For other values q is of Student's t distribution with n - 1 degrees of freedom, and s^2 has the
    denominator n - 1. Values without bounds have the interval ``m -+ q s / sqrt(n)``. How often the
    intervals cover the truth is measured in results/benchmark_calibration.md.

    >>> mean_interval(np.array([1.0, 0.0, 1.0, np.nan, 1.0]))
    Interval(value=0.75, low=0.300641842582402, high=0.9544126391902995, n=4)

    Args:
        values: hits or real values, shape (n,); NaN is an image that does not count.
        bounds: the least and the greatest value that an image can have; the t interval unless both
            are finite.
        level: probability that the interval covers, in (0, 1).
        bias: how much higher the mean is expected to be than the number that it estimates; the
            interval is that of ``m - bias``.

    Returns:
        The interval. Its ends are NaN if no image counts, or one image whose value is no hit.

    Raises:
        ValueError: the values are not one an image or hold an infinite value, their mean is outside
            of the bounds, or the level is outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level in (0, 1), found {level}")
    column = without_missing(values)
    n = len(column)
    if not n:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(column.mean())
    least, greatest = bounds
    bounded = bool(np.isfinite(bounds).all())
    width = greatest - least if bounded else 1.0
    slack = 1e-9 * width
    if not least - slack <= mean <= greatest + slack:
        raise ValueError(f"expected a mean in [{least:g}, {greatest:g}], found {mean:g}")
    hits = bounded and bool(np.isin(column, bounds).all())
    if n == 1 and not hits:
        return Interval(mean, np.nan, np.nan, 1)
    tail = (1 + level) / 2
    quantile = NormalDist().inv_cdf(tail) if hits else _student_quantile(n - 1, tail)
    deviation = float(column.std(ddof=0 if hits else 1))
    if np.ptp(column) == 0:
        deviation = 0.0  # equal values may differ from their rounded mean
    if not bounded:
        half = quantile * deviation / n**0.5
        return Interval(mean, mean - bias - half, mean - bias + half, n)
    share = min(max((mean - least) / width, 0.0), 1.0)
    most = share * (1 - share)
    fraction = (deviation / width) ** 2 / most if most > 0 else 1.0
    center = min(max((mean - bias - least) / width, 0.0), 1.0)
    low, high = _score_interval(center, fraction * quantile**2 / n)
    return Interval(mean, least + width * low, least + width * high, n)


def _score_interval(share: float, square: float) -> tuple[float, float]:
    """Wilson's interval of a share, for ``square = q^2 / e``."""
    middle = share + square / 2
    half = np.sqrt(square * share * (1 - share) + square**2 / 4)
    # Where the share is 0 or 1, rounding must not leave [0, 1].
    low, high = (middle - half) / (1 + square), (middle + half) / (1 + square)
    return max(0.0, float(low)), min(1.0, float(high))


def _student_quantile(degrees: int, p: float) -> float:
    from scipy.special import stdtrit  # a tenth of a second that few commands need

    return float(stdtrit(degrees, p))
