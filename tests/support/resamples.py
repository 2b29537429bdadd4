"""Made-up hits of images, and oracles for the numbers of their resamples."""

import itertools
from collections import Counter

import numpy as np
import scipy.stats

from wsol_bench.statistics.bootstrap import resampled_means
from wsol_bench.statistics.columns import sample_of
from wsol_bench.statistics.hits import Hits


def largest(means):
    return means.max(axis=1)


def curves(n, thresholds, seed=0):
    """Hits at increasing thresholds: each image is hit from one threshold to another."""
    ends = np.sort(np.random.default_rng(seed).integers(0, thresholds, (n, 2)), axis=1)
    at = np.arange(thresholds)
    return (at >= ends[:, :1]) & (at <= ends[:, 1:])


def bootstrap_means(values, *, n_resamples=10_000, seed=0):
    """The mean of every column in every resample, one row a resample."""
    return np.concatenate(list(resampled_means(sample_of(values), n_resamples, seed)))


def every_resample(n):
    """All n^n ways to draw n of n images with replacement, which are equally likely."""
    return np.array(list(itertools.product(range(n), repeat=n)))


def assert_drawn_from(numbers, possible):
    """Check that numbers are drawn from equally likely possible numbers (chi-square test)."""
    chances = Counter(np.round(possible, 9).tolist())
    drawn = Counter(np.round(numbers, 9).tolist())
    assert drawn.keys() <= chances.keys()
    # Outcomes that are too rare for the test are counted as one outcome.
    often = [key for key in chances if chances[key] * len(numbers) >= 10 * len(possible)]
    expected = np.array([chances[key] for key in often]) * len(numbers) / len(possible)
    observed = np.array([drawn[key] for key in often])
    rest = len(numbers) - expected.sum()
    if rest > 1:
        expected = np.append(expected, rest)
        observed = np.append(observed, len(numbers) - observed.sum())
    assert scipy.stats.chisquare(observed, expected).pvalue > 1e-3


def packed(hits):
    """Pack hits of shape (images, curves, thresholds)."""
    return Hits(np.packbits(hits, axis=2), hits.shape[2])


def swept(n, n_curves, thresholds, *, kind, seed):
    """Hits of images x curves x thresholds: of intervals, at random, or of few distinct images."""
    rng = np.random.default_rng(seed)
    shape = (n, n_curves, thresholds)
    if kind == "intervals":
        return curves(n * n_curves, thresholds, seed=seed).reshape(shape)
    if kind == "random":
        return rng.random(shape) < 0.5
    distinct = rng.random((2, *shape[1:])) < 0.5
    return distinct[rng.integers(0, 2, n)]
