"""Values of images as columns: their types and checks, and the mean of each column."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int64, Real

from wsol_bench.statistics.hits import Hits

__all__ = [
    "Columns",
    "PerImage",
    "Sample",
    "Statistic",
    "Values",
    "apply_statistic",
    "check_pairs",
    "checked",
    "column_means",
    "count_values",
    "divide",
    "means_of",
    "sample_of",
    "without_missing",
]

Values: TypeAlias = Bool[np.ndarray, "..."] | Real[np.ndarray, "..."]
PerImage: TypeAlias = Bool[np.ndarray, " n"] | Real[np.ndarray, " n"]
Columns: TypeAlias = Bool[np.ndarray, "n m"] | Real[np.ndarray, "n m"]
Sample: TypeAlias = Columns | Hits
Statistic: TypeAlias = Callable[[Float64[np.ndarray, "r m"]], Float64[np.ndarray, " r"]]


def column_means(columns: Columns | Hits) -> Float64[np.ndarray, " m"]:
    """The mean of each column over the images that count in it; NaN if none does."""
    return means_of(sample_of(columns))


def checked(values: Values, ndim: int) -> Values:
    """The values as bool or float64.

    Raises:
        ValueError: the array does not have ``ndim`` dimensions, or holds an infinite value.
    """
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


def check_pairs(first: Values, second: Values) -> None:
    """Require one value an image of both methods; numpy would broadcast a single value.

    Raises:
        ValueError: the shapes are not (images,) of the same number of images.
    """
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            "expected a value of each method for the same images, shape (images,), "
            f"found shapes {first.shape} and {second.shape}"
        )


def without_missing(values: Values) -> Float64[np.ndarray, " m"]:
    """The values of the images that count, as float64."""
    column = checked(values, 1).astype(np.float64)
    return column[~np.isnan(column)]


def sample_of(values: Values | Hits) -> Values | Hits:
    """The rows of the images that count in at least one column, checked.

    Raises:
        ValueError: the values are no matrix, or hold an infinite value.
    """
    if isinstance(values, Hits):
        return values if values.shape[1] else values[:0]
    matrix = checked(values, 2)
    counts = np.count_nonzero(~np.isnan(matrix), axis=1) > 0
    return matrix if counts.all() else matrix[counts]


def apply_statistic(
    statistic: Statistic, means: Float64[np.ndarray, "r m"]
) -> Float64[np.ndarray, " r"]:
    """The number that a statistic makes of each row of means.

    Raises:
        ValueError: the statistic does not return one number a row.
    """
    numbers = np.asarray(statistic(means), np.float64)
    if numbers.shape != means.shape[:1]:
        raise ValueError(
            f"expected a statistic that gives a number a row, shape {means.shape[:1]} for means "
            f"of shape {means.shape}, found shape {numbers.shape}"
        )
    return numbers


def means_of(sample: Sample) -> Float64[np.ndarray, " m"]:
    """The mean of each column of a sample; NaN if no image has a value in it."""
    sums: Float64[np.ndarray, " m"]
    if isinstance(sample, Hits):
        sums = np.zeros(sample.shape[1])
        for block in sample.blocks():
            sums += np.count_nonzero(block, axis=0)
    else:
        sums = sample.sum(axis=0, where=~np.isnan(sample), dtype=np.float64)
    return divide(sums, count_values(sample).astype(np.float64))


def count_values(sample: Sample) -> Int64[np.ndarray, " m"]:
    """The number of images that have a value in each column."""
    if isinstance(sample, Hits):
        n, m = sample.shape
        return np.full(m, n)
    return np.count_nonzero(~np.isnan(sample), axis=0)


def divide(
    sums: Float64[np.ndarray, "*s"], counts: Float64[np.ndarray, "*s"]
) -> Float64[np.ndarray, "*s"]:
    """``sums / counts``; NaN if nothing was counted."""
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
