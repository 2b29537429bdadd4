"""How sure a number is: bootstrap intervals over images, paired tests between methods, Holm.

All of them see the images as drawn at random from many such images, and the network and the
protocol as fixed: they say nothing about another training run.

A bootstrap resample draws n of n images with replacement (Efron & Tibshirani, An Introduction to
the Bootstrap, 1993, chapter 6), so how often each image is in it is multinomial, and the means of
all columns follow from these counts by one matrix product. The counts are drawn exactly, by the
faster of two ways: where few rows of values are distinct (hits), a resample is as many binomial
numbers; elsewhere it is n draws of one random byte each.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, no_type_check

import numba
import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64, Real, UInt8

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "LEVEL",
    "N_RESAMPLES",
    "Hits",
    "Interval",
    "McNemar",
    "PairedDifference",
    "Resampler",
    "Statistic",
    "bootstrap_means",
    "bootstrap_statistic",
    "column_means",
    "confidence_interval",
    "confidence_intervals",
    "holm",
    "mcnemar_exact",
    "paired_bootstrap",
    "paired_statistic",
    "statistic_interval",
]

N_RESAMPLES = 10_000
LEVEL = 0.95

# What the two ways gain, in CPU seconds of 10,000 resamples on one thread. Random bytes take 0.03,
# 0.2 and 1.9 s for 500, 5,000 and 50,000 images: rng.multinomial(n, [1 / n] * n) takes 10 to 14
# times as long, np.bincount(rng.integers(0, n, n)) 5.5, 2.3 and 2 times. Distinct rows, means
# included, gain 3 to 5 times over random bytes where they are as many as they may be, and 18 to 110
# times where they are two, as of one column of hits.
#
# A binomial number takes about as long as this many drawn images.
_BINOMIAL = 64
# Numbers in memory at a time, for the counts of some resamples: 4 MB.
_CHUNK = 2**19
# Packed hits that are unpacked at a time: they stay in the processor's cache. As many as the second
# number are few, which are unpacked once for all, as 32 MB of floats.
_BLOCK = 2**18
_FEW = 2**22
# A number in a sparse product takes about as long as this many in a dense one.
_SPARSE = 16
# Two means of the same values in another order differ by less, relative to the largest value.
_ROUNDING = 1e-12

# Differences of means are subtracted where the largest difference is at least this share of the
# largest value: their rounding is then a hundred times less than _ROUNDING.
_COMPARABLE = 0.01

# Columns in one product, and resamples, in memory twice: of 50,000 images 50 and 26 MB.
_TOGETHER, _ROWS = 128, 32

Values: TypeAlias = Bool[np.ndarray, "..."] | Real[np.ndarray, "..."]
PerImage: TypeAlias = Bool[np.ndarray, " n"] | Real[np.ndarray, " n"]
Columns: TypeAlias = Bool[np.ndarray, "n m"] | Real[np.ndarray, "n m"]
Statistic: TypeAlias = Callable[[Float64[np.ndarray, "r m"]], Float64[np.ndarray, " r"]]


@dataclass(frozen=True, eq=False)
class Hits:
    """Hits of images on curves over thresholds, a bit each.

    They stand for the matrix of ``unpacked``, bit for bit in all numbers, and are never unpacked
    all at once: 50,000 images on six curves over 1,000 thresholds take 38 MB, and the matrix 300.

    >>> hits = np.array([[[True, False, False]], [[True, True, False]]])
    >>> statistic_interval(Hits(np.packbits(hits, axis=2), 3), lambda means: means.max(axis=1))
    Interval(value=1.0, low=1.0, high=1.0, n=2)

    Attributes:
        packed: a row an image, then a curve, then eight thresholds a byte, the first in the
            highest bit, as ``np.packbits(hits, axis=2)``. Bits behind the last threshold are 0.
        n_thresholds: of every curve.

    Raises:
        ValueError: other bytes than so many thresholds have, or a bit behind the last one.
    """

    packed: UInt8[np.ndarray, "n curves bytes"]
    n_thresholds: int

    def __post_init__(self) -> None:
        width = -(-self.n_thresholds // 8)
        if self.packed.ndim != 3 or self.packed.shape[2] != width:
            raise ValueError(
                f"expected hits of shape (images, curves, {width}) for {self.n_thresholds} "
                f"thresholds, found shape {self.packed.shape}"
            )
        behind = 8 * width - self.n_thresholds
        if behind and np.any(self.packed[:, :, -1] & (1 << behind) - 1):
            raise ValueError(f"expected no hit behind threshold {self.n_thresholds - 1}, found one")

    def __len__(self) -> int:
        return len(self.packed)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the matrix: images, and the thresholds of all curves side by side."""
        return len(self), self.packed.shape[1] * self.n_thresholds

    def curves(self, chosen: slice | Sequence[int]) -> "Hits":
        """The hits on some curves, in the order in which they are named."""
        return Hits(self.packed[:, chosen], self.n_thresholds)

    def __getitem__(self, rows: Int64[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> "Hits":
        """The hits of some images."""
        return Hits(self.packed[rows], self.n_thresholds)

    def where(self, kept: Bool[np.ndarray, " n"]) -> "Hits":
        """The hits of the images that are kept; the others miss at every threshold."""
        return Hits(np.where(kept[:, None, None], self.packed, np.uint8(0)), self.n_thresholds)

    def at(self, columns: Int64[np.ndarray, " c"]) -> Bool[np.ndarray, "n c"]:
        """Unpack some columns of the matrix."""
        curve, threshold = np.divmod(columns, self.n_thresholds)
        bits = self.packed[:, curve, threshold // 8] >> (7 - threshold % 8).astype(np.uint8)
        return (bits & 1).astype(np.bool_)

    def unpacked(self) -> Bool[np.ndarray, "n m"]:
        """The matrix: a row an image, a column a threshold, the curves side by side."""
        bits = np.unpackbits(self.packed, axis=2, count=self.n_thresholds)
        return bits.reshape(self.shape).view(np.bool_)


class Interval(NamedTuple):
    """A number with its percentile interval; NaN where no image counts.

    Attributes:
        value: the number over all images that count, in the unit of the values.
        low: lower end of the interval.
        high: upper end of the interval.
        n: images that count.
    """

    value: float
    low: float
    high: float
    n: int


class McNemar(NamedTuple):
    """The result of McNemar's exact test of the hits of two methods on the same images.

    Attributes:
        n: images.
        n01: images that only the second method hits.
        n10: images that only the first method hits.
        difference: hit rate of the first minus that of the second, (n10 - n01) / n, in [-1, 1];
            NaN without images.
        odds_ratio: n10 / n01, in [0, inf]; NaN where both are 0.
        p: two-sided, in [0, 1]; 1 where the methods hit the same images, NaN without images.
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
        n: images with a value of both methods.
        difference: mean of first - second, in the unit of the values; NaN without images.
        low: lower end of its percentile interval.
        high: upper end of its percentile interval.
        effect_size: Cohen's d_z, mean over standard deviation (n - 1) of the differences; NaN where
            all differences are equal, and of a number that is no mean.
        p: two-sided, in [1 / (1 + n_resamples), 1]; NaN for fewer than two images.
    """

    n: int
    difference: float
    low: float
    high: float
    effect_size: float
    p: float


@dataclass(frozen=True, eq=False)
class _Packed:
    """Hits of the same images, their columns side by side, as a matrix that is read in blocks."""

    parts: tuple[Hits, ...]

    def __len__(self) -> int:
        return len(self.parts[0])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), sum(part.shape[1] for part in self.parts)

    def __getitem__(self, images: slice | Int64[np.ndarray, " k"]) -> "_Packed":
        return _Packed(tuple(Hits(part.packed[images], part.n_thresholds) for part in self.parts))

    def unpacked(self) -> Bool[np.ndarray, "n m"]:
        return np.concatenate([part.unpacked() for part in self.parts], axis=1)

    def blocks(self) -> Iterator[Bool[np.ndarray, "_ m"]]:
        """The matrix, some rows at a time."""
        n, m = self.shape
        at_once = max(1, _BLOCK // max(m, 1))
        return (self[start : start + at_once].unpacked() for start in range(0, n, at_once))

    def bytes(self) -> UInt8[np.ndarray, "n _"]:
        """The rows as they are packed, in which they have the order of the matrix's."""
        flat = [part.packed.reshape(len(self), part.packed[0].size) for part in self.parts]
        return np.concatenate(flat, axis=1)


def bootstrap_means(
    values: Columns | Hits, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Float64[np.ndarray, "n_resamples m"]:
    """The mean of every column in every bootstrap resample of the images.

    ``mean*_rj = sum_i w_ri v_ij / sum_i w_ri [v_ij counts]`` with
    ``w_r ~ Multinomial(n; 1/n, ..., 1/n)`` (Efron & Tibshirani 1993, section 6.2). All columns see
    the same resamples, so that ``means[:, 0] - means[:, 1]`` is the bootstrap of a paired
    difference.

    NaN is an image that does not count in a column: it is in neither sum. An image that counts in
    no column is left out before n is counted, so it changes nothing at all.

    Hits (bool) cost by their changes from one column to the next: columns that are ordered, as hits
    at increasing thresholds are, cost little more than one. Memory does not grow with
    ``n_resamples`` but for the result.

    Args:
        values: a row an image, a column a method, metric or threshold; hits or real values, or
            packed ``Hits``.
        n_resamples: at least 1.
        seed: equal seeds give equal resamples.

    Returns:
        A row a resample; NaN where the resample holds no image that counts in the column.

    Raises:
        ValueError: not a matrix, an infinite value, or no resamples.
    """
    return _all_means(_sample(values), n_resamples, seed)


def bootstrap_statistic(
    values: Columns | Hits, statistic: Statistic, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Float64[np.ndarray, " n_resamples"]:
    """A number made of column means, in every bootstrap resample of the images.

    As ``bootstrap_means``, but the means are never in memory all at once. What the statistic
    chooses, it chooses anew in each resample: for MaxBoxAcc (Choe et al., CVPR 2020), the largest
    mean over thresholds, that is ``lambda means: means.max(axis=1)`` on hits of shape
    (images, thresholds). The difference of two methods takes the columns of both, side by side.

    Args:
        values: a row an image, a column a threshold, method or metric.
        statistic: from means of shape (r, m) to numbers of shape (r,).
        n_resamples: at least 1.
        seed: equal seeds give equal resamples.

    Raises:
        ValueError: as ``bootstrap_means``, or the statistic does not give a number a row.
    """
    return _all_numbers(_sample(values), statistic, n_resamples, seed)


def confidence_interval(
    values: PerImage,
    *,
    level: float = LEVEL,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean of per-image values with its bootstrap percentile interval.

    The interval reaches from the ``(1 - level) / 2`` to the ``(1 + level) / 2`` quantile of the
    means of ``bootstrap_means`` (Efron & Tibshirani 1993, section 13.3). It has no width where all
    values are equal, as for a method that hits every image: the bootstrap knows no value that it
    has not seen.

    >>> confidence_interval(np.array([1.0, 0.0, 1.0, np.nan, 1.0] * 1000))
    Interval(value=0.75, low=0.7365, high=0.7635, n=4000)

    Args:
        values: hits or real values; NaN is an image that does not count.
        level: in (0, 1).
        n_resamples: at least 1.
        seed: equal seeds give equal resamples.

    Raises:
        ValueError: not one value an image, an infinite value, no resamples, or a level outside
            (0, 1).
    """
    column = _checked(values, 1)[:, None]
    return confidence_intervals(column, level=level, n_resamples=n_resamples, seed=seed)[0]


def confidence_intervals(
    values: Columns | Hits, *, level: float = LEVEL, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> list[Interval]:
    """``confidence_interval`` of every column, all from the same resamples.

    A resample without an image that counts in a column has no mean there, and is left out.

    Args:
        values: a row an image, a column a method or metric.
        level: in (0, 1).
        n_resamples: at least 1.
        seed: equal seeds give equal resamples.

    Raises:
        ValueError: not a matrix, an infinite value, no resamples, or a level outside (0, 1).
    """
    sample = _sample(values)
    resampled = _all_means(sample, n_resamples, seed)
    return [
        _percentile_interval(value, column, level, n)
        for value, column, n in zip(
            _means(sample).tolist(), resampled.T, _counted(sample).tolist(), strict=True
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

    A maximum of means is biased upwards, in a resample by about as much again as in the data, so an
    interval of a maximum over thresholds lies rather high where many thresholds are about as good.

    >>> hits = np.array([[True, True, False], [False, True, True]] * 500)
    >>> statistic_interval(hits, lambda means: means.max(axis=1))
    Interval(value=1.0, low=1.0, high=1.0, n=1000)

    Args:
        values: a row an image, a column a threshold, method or metric.
        statistic: from means of shape (r, m) to numbers of shape (r,), as in
            ``bootstrap_statistic``.
        level: in (0, 1).
        n_resamples: at least 1.
        seed: equal seeds give equal resamples.

    Returns:
        n is the images that count in some column.

    Raises:
        ValueError: as ``bootstrap_statistic``, or a level outside (0, 1).
    """
    sample = _sample(values)
    resampled = _all_numbers(sample, statistic, n_resamples, seed)
    [value] = _apply(statistic, _means(sample)[None]).tolist()
    return _percentile_interval(value, resampled, level, len(sample))


def mcnemar_exact(first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"]) -> McNemar:
    """McNemar's test whether two methods hit equally many images, in its exact form.

    Only images that one method alone hits tell the methods apart; where neither is better each is
    the first's with probability 1/2: ``p = min(1, 2 P(X <= min(n01, n10)))`` with
    ``X ~ Binomial(n01 + n10, 1/2)`` (McNemar, Psychometrika 12, 1947; the sign test, by
    ``scipy.stats.binomtest``).

    >>> first, second = np.array([True] * 8 + [False] * 2), np.array([False] * 7 + [True] * 3)
    >>> mcnemar_exact(first, second)
    McNemar(n=10, n01=2, n10=7, difference=0.5, odds_ratio=3.5, p=0.1796875)

    Args:
        first, second: hits of the two methods, in the same order of images.

    Raises:
        ValueError: not bool, or not one value an image of each method.
    """
    from scipy.stats import binomtest  # its import takes a second, which few commands need

    first, second = np.asarray(first), np.asarray(second)
    _check_pairs(first, second)
    if first.dtype != bool or second.dtype != bool:
        # A NaN that became a bool is a hit, so the cast is left to who knows the values.
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
    """The mean difference of two methods on the same images, with interval and test.

    With ``d = first - second`` and its mean ``d*`` in B resamples,
    ``p = (1 + #{|d* - mean(d)| >= |mean(d)|}) / (1 + B)``: how often chance alone, in differences
    moved to a mean of 0, gives one as large (Efron & Tibshirani 1993, section 16.4, not
    studentized). The data are one more resample, so p is never 0. It is an approximation that wants
    some tens of images.

    Args:
        first, second: values of the two methods, in the same order of images; an image with a NaN
            of either does not count.
        level: of the interval, in (0, 1).
        n_resamples: at least 1.
        seed: equal seeds give equal resamples.

    Raises:
        ValueError: not one value an image of each method, an infinite value, no resamples, or a
            level outside (0, 1).
    """
    differences = _differences(first, second)
    resampled = bootstrap_means(differences[:, None], n_resamples=n_resamples, seed=seed)[:, 0]
    return _paired_difference(differences, resampled, level)


def paired_statistic(
    first: Values | Hits,
    second: Values | Hits,
    statistic: Statistic,
    *,
    level: float = LEVEL,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """``paired_bootstrap`` of a number made of column means, as a maximum over thresholds is.

    Whatever the statistic chooses it chooses anew in each resample, for either method.

    Args:
        first, second: a row an image, in the same order, a column a threshold; both packed, or
            neither.
        statistic: from means of shape (r, m) to numbers of shape (r,).
        level: of the interval, in (0, 1).
        n_resamples: at least 1.
        seed: equal seeds give equal resamples.

    Returns:
        The effect size is NaN: there is no difference of single images.

    Raises:
        ValueError: as ``bootstrap_statistic``, or not one row an image of each method.
    """
    if len(first) != len(second):
        raise ValueError(f"expected as many images, found {len(first)} and {len(second)}")
    width = first.shape[1]

    def difference(means: Float64[np.ndarray, "r m"]) -> Float64[np.ndarray, " r"]:
        return np.asarray(statistic(means[:, :width]) - statistic(means[:, width:]))

    sample = _sample(_beside(first, second))
    resampled = _all_numbers(sample, difference, n_resamples, seed)
    [value] = _apply(difference, _means(sample)[None]).tolist()
    _, low, high, n = _percentile_interval(value, resampled, level, len(sample))
    as_large = np.abs(resampled - value) >= abs(value) - _ROUNDING
    p = (1 + int(as_large.sum())) / (1 + n_resamples) if n > 1 else float("nan")
    return PairedDifference(n, value, low, high, float("nan"), p)


def holm(p: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
    """P values adjusted for their number: Holm's step-down of Bonferroni.

    ``adjusted_(i) = max over j <= i of min(1, (m - j + 1) p_(j))`` in increasing order of p (Holm,
    Scandinavian Journal of Statistics 6, 1979). To reject where it is at most alpha errs anywhere
    with probability alpha at most, however the tests depend on each other.

    >>> holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    array([0.03, 0.06,  nan, 0.06, 0.02])

    Args:
        p: in [0, 1]; NaN is a test that was not made.

    Returns:
        In the order of p; NaN stays NaN and does not count in m.

    Raises:
        ValueError: not a list of values, or a value outside [0, 1].
    """
    values = np.asarray(p, np.float64)
    if values.ndim != 1:
        raise ValueError(f"expected p values of shape (m,), found shape {values.shape}")
    outside = values[(values < 0) | (values > 1)]
    if len(outside):
        raise ValueError(f"expected p values in [0, 1], found {outside[0]}")
    # NaN is sorted to the end.
    order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]
    steps = np.minimum(1.0, np.arange(len(order), 0, -1) * values[order])
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted


def _checked(values: Values, ndim: int) -> Values:
    """The values as bool or float64, if there are such."""
    array = np.asarray(values)
    if array.ndim != ndim:
        shape = "(images,)" if ndim == 1 else "(images, columns)"
        raise ValueError(f"expected values of shape {shape}, found shape {array.shape}")
    if array.dtype == bool:
        return array
    array = array.astype(np.float64, copy=False)
    infinite = np.argwhere(np.isinf(array))
    if len(infinite):
        where = tuple(infinite[0].tolist())
        raise ValueError(f"expected finite values or NaN, found {array[where]} at index {where}")
    return array


def _sample(values: Values | Hits | _Packed) -> Values | _Packed:
    """The images that count in some column."""
    if isinstance(values, Hits):
        values = _Packed((values,))
    if isinstance(values, _Packed):
        return values if values.shape[1] else values[:0]
    checked = _checked(values, 2)
    counts = np.count_nonzero(~np.isnan(checked), axis=1) > 0
    return checked if counts.all() else checked[counts]


def _beside(first: Values | Hits, second: Values | Hits) -> Values | _Packed:
    """The columns of both, side by side."""
    if isinstance(first, Hits) and isinstance(second, Hits):
        return _Packed((first, second))
    if isinstance(first, Hits) or isinstance(second, Hits):
        raise ValueError("expected packed hits of both methods or of neither")
    return np.concatenate([first, second], axis=1)


def _check_pairs(first: Values, second: Values) -> None:
    """One value an image of both methods; an array of one would be broadcast without a word."""
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            "expected a value of each method for the same images, shape (images,), "
            f"found shapes {first.shape} and {second.shape}"
        )


def _apply(statistic: Statistic, means: Float64[np.ndarray, "r m"]) -> Float64[np.ndarray, " r"]:
    numbers = np.asarray(statistic(means), np.float64)
    if numbers.shape != means.shape[:1]:
        raise ValueError(
            f"expected a statistic that gives a number a row, shape {means.shape[:1]} for means "
            f"of shape {means.shape}, found shape {numbers.shape}"
        )
    return numbers


def _percentile_interval(
    value: float, resampled: Float64[np.ndarray, " r"], level: float, n: int
) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"expected a level in (0, 1), found {level}")
    known = resampled[~np.isnan(resampled)]
    tail = (1 - level) / 2
    low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (np.nan, np.nan)
    return Interval(value, float(low), float(high), n)


def _ratio(numerator: int, denominator: int) -> float:
    """Divide as floats do: 0 / 0 is NaN, 1 / 0 infinite."""
    if denominator:
        return numerator / denominator
    return float("inf") if numerator else float("nan")


def _means(values: Columns | _Packed) -> Float64[np.ndarray, " m"]:
    sums: Float64[np.ndarray, " m"]
    if isinstance(values, _Packed):
        sums = np.zeros(values.shape[1])
        for block in values.blocks():
            sums += np.count_nonzero(block, axis=0)
    else:
        sums = values.sum(axis=0, where=~np.isnan(values), dtype=np.float64)
    return _divide(sums, _counted(values).astype(np.float64))


def _counted(values: Columns | _Packed) -> Int64[np.ndarray, " m"]:
    """Count the images that have a value in each column."""
    if isinstance(values, _Packed):
        n, m = values.shape
        return np.full(m, n)
    return np.count_nonzero(~np.isnan(values), axis=0)


def _divide(
    sums: Float64[np.ndarray, "*s"], counted: Float64[np.ndarray, "*s"]
) -> Float64[np.ndarray, "*s"]:
    """NaN where nothing was counted."""
    return np.divide(sums, counted, out=np.full(sums.shape, np.nan), where=counted > 0)


def _all_means(
    sample: Columns | _Packed, n_resamples: int, seed: int
) -> Float64[np.ndarray, "r m"]:
    return np.concatenate(list(_resampled_means(sample, n_resamples, seed)))


def _all_numbers(
    sample: Columns | _Packed, statistic: Statistic, n_resamples: int, seed: int
) -> Float64[np.ndarray, " r"]:
    resampled = _resampled_means(sample, n_resamples, seed)
    return np.concatenate([_apply(statistic, means) for means in resampled])


def _resampled_means(
    sample: Columns | _Packed, n_resamples: int, seed: int
) -> Iterator[Float64[np.ndarray, "r m"]]:
    """The rows of ``bootstrap_means``, as many at a time as memory is meant to hold."""
    if n_resamples < 1:
        raise ValueError(f"expected at least 1 resample, found {n_resamples}")
    rng = np.random.default_rng(seed)
    n, m = sample.shape
    if n == 0:
        yield np.full((n_resamples, m), np.nan)
        return
    alike = _alike(sample, n // _BINOMIAL)
    distinct = sample if alike is None else sample[alike.first]
    means_by = _weighted_means(distinct, n)
    at_once = min(n_resamples, max(1, _CHUNK // max(n, m)))
    # A product reads all values, however few resamples it is of.
    in_a_product = at_once * (max(1, _ROWS // at_once) if 1 < m <= _TOGETHER else 1)

    def draw(weights: Float64[np.ndarray, "r k"]) -> Float64[np.ndarray, "r k"]:
        for first in range(0, len(weights), at_once):
            some = weights[first : first + at_once]
            if alike is None:
                _draw(rng, some)
            else:
                some[:] = rng.multinomial(n, alike.sizes / n, size=len(some))
        return weights

    # Counts are drawn beside the product with those before. Two buffers for all of them: fresh
    # memory takes longer than what is written to it.
    starts = range(0, n_resamples, in_a_product)
    buffers = np.empty((min(2, len(starts)), min(n_resamples, in_a_product), len(distinct)))
    with ThreadPoolExecutor(1) as beside:
        drawn: deque[Future[Float64[np.ndarray, "r k"]]] = deque()
        for number, start in enumerate(starts):
            drawn.append(beside.submit(draw, buffers[number % 2, : n_resamples - start]))
            if number:
                yield means_by(drawn.popleft().result())
        yield means_by(drawn.popleft().result())


class _Alike(NamedTuple):
    """Images by their values: the index of one image a distinct row, and how many have it."""

    first: Int64[np.ndarray, " k"]
    sizes: Int64[np.ndarray, " k"]


def _alike(values: Columns | _Packed, most: int) -> _Alike | None:
    """Nothing where more than so many rows are distinct."""
    # A few rows show of most real values that too many are distinct, without sorting all.
    if most == 0 or len(np.unique(_keys(values[: 2 * most]))) > most:
        return None
    _, first, sizes = np.unique(_keys(values), return_index=True, return_counts=True)
    return _Alike(first, sizes) if len(sizes) <= most else None


def _keys(values: Columns | _Packed) -> np.ndarray:
    """Each row as bytes, where NaN equals NaN; hits are packed, in the order of the columns."""
    rows: np.ndarray
    if isinstance(values, _Packed):
        rows = values.bytes()
    elif values.dtype == bool:
        rows = np.packbits(values, axis=1)
    else:
        rows = np.ascontiguousarray(values)
    return rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0]


def _weighted_means(
    values: Columns | _Packed, n: int
) -> Callable[[Float64[np.ndarray, "r k"]], Float64[np.ndarray, "r m"]]:
    """Return a function from how often each of n draws took each row to the means of columns."""
    if isinstance(values, _Packed) or values.dtype == bool:
        blocks = values.blocks() if isinstance(values, _Packed) else iter([values])
        changes = _changes(blocks, values.shape[0] * values.shape[1] // _SPARSE)
        if changes is not None:
            return lambda weights: np.cumsum(weights @ changes, axis=1) / n
    if isinstance(values, _Packed):
        if values.shape[0] * values.shape[1] > _FEW:
            packed = values
            return lambda weights: _weighted_sums(packed, weights) / n
        values = values.unpacked()
    missing = np.isnan(values)
    if not missing.any():
        numbers = values.astype(np.float64, copy=False)
        return lambda weights: weights @ numbers / n
    zeros, counts = np.where(missing, 0.0, values), (~missing).astype(np.float64)
    return lambda weights: _divide(weights @ zeros, weights @ counts)


def _changes(blocks: Iterator[Bool[np.ndarray, "_ m"]], most: int) -> "csr_array | None":
    """The differences of each column to the one before; nothing where more than so many are not 0.

    Hits at ordered thresholds change a few times along a row: the sparse differences of the
    columns, summed up again, cost a small part of the product with all columns.
    """
    from scipy.sparse import csr_array, vstack  # a tenth of a second that few commands need

    found = []
    for block in blocks:
        steps: Int8[np.ndarray, "_ m"] = np.diff(block.view(np.int8), axis=1, prepend=np.int8(0))
        most -= int(np.count_nonzero(steps))
        if most < 0:
            return None
        found.append(csr_array(steps, dtype=np.float64))
    return vstack(found, format="csr") if len(found) > 1 else found[0]


def _weighted_sums(
    values: _Packed, weights: Float64[np.ndarray, "r k"]
) -> Float64[np.ndarray, "r m"]:
    """The product with all columns, unpacked once more each time."""
    sums = np.zeros((len(weights), values.shape[1]))
    start = 0
    for block in values.blocks():
        end = start + len(block)
        sums += weights[:, start:end] @ block.astype(np.float64)
        start = end
    return sums


def _draw(rng: np.random.Generator, weights: Float64[np.ndarray, "r n"]) -> None:
    """Draw how often each of n images is in each of r resamples of n images.

    Images stand in blocks. How many draws fall into each block is multinomial; inside a block all
    images are as likely, and its size is a power of two up to 256, so that the low bits of a random
    byte are such a draw without rounding or rejection.
    """
    r, n = weights.shape
    blocks = np.array([256] * (n >> 8) + [1 << bit for bit in range(8) if n >> bit & 1])
    draws = rng.multinomial(n, blocks / n, size=r)
    # Eight bytes of one 64-bit number.
    words = rng.integers(0, 2**64, size=(r, -(-n // 8)), dtype=np.uint64)
    _count_draws(words.view(np.uint8), draws, blocks, weights)


@no_type_check
@numba.njit(nogil=True, cache=True)
def _count_draws(random, draws, blocks, weights):
    counts = np.zeros(256, np.int32)  # of a block: they stay in the processor's nearest cache
    for resample in range(len(draws)):
        row, bytes_of = weights[resample], random[resample]
        start = 0
        drawn = 0
        for block in range(len(blocks)):
            size = blocks[block]
            counts[:size] = 0
            for draw in range(drawn, drawn + draws[resample, block]):
                counts[bytes_of[draw] & (size - 1)] += 1
            drawn += draws[resample, block]
            for image in range(size):
                row[start + image] = counts[image]
            start += size


def column_means(columns: Columns | Hits) -> Float64[np.ndarray, " m"]:
    """The mean of each column over the images that count in it; NaN where none does."""
    return _means(_sample(columns))


class Resampler:
    """Intervals and paired tests of many means, resampled at once.

    Columns in which the same number of images count, and of which many values are distinct, share
    their resamples in one matrix product: the counts of a resample are drawn once for all of them.
    Each has the interval that ``confidence_interval`` gives it alone, to the rounding of the
    product. Where the difference of two of them is asked for, and is not small against them, its
    means are the differences of their means, and cost nothing.

    Args:
        level: of the intervals, in (0, 1).
        n_resamples: at least 1.
        seed: equal seeds give equal resamples.
    """

    def __init__(
        self, *, level: float = LEVEL, n_resamples: int = N_RESAMPLES, seed: int = 0
    ) -> None:
        self._level = level
        self._n_resamples = n_resamples
        self._seed = seed
        self._waiting: dict[_Key, Float64[np.ndarray, " n"]] = {}
        self._pairs: dict[_Key, tuple[_Key, _Key]] = {}
        self._means: dict[_Key, Float64[np.ndarray, " r"]] = {}

    def __len__(self) -> int:
        """Columns that wait to be resampled."""
        return len(self._waiting)

    def add(self, values: PerImage) -> None:
        """Let the mean of a column be resampled; NaN is an image that does not count."""
        self._add(_without_missing(values))

    def add_pair(self, first: PerImage, second: PerImage) -> None:
        """Let the mean of first - second be resampled, over the images that count in both."""
        column = _differences(first, second)
        key = self._add(column)
        one, other = _without_missing(first), _without_missing(second)
        # Rounding of large values must not decide which small differences are as large as others.
        largest = max(np.abs(one).max(initial=0), np.abs(other).max(initial=0))
        comparable = np.abs(column).max(initial=0) >= _COMPARABLE * largest
        if comparable and np.array_equal(np.isnan(first), np.isnan(second)):
            self._pairs[key] = (self._add(one), self._add(other))

    def run(self, advance: Callable[[int], object] = lambda n: None) -> None:
        """Resample all that wait.

        Args:
            advance: called with the number of columns done since the last call.
        """
        distinct: dict[_Key, Float64[np.ndarray, " n"]] = {}
        for key, column in self._waiting.items():
            if isinstance(key, _OfHits):
                self._means[key] = self._resampled_hits(key)
            elif _alike(column[:, None], len(column) // _BINOMIAL) is None:
                distinct[key] = column
                continue
            else:  # a few distinct values cost next to nothing by themselves
                self._means[key] = self._resampled(column[:, None])[:, 0]
            advance(1)
        subtracted = {key for pair in self._pairs.values() for key in pair}
        together: dict[int, list[_Key]] = {}
        differences = []
        for key, column in distinct.items():
            pair = self._pairs.get(key, ())
            if pair and distinct.keys() >= set(pair) and key not in subtracted:
                differences.append(key)
            else:
                together.setdefault(len(column), []).append(key)
        for n, keys in together.items():
            # How a column is resampled depends on the others where these are more than the images.
            at_once = max(1, min(_TOGETHER, n))
            for start in range(0, len(keys), at_once):
                some = keys[start : start + at_once]
                columns = np.column_stack([distinct[key] for key in some])
                for key, means in zip(some, self._resampled(columns).T, strict=True):
                    self._means[key] = means.copy()
                advance(len(some))
        for key in differences:
            first, second = self._pairs[key]
            self._means[key] = self._means[first] - self._means[second]
            advance(1)
        self._waiting.clear()
        self._pairs.clear()

    def interval(self, values: PerImage) -> Interval:
        """``confidence_interval`` of a column that was added."""
        column = _without_missing(values)
        [value] = _means(column[:, None]).tolist()
        return _percentile_interval(value, self._means[_key(column)], self._level, len(column))

    def paired_difference(self, first: PerImage, second: PerImage) -> PairedDifference:
        """Compute ``paired_bootstrap`` of two methods, which were added as a pair."""
        column = _differences(first, second)
        return _paired_difference(column, self._means[_key(column)], self._level)

    def _add(self, column: Float64[np.ndarray, " n"]) -> "_Key":
        key = _key(column)
        self._waiting[key] = column[:0] if isinstance(key, _OfHits) else column
        return key

    def _resampled_hits(self, hits: "_OfHits") -> Float64[np.ndarray, " r"]:
        """The resampled mean of a column of ones and zeros."""
        n, n_hits = hits
        if n_hits in (0, n):
            return np.full(self._n_resamples, n_hits / n)
        rng = np.random.default_rng(self._seed)
        sizes = np.array([n - n_hits, n_hits])
        return rng.multinomial(n, sizes / n, size=self._n_resamples)[:, 1] / n

    def _resampled(self, columns: Columns) -> Float64[np.ndarray, "r m"]:
        return bootstrap_means(columns, n_resamples=self._n_resamples, seed=self._seed)


class _OfHits(NamedTuple):
    """A column of ones and zeros, whose resampled mean depends on their numbers alone.

    Attributes:
        n: images that count.
        n_hits: ones among them.
    """

    n: int
    n_hits: int


# What tells columns apart: such counts, or a digest of the values.
_Key: TypeAlias = _OfHits | bytes


def _without_missing(values: PerImage) -> Float64[np.ndarray, " m"]:
    column = _checked(values, 1).astype(np.float64)
    return column[~np.isnan(column)]


def _differences(first: np.ndarray, second: np.ndarray) -> Float64[np.ndarray, " m"]:
    """Subtract second from first, over the images that count in both.

    Args:
        first, second: what should be ``PerImage`` of the same images, which is checked here.
    """
    one, other = (_checked(values, 1).astype(np.float64) for values in (first, second))
    _check_pairs(one, other)
    return _without_missing(one - other)


def _key(column: Float64[np.ndarray, " n"]) -> _Key:
    ones = np.count_nonzero(column == 1)
    if len(column) >= _BINOMIAL * 2 and ones == np.count_nonzero(column):
        return _OfHits(len(column), int(ones))
    return hashlib.sha256(column.tobytes()).digest()


def _paired_difference(
    differences: Float64[np.ndarray, " n"], resampled: Float64[np.ndarray, " r"], level: float
) -> PairedDifference:
    """Test two methods by the resampled means of their differences, all of which count."""
    n, n_resamples = len(differences), len(resampled)
    [mean] = _means(differences[:, None]).tolist()
    _, low, high, _ = _percentile_interval(mean, resampled, level, n)
    p = effect_size = float("nan")
    if n > 1:
        rounding = _ROUNDING * np.abs(differences).max()
        as_large = np.abs(resampled - mean) >= abs(mean) - rounding
        p = (1 + int(as_large.sum())) / (1 + n_resamples)
        # Equal differences may differ from their rounded mean, so the deviation would not be 0.
        if np.ptp(differences) > 0:
            effect_size = mean / float(differences.std(ddof=1))
    return PairedDifference(n, mean, low, high, effect_size, p)
