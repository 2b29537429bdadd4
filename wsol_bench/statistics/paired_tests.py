"""Tests whether two methods differ on the same images: McNemar's test and the sign-flip test."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from wsol_bench.statistics.columns import PerImage, check_pairs, checked, without_missing
from wsol_bench.statistics.intervals import LEVEL, UNBOUNDED, mean_interval

__all__ = ["McNemar", "PairedDifference", "mcnemar_exact", "sign_flip_test"]

# Two sums of the same values in another order differ by less, relative to the largest value.
_ROUNDING = 1e-12
# All ways to choose the signs of so many differences are tried, and otherwise so many ways.
_FEW, _N_FLIPS = 16, 10_000
# The sum of so many differences is as good as normal: the kurtosis of its signs is -0.001.
_MANY = 2000


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
    """The result of the sign-flip test of the values of two methods on the same images.

    Attributes:
        n: number of images with a value of both methods.
        difference: mean of first - second, in the unit of the values; NaN without images.
        low: lower end of its t interval; NaN for fewer than two images.
        high: upper end of its t interval.
        effect_size: Cohen's d_z, mean over standard deviation (n - 1) of the differences; NaN if
            all differences are equal.
        p: two-sided p value, in [0, 1]; 1 if no image differs, NaN without images. It is at least
            2^(1 - k) if k images differ, so it cannot be below 0.05 if fewer than six do.
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


def sign_flip_test(
    first: PerImage, second: PerImage, *, level: float = LEVEL, seed: int = 0
) -> PairedDifference:
    """Test whether two methods are as good on the same images, by flipping signs of differences.

    If neither method is better, exchanging the two methods on any image is as likely as not to have
    happened, so every difference is as likely with the other sign (the permutation test for pairs;
    Fisher, The Design of Experiments, 1935, section 21). p is the share of the 2^n ways to choose
    the signs whose sum is at least as far from 0. Where differences need not be symmetric around 0,
    the test is valid for many images, since flips keep the sum of squares and so order the ways as
    Student's t does (Janssen, Statistics & Probability Letters 36, 1997).

    Images without a difference do not matter. p is the sum over all ways for up to 16 others, and
    from 10,000 random ways for more. It is that of a normal distribution of the same variance if
    ``(sum d^2)^2 / sum d^4``, the number of images that matter, is at least 2,000.

    >>> differences = np.array([0.1, 0.2, 0.4, 0.3, 0.2, 0.5])
    >>> sign_flip_test(differences, np.zeros(6)).p  # 2 of 64 ways
    0.03125

    Args:
        first, second: real values or hits of the two methods, shape (n,), in the same order; an
            image counts if neither is NaN.
        level: probability that the t interval of the difference covers, in (0, 1).
        seed: seed of the random ways.

    Raises:
        ValueError: the values are not one an image of each method or hold an infinite value, or the
            level is outside (0, 1).
    """
    first, second = (checked(values, 1).astype(np.float64) for values in (first, second))
    check_pairs(first, second)
    column = without_missing(first - second)
    mean, low, high, n = mean_interval(column, bounds=UNBOUNDED, level=level)
    if not n:
        return PairedDifference(0, mean, low, high, np.nan, np.nan)
    # Equal differences may differ from their rounded mean, so the deviation would not be 0.
    varies = n > 1 and np.ptp(column) > 0
    effect_size = mean / float(column.std(ddof=1)) if varies else float("nan")
    return PairedDifference(n, mean, low, high, effect_size, _sign_flip_p(column, seed))


def _sign_flip_p(differences: Float64[np.ndarray, " n"], seed: int) -> float:
    """The two-sided p value of ``sign_flip_test``."""
    column = differences[differences != 0]
    if not len(column):
        return 1.0
    column = column / np.abs(column).max()  # squares of squares of tiny differences would be 0
    total = abs(float(column.sum()))
    squares = column**2
    if squares.sum() ** 2 >= _MANY * (squares**2).sum():
        return math.erfc(total / math.sqrt(2 * squares.sum()))
    least = total - _ROUNDING * len(column)
    if len(column) <= _FEW:
        sums = column[:1]  # by symmetry one sign is fixed
        for difference in column[1:]:
            sums = np.concatenate([sums + difference, sums - difference])
        return float(np.mean(np.abs(sums) >= least))
    rng = np.random.default_rng(seed)
    n_bytes = -(-len(column) // 8)
    n_together = max(1, 2**22 // len(column))
    as_far = 0
    for start in range(0, _N_FLIPS, n_together):
        n_ways = min(n_together, _N_FLIPS - start)
        bits = rng.integers(0, 256, (n_ways, n_bytes), np.uint8)
        flipped = np.unpackbits(bits, axis=1, count=len(column)) @ column
        as_far += int((np.abs(2 * flipped - column.sum()) >= least).sum())
    return (1 + as_far) / (1 + _N_FLIPS)


def _ratio(numerator: int, denominator: int) -> float:
    """Divide as floats do: 0 / 0 is NaN, 1 / 0 infinite."""
    if denominator:
        return numerator / denominator
    return float("inf") if numerator else float("nan")
