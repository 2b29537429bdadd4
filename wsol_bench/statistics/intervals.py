"""Confidence intervals of means, and of the difference of two hit rates: score intervals."""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from wsol_bench.statistics.columns import PerImage, without_missing

__all__ = ["LEVEL", "UNBOUNDED", "Interval", "hit_difference_interval", "mean_interval"]

LEVEL = 0.95
UNBOUNDED = (-np.inf, np.inf)
# A mean may lie outside of its bounds by this rounding error.
_SLACK = 1e-9
# Halvings of an interval of length 2 or less, after which its ends are neighboring floats.
_HALVINGS = 60


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

    The variance of values in [0, 1] with the mean mu is at most mu (1 - mu), of which the values
    have the share ``f = s^2 / (m (1 - m))``. The interval holds every mu that is at most
    ``q sqrt(f mu (1 - mu) / n)`` from their mean m:

        (m + q^2 / 2e -+ q sqrt(m (1 - m) / e + q^2 / 4e^2)) / (1 + q^2 / e),  e = n / f

    Hits have f = 1 and q of the normal distribution, which is Wilson's score interval (Journal of
    the American Statistical Association 22, 1927); f is 1, too, if all values are at one bound.
    For other values q is of Student's t distribution with n - 1 degrees of freedom, and s^2 has the
    denominator n - 1. Values without bounds have the interval ``m -+ q s / sqrt(n)``.

    >>> mean_interval(np.array([1.0, 0.0, 1.0, np.nan, 1.0]))
    Interval(value=0.75, low=0.300641842582402, high=0.9544127391902995, n=4)

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
    if n and not bounds[0] - _SLACK <= column.mean() <= bounds[1] + _SLACK:
        raise ValueError(
            f"expected a mean in [{bounds[0]:g}, {bounds[1]:g}], found {column.mean():g}"
        )
    if not n:
        return Interval(np.nan, np.nan, np.nan, 0)
    return _interval(column, bounds, (1 + level) / 2, bias)


def hit_difference_interval(n10: int, n01: int, n: int, *, level: float = LEVEL) -> Interval:
    """The difference of the hit rates of two methods on the same images, with its interval.

    It holds every difference d that the score test does not reject. With q the share of images that
    only the second method hits, as it is most likely if the difference is d,

        |n10 - n01 - n d| <= z sqrt(n (2 q + d (1 - d)))

    (Tango, Statistics in Medicine 17, 1998). Unlike d -+ z s / sqrt(n) it covers small samples, and
    it has a length if no image tells the methods apart.

    >>> _, low, high, _ = hit_difference_interval(1, 7, 21)
    >>> round(low, 3), round(high, 3)  # as Fagerland et al., Statistics in Medicine 33, 2014
    (-0.517, -0.026)

    Args:
        n10, n01: number of images that only the first, and only the second, method hits.
        n: number of images.
        level: probability that the interval covers, in (0, 1).

    Returns:
        The interval, in [-1, 1]; NaN without images.
    """
    if not n:
        return Interval(np.nan, np.nan, np.nan, 0)
    value, quantile = (n10 - n01) / n, NormalDist().inv_cdf((1 + level) / 2)

    def is_rejected(difference: float) -> bool:
        # q is the larger root of 2n q^2 + b q + c.
        b = (2 * n - n10 + n01) * difference - n10 - n01
        c = -n01 * difference * (1 - difference)
        share = ((b * b - 8 * n * c) ** 0.5 - b) / (4 * n)
        variance = n * max(2 * share + difference * (1 - difference), 0.0)
        return abs(n10 - n01 - n * difference) > quantile * variance**0.5

    ends = []
    for bound in (-1.0, 1.0):
        inside, outside = value, bound
        for _ in range(_HALVINGS if is_rejected(bound) else 0):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if is_rejected(middle) else (middle, outside)
        ends.append(inside if is_rejected(bound) else bound)
    low, high = ends
    return Interval(value, low, high, n)


def _interval(
    column: Float64[np.ndarray, " n"], bounds: tuple[float, float], tail: float, bias: float
) -> Interval:
    """``mean_interval`` of checked values, all of which count; ``tail`` is the upper quantile."""
    n, mean = len(column), float(column.mean())
    bounded = bool(np.isfinite(bounds).all())
    hits = bounded and bool(np.isin(column, bounds).all())
    if n == 1 and not hits:
        return Interval(mean, np.nan, np.nan, 1)
    quantile = NormalDist().inv_cdf(tail) if hits else _student_quantile(n - 1, tail)
    # Equal values may differ from their rounded mean.
    deviation = float(column.std(ddof=0 if hits else 1)) if np.ptp(column) > 0 else 0.0
    if not bounded:
        half = quantile * deviation / n**0.5
        return Interval(mean, mean - bias - half, mean - bias + half, n)
    width = bounds[1] - bounds[0]
    share = _within((mean - bounds[0]) / width)
    most = share * (1 - share)
    fraction = (deviation / width) ** 2 / most if most > 0 else 1.0
    center = _within((mean - bias - bounds[0]) / width)
    low, high = _score_interval(center, fraction * quantile**2 / n)
    return Interval(mean, bounds[0] + width * low, bounds[0] + width * high, n)


def _score_interval(share: float, square: float) -> tuple[float, float]:
    """Wilson's interval of a share, for ``square = q^2 / e``."""
    middle = share + square / 2
    half = (square * share * (1 - share) + square**2 / 4) ** 0.5
    return _within((middle - half) / (1 + square)), _within((middle + half) / (1 + square))


def _within(share: float) -> float:
    """The share, which rounding or a bias may have led out of [0, 1]."""
    return min(max(share, 0.0), 1.0)


def _student_quantile(degrees: int, p: float) -> float:
    from scipy.special import stdtrit  # a tenth of a second that few commands need

    return float(stdtrit(degrees, p))
