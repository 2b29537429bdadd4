"""The means of all columns in resamples, from how often each image was drawn.

The means of a resample are one matrix product of the counts and the values. Hits at ordered
thresholds change a few times along a row, so the product is made with their sparse differences.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, Int8

from wsol_bench.statistics.columns import Sample, divide
from wsol_bench.statistics.hits import Hits

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["weighted_means"]

# Packed hits up to this number are unpacked once, as 32 MB of floats.
_FEW = 2**22
# A number in a sparse product takes about as long as this many in a dense one.
_SPARSE = 16


def weighted_means(
    values: Sample, n: int
) -> Callable[[Float64[np.ndarray, "r k"]], Float64[np.ndarray, "r m"]]:
    """A function from the counts of each row in resamples to the means of the columns.

    Args:
        values: one row of values for each of the k rows that are counted.
        n: number of draws in a resample.
    """
    if isinstance(values, Hits) or values.dtype == bool:
        blocks = values.blocks() if isinstance(values, Hits) else iter([values])
        changes = _changes(blocks, values.shape[0] * values.shape[1] // _SPARSE)
        if changes is not None:
            return lambda weights: np.cumsum(weights @ changes, axis=1) / n
    if isinstance(values, Hits):
        if values.shape[0] * values.shape[1] > _FEW:
            packed = values
            return lambda weights: _weighted_sums(packed, weights) / n
        values = values.unpacked()
    missing = np.isnan(values)
    if not missing.any():
        numbers = values.astype(np.float64, copy=False)
        return lambda weights: weights @ numbers / n
    zeros, counts = np.where(missing, 0.0, values), (~missing).astype(np.float64)
    return lambda weights: divide(weights @ zeros, weights @ counts)


def _changes(blocks: Iterator[Bool[np.ndarray, "_ m"]], most: int) -> "csr_array | None":
    """The difference of each column to the one before; None if more than ``most`` are not 0.

    The sparse differences of the columns, summed up again, cost a small part of the product with
    all columns.
    """
    from scipy.sparse import csr_array, vstack  # a tenth of a second that few commands need

    differences = []
    for block in blocks:
        steps: Int8[np.ndarray, "_ m"] = np.diff(block.view(np.int8), axis=1, prepend=np.int8(0))
        most -= int(np.count_nonzero(steps))
        if most < 0:
            return None
        differences.append(csr_array(steps, dtype=np.float64))
    return vstack(differences, format="csr") if len(differences) > 1 else differences[0]


def _weighted_sums(values: Hits, weights: Float64[np.ndarray, "r k"]) -> Float64[np.ndarray, "r m"]:
    """The product of counts and hits, which are unpacked block by block each time."""
    sums = np.zeros((len(weights), values.shape[1]))
    start = 0
    for block in values.blocks():
        end = start + len(block)
        sums += weights[:, start:end] @ block.astype(np.float64)
        start = end
    return sums
