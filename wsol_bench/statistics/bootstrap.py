"""The bootstrap: means, and numbers made of means, in resamples of the images.

A bootstrap resample draws n of n images with replacement (Efron & Tibshirani, An Introduction to
the Bootstrap, 1993, chapter 6), so how often each image is in it is multinomial, and the means of
all columns follow from these counts by one matrix product.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from jaxtyping import Float64

from wsol_bench.statistics.columns import (
    Columns,
    Sample,
    Statistic,
    apply_statistic,
    means_of,
    sample_of,
)
from wsol_bench.statistics.draws import BINOMIAL_COST, distinct_rows, draw_counts
from wsol_bench.statistics.hits import Hits
from wsol_bench.statistics.weighted_means import weighted_means

__all__ = [
    "N_RESAMPLES",
    "bootstrap_bias",
    "bootstrap_statistic",
    "resampled_means",
]

N_RESAMPLES = 1000

# Numbers in memory at a time, for the counts of some resamples: 4 MB.
_CHUNK = 2**19
# Columns in one product (50 MB for 50,000 images), and resamples in one product (26 MB, as the
# counts are in memory twice).
_COLUMNS, _ROWS = 128, 32


def bootstrap_bias(
    values: Columns | Hits, statistic: Statistic, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> float:
    """How much higher than the truth a number made of column means is expected to be.

    It is the mean of the number in the resamples minus the number (Efron & Tibshirani 1993, section
    10.2). A choice that the statistic makes is made anew in each resample: for MaxBoxAcc (Choe et
    al., CVPR 2020), the largest mean over thresholds, that is ``lambda means: means.max(axis=1)``
    on hits of shape (images, thresholds). 1,000 resamples know the bias to a thirtieth of the
    number's standard error.

    Args:
        values, statistic, n_resamples, seed: see ``bootstrap_statistic``.

    Returns:
        The bias, in the unit of the number; 0 if the number is in no resample.
    """
    sample = sample_of(values)
    resampled = bootstrap_statistic(sample, statistic, n_resamples=n_resamples, seed=seed)
    resampled = resampled[~np.isnan(resampled)]
    [value] = apply_statistic(statistic, means_of(sample)[None]).tolist()
    return float(resampled.mean() - value) if len(resampled) else 0.0


def bootstrap_statistic(
    values: Columns | Hits, statistic: Statistic, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Float64[np.ndarray, " n_resamples"]:
    """A number made of column means, in every bootstrap resample of the images.

    NaN means that an image does not count in a column: the image is in no mean of it. An image that
    counts in no column is left out before n is counted. The means are never in memory all at once.
    The cost of hits (bool) grows with their changes from one column to the next: ordered columns,
    such as hits at increasing thresholds, cost little more than one column.

    Args:
        values: hits, real values, or packed ``Hits``; one row an image, one column a threshold,
            method or metric.
        statistic: function from means of shape (r, m) to numbers of shape (r,).
        n_resamples: number of resamples, at least 1.
        seed: seed of the draws; equal seeds give equal resamples.

    Raises:
        ValueError: the values are no matrix or hold an infinite value, there are no resamples, or
            the statistic does not return one number a row.
    """
    resampled = resampled_means(sample_of(values), n_resamples, seed)
    return np.concatenate([apply_statistic(statistic, means) for means in resampled])


def resampled_means(
    sample: Sample, n_resamples: int, seed: int
) -> Iterator[Float64[np.ndarray, "r m"]]:
    """The mean of every column in every bootstrap resample, in blocks that limit the memory.

    ``mean*_rj = sum_i w_ri v_ij / sum_i w_ri [v_ij counts]`` with
    ``w_r ~ Multinomial(n; 1/n, ..., 1/n)`` (Efron & Tibshirani 1993, section 6.2). All columns see
    the same resamples. NaN means that a resample holds no image that counts in the column.
    """
    if n_resamples < 1:
        raise ValueError(f"expected at least 1 resample, found {n_resamples}")
    rng = np.random.default_rng(seed)
    n, m = sample.shape
    if n == 0:
        yield np.full((n_resamples, m), np.nan)
        return
    distinct = distinct_rows(sample, n // BINOMIAL_COST)
    rows = sample if distinct is None else sample[distinct.first]
    means_by = weighted_means(rows, n)
    n_drawn = min(n_resamples, max(1, _CHUNK // max(n, m)))
    # A product reads all values, even for a few resamples.
    n_in_product = n_drawn * (max(1, _ROWS // n_drawn) if 1 < m <= _COLUMNS else 1)

    def draw(counts: Float64[np.ndarray, "r k"]) -> Float64[np.ndarray, "r k"]:
        for first in range(0, len(counts), n_drawn):
            chunk = counts[first : first + n_drawn]
            if distinct is None:
                draw_counts(rng, chunk)
            else:
                chunk[:] = rng.multinomial(n, distinct.sizes / n, size=len(chunk))
        return counts

    # Counts are drawn during the product with the counts before. Two buffers serve all counts:
    # taking fresh memory costs more time than writing to it.
    starts = range(0, n_resamples, n_in_product)
    buffers = np.empty((min(2, len(starts)), min(n_resamples, n_in_product), len(rows)))
    with ThreadPoolExecutor(1) as thread:
        drawn: deque[Future[Float64[np.ndarray, "r k"]]] = deque()
        for number, start in enumerate(starts):
            drawn.append(thread.submit(draw, buffers[number % 2, : n_resamples - start]))
            if number:
                yield means_by(drawn.popleft().result())
        yield means_by(drawn.popleft().result())
