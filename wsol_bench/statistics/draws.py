"""Draw how often each image comes into a bootstrap resample.

A resample draws n of n images with replacement, so the counts of the images are multinomial. They
are drawn exactly, by the faster of two ways. If few rows of values are distinct, as rows of hits
are, a resample is one binomial number for each distinct row (``distinct_rows``). Otherwise it is
n draws of one random byte each (``draw_counts``).
"""

from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Float64, Int64

from wsol_bench.statistics.columns import Sample
from wsol_bench.statistics.hits import Hits

__all__ = ["BINOMIAL_COST", "DistinctRows", "distinct_rows", "draw_counts"]

# The gain of the two ways, in CPU seconds of 10,000 resamples on one thread. Random bytes take
# 0.03, 0.2 and 1.9 s for 500, 5,000 and 50,000 images: rng.multinomial(n, [1 / n] * n) takes 10 to
# 14 times as long, np.bincount(rng.integers(0, n, n)) 5.5, 2.3 and 2 times. Distinct rows, means
# included, gain 3 to 5 times over random bytes if they are as many as they may be, and 18 to 110
# times if they are two, as for one column of hits.
#
# A binomial number takes about as long as this many drawn images.
BINOMIAL_COST = 64


class DistinctRows(NamedTuple):
    """Images grouped by their rows of values.

    Attributes:
        first: position of one image of each distinct row, shape (k,).
        sizes: number of images that have that row, shape (k,).
    """

    first: Int64[np.ndarray, " k"]
    sizes: Int64[np.ndarray, " k"]


def distinct_rows(values: Sample, most: int) -> DistinctRows | None:
    """The distinct rows of values; None if there are more than ``most``."""
    # For most real values a few rows show that too many are distinct, without sorting all rows.
    if most == 0 or len(np.unique(_keys(values[: 2 * most]))) > most:
        return None
    _, first, sizes = np.unique(_keys(values), return_index=True, return_counts=True)
    return DistinctRows(first, sizes) if len(sizes) <= most else None


def _keys(values: Sample) -> np.ndarray:
    """Each row as bytes, with NaN equal to NaN; hits are packed, in the order of the columns."""
    rows: np.ndarray
    if isinstance(values, Hits):
        rows = values.bytes()
    elif values.dtype == bool:
        rows = np.packbits(values, axis=1)
    else:
        rows = np.ascontiguousarray(values)
    return rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0]


def draw_counts(rng: np.random.Generator, counts: Float64[np.ndarray, "r n"]) -> None:
    """Draw how often each of n images is in each of r resamples of n images.

    The images lie in blocks. How many draws fall into each block is multinomial; within a block all
    images are equally likely, and the block's size is a power of two up to 256, so that the low
    bits of a random byte are such a draw without rounding or rejection.

    Args:
        rng: source of the random numbers.
        counts: buffer that the counts are written to, so that no memory is allocated for them.
    """
    r, n = counts.shape
    blocks = np.array([256] * (n >> 8) + [1 << bit for bit in range(8) if n >> bit & 1])
    draws = rng.multinomial(n, blocks / n, size=r)
    # Eight bytes of one 64-bit number.
    words = rng.integers(0, 2**64, size=(r, -(-n // 8)), dtype=np.uint64)
    _count_draws(words.view(np.uint8), draws, blocks, counts)


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
