"""Intervals and paired tests of many means, resampled at once."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float64

from wsol_bench.statistics.bootstrap import COLUMNS_TOGETHER, N_RESAMPLES, bootstrap_means
from wsol_bench.statistics.columns import Columns, PerImage, means_of
from wsol_bench.statistics.draws import BINOMIAL_COST, distinct_rows
from wsol_bench.statistics.intervals import LEVEL, Interval, percentile_interval
from wsol_bench.statistics.paired_tests import (
    PairedDifference,
    difference_test,
    differences,
    without_missing,
)

__all__ = ["Resampler"]

# The difference of two means is taken from their resampled means if the largest difference of an
# image is at least this share of the largest value: its rounding is then a hundred times less than
# what paired tests tolerate.
_COMPARABLE = 0.01


class _HitCounts(NamedTuple):
    """A column of ones and zeros, whose resampled mean depends on their numbers alone.

    Attributes:
        n: number of images that count.
        n_hits: number of ones among them.
    """

    n: int
    n_hits: int


# What identifies a column: its hit counts, or a digest of its values.
_Key: TypeAlias = _HitCounts | bytes


class Resampler:
    """Intervals and paired tests of many means, resampled at once.

    Add all columns and pairs, call ``run`` once, then ask for the intervals and tests.

    Columns that have the same number of counted images, and many distinct values, share their
    resamples in one matrix product: the counts of a resample are drawn once for all of them. Each
    has the interval that ``confidence_interval`` gives it alone, to the rounding of the product.
    The resampled means of a pair's difference are the differences of the pair's resampled means,
    at no cost, unless the differences are small against the values.

    Args:
        level: probability that the intervals cover, in (0, 1).
        n_resamples: number of resamples, at least 1.
        seed: seed of the draws; equal seeds give equal resamples.
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
        """Number of columns that wait to be resampled."""
        return len(self._waiting)

    def add(self, values: PerImage) -> None:
        """Add a column whose mean is resampled; NaN is an image that does not count."""
        self._add(without_missing(values))

    def add_pair(self, first: PerImage, second: PerImage) -> None:
        """Add the difference first - second, over the images that count in both."""
        column = differences(first, second)
        key = self._add(column)
        counted_first, counted_second = without_missing(first), without_missing(second)
        # Rounding of large values must not decide which of several small differences is larger.
        largest = max(
            np.abs(counted_first).max(initial=0),
            np.abs(counted_second).max(initial=0),
        )
        comparable = np.abs(column).max(initial=0) >= _COMPARABLE * largest
        if comparable and np.array_equal(np.isnan(first), np.isnan(second)):
            self._pairs[key] = (self._add(counted_first), self._add(counted_second))

    def run(self, advance: Callable[[int], object] = lambda n: None) -> None:
        """Resample all columns that wait.

        Args:
            advance: callback that is given the number of columns done since its last call.
        """
        distinct: dict[_Key, Float64[np.ndarray, " n"]] = {}
        for key, column in self._waiting.items():
            if isinstance(key, _HitCounts):
                self._means[key] = self._resampled_hits(key)
            elif distinct_rows(column[:, None], len(column) // BINOMIAL_COST) is None:
                distinct[key] = column
                continue
            else:  # a few distinct values cost next to nothing by themselves
                self._means[key] = self._resampled(column[:, None])[:, 0]
            advance(1)
        pair_members = {key for pair in self._pairs.values() for key in pair}
        by_length: dict[int, list[_Key]] = {}
        subtracted = []
        for key, column in distinct.items():
            pair = self._pairs.get(key, ())
            if pair and distinct.keys() >= set(pair) and key not in pair_members:
                subtracted.append(key)
            else:
                by_length.setdefault(len(column), []).append(key)
        for n, keys in by_length.items():
            # With more columns than images, a column's draws would depend on the other columns.
            n_together = max(1, min(COLUMNS_TOGETHER, n))
            for start in range(0, len(keys), n_together):
                together = keys[start : start + n_together]
                columns = np.column_stack([distinct[key] for key in together])
                for key, means in zip(together, self._resampled(columns).T, strict=True):
                    self._means[key] = means.copy()
                advance(len(together))
        for key in subtracted:
            first, second = self._pairs[key]
            self._means[key] = self._means[first] - self._means[second]
            advance(1)
        self._waiting.clear()
        self._pairs.clear()

    def interval(self, values: PerImage) -> Interval:
        """``confidence_interval`` of a column that was added."""
        column = without_missing(values)
        [value] = means_of(column[:, None]).tolist()
        return percentile_interval(value, self._means[_key(column)], self._level, len(column))

    def paired_difference(self, first: PerImage, second: PerImage) -> PairedDifference:
        """``paired_bootstrap`` of a pair that was added."""
        column = differences(first, second)
        return difference_test(column, self._means[_key(column)], self._level)

    def _add(self, column: Float64[np.ndarray, " n"]) -> _Key:
        key = _key(column)
        self._waiting[key] = column[:0] if isinstance(key, _HitCounts) else column
        return key

    def _resampled_hits(self, hits: _HitCounts) -> Float64[np.ndarray, " r"]:
        """The resampled mean of a column of ones and zeros."""
        n, n_hits = hits
        if n_hits in (0, n):
            return np.full(self._n_resamples, n_hits / n)
        rng = np.random.default_rng(self._seed)
        sizes = np.array([n - n_hits, n_hits])
        return rng.multinomial(n, sizes / n, size=self._n_resamples)[:, 1] / n

    def _resampled(self, columns: Columns) -> Float64[np.ndarray, "r m"]:
        return bootstrap_means(columns, n_resamples=self._n_resamples, seed=self._seed)


def _key(column: Float64[np.ndarray, " n"]) -> _Key:
    n_ones = np.count_nonzero(column == 1)
    if len(column) >= BINOMIAL_COST * 2 and n_ones == np.count_nonzero(column):
        return _HitCounts(len(column), int(n_ones))
    return hashlib.sha256(column.tobytes()).digest()
