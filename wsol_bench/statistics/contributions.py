"""What each image contributes to a number that is no mean: one value an image, whose mean it is.

The contributions of a number have its mean and, to the first order in 1 / n, its variance, so the
intervals and paired tests of means hold for it (the influence function, or infinitesimal jackknife;
Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 21).
"""

import numpy as np
from jaxtyping import Float64, Int64

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

__all__ = ["class_mean", "class_mean_contributions", "statistic_contributions"]

# The means are changed by this share of their standard error, to either side.
_STEP = 0.01
# Changed means in memory at a time.
_CHUNK = 2**19


def statistic_contributions(
    values: Columns | Hits, statistic: Statistic
) -> Float64[np.ndarray, " n"]:
    """The contributions of images to a number made of column means (the delta method).

    ``z_i = f(m) + sum_j df/dm_j (n / n_j) [i counts in j] (v_ij - m_j)``, where n_j images count in
    column j, and n in at least one. The derivatives are central differences. Where f is a maximum,
    they are those of the largest mean.

    Args:
        values: hits or real values; one row an image, one column a threshold, method or metric.
        statistic: function f from means of shape (r, m) to numbers of shape (r,).

    Returns:
        One value an image; NaN if it counts in no column, or if the number is NaN.

    Raises:
        ValueError: the values are no matrix or hold an infinite value, or the statistic does not
            return one number a row.
    """
    contributions = np.full(len(values), np.nan)
    counts_somewhere = np.arange(len(values))
    if not isinstance(values, Hits):
        counts_somewhere = np.flatnonzero((~np.isnan(checked(values, 2))).any(axis=1))
    sample = sample_of(values)
    n = len(sample)
    means, counts = means_of(sample), count_values(sample)
    [value] = apply_statistic(statistic, means[None]).tolist()
    if not n or np.isnan(value):
        return contributions
    if isinstance(sample, Hits):
        deviations = np.sqrt(means * (1 - means))
    else:
        squares = np.nansum((sample - means) ** 2, axis=0)
        deviations = np.sqrt(squares / np.maximum(counts, 1))
    steps = _STEP * deviations / np.sqrt(np.maximum(counts, 1))
    weights = _slopes(statistic, means, steps) * n / np.maximum(counts, 1)
    if isinstance(sample, Hits):
        sums = np.concatenate([block @ weights for block in sample.blocks()])
        sums -= float(means @ weights)
    else:
        sums = np.where(np.isnan(sample), 0.0, sample - means) @ weights
    contributions[counts_somewhere] = value + sums
    return contributions


def _slopes(
    statistic: Statistic, means: Float64[np.ndarray, " m"], steps: Float64[np.ndarray, " m"]
) -> Float64[np.ndarray, " m"]:
    """The central differences of a statistic by each mean; 0 for a mean without a step."""
    m = len(means)
    slopes = np.zeros(m)
    changing = np.flatnonzero(steps > 0)
    n_together = max(1, _CHUNK // max(m, 1))
    for start in range(0, len(changing), n_together):
        at = changing[start : start + n_together]
        changes = np.zeros((len(at), m))
        changes[np.arange(len(at)), at] = steps[at]
        higher, lower = (apply_statistic(statistic, means + s * changes) for s in (1, -1))
        slopes[at] = (higher - lower) / (2 * steps[at])
    return slopes


def class_mean(values: PerImage, classes: Int64[np.ndarray, " n"]) -> float:
    """The mean over classes of the mean of each class; NaN if no image counts.

    Args:
        values: hits or real values; NaN is an image that does not count. A class without an image
            that counts is not averaged.
        classes: number of each image's class.
    """
    means = _ClassMeans(values, classes).means
    return float(means.mean()) if len(means) else float("nan")


def class_mean_contributions(
    values: PerImage, classes: Int64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """The contributions of images to the mean over classes of the mean of each class.

    ``z_i = m + n / (C n_c) sqrt(n_c / (n_c - 1)) (v_i - m_c)``, where c is the image's class, with
    n_c images and the mean m_c, C the number of classes, and m the mean of the m_c. So the variance
    is that of images drawn class by class (stratified sampling; Cochran, Sampling Techniques, 1977,
    chapter 5), and the sizes of the classes are fixed. Images that are alone in their classes are
    compared with each other, which overstates the variance (collapsed strata; section 5A.12).

    Args:
        values, classes: see ``class_mean``.

    Returns:
        One value an image; NaN for an image that does not count.
    """
    by_class = _ClassMeans(values, classes)
    contributions = np.full(len(by_class.counts), np.nan)
    if len(by_class.means):
        size = by_class.sizes[by_class.number]
        weight = len(size) / (len(by_class.means) * size)
        center = by_class.means[by_class.number]
        alone = size == 1
        if alone.any():
            center[alone] = by_class.counted[alone].mean()
            size[alone] = np.count_nonzero(alone)
        weight *= np.sqrt(size / np.maximum(size - 1, 1))
        rest = by_class.counted - center
        contributions[by_class.counts] = by_class.means.mean() + weight * rest
    return contributions


class _ClassMeans:
    """The means of the classes that have an image that counts.

    Attributes:
        counts: whether each image counts.
        counted: values of the images that count.
        number: class of each of them, numbered anew.
        sizes, means: number and mean of the images of each class.
    """

    def __init__(self, values: PerImage, classes: Int64[np.ndarray, " n"]) -> None:
        column = np.asarray(values, np.float64)
        self.counts = ~np.isnan(column)
        self.counted = column[self.counts]
        _, self.number, self.sizes = np.unique(
            classes[self.counts], return_inverse=True, return_counts=True
        )
        self.means = np.bincount(self.number, weights=self.counted) / self.sizes
