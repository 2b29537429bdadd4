"""Measure how often intervals cover the truth, and how often tests err, where the truth is known.

    python benchmarks/calibration.py > results/benchmark_calibration.md

Every cell draws images at random from a population whose number is known, 500 times (hits: exact,
by the binomial distribution; means of other values: 4,000 times), and asks the intervals and tests
of ``wsol-bench analyze``. Expected runtime: half an hour on 2 cores.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom, norm

from wsol_bench.metrics.number import Number, ThresholdColumns
from wsol_bench.report.comparisons import NumberPair, paired_test
from wsol_bench.report.tables import markdown_table
from wsol_bench.scoring.pixels import _average_precision
from wsol_bench.statistics.hits import Hits
from wsol_bench.statistics.intervals import mean_interval
from wsol_bench.statistics.paired_tests import sign_flip_test

SIZES = (10, 20, 50, 100, 1000, 5000)
DRAWS, CHEAP_DRAWS = 500, 4000
POPULATION, THRESHOLDS = 20_000, 200
ALPHA = 0.05

PAGE = """\
# How often intervals cover the truth, and tests err

    python benchmarks/calibration.py > results/benchmark_calibration.md

Every cell draws n images at random from a population whose number is known, 500 times, and asks the
intervals and tests of `wsol-bench analyze`. A share of 0.95 in 500 draws has a standard error of
0.01. Cells of hits are exact, by the binomial distribution; those of means of other values are from
4,000 draws. The script describes the populations; what the tables show is said in
[docs/metrics.md](../docs/metrics.md#how-sure-a-number-is).

## How often the 95% interval covers the number of the population

{intervals}

## How often p is at most 0.05 where the methods are equally good

{tests}
"""

Sample = Callable[[np.random.Generator, int], np.ndarray]


# ---- hits and other means


def hit_coverage(rate: float, n: int) -> float:
    """The chance that Wilson's interval of n hits covers their rate."""
    chances = binom.pmf(range(n + 1), n, rate)
    likely = np.flatnonzero(chances > 1e-9)
    ends = [mean_interval(np.arange(n) < n_hits)[1:3] for n_hits in likely.tolist()]
    return float(sum(chances[likely][[low <= rate <= high for low, high in ends]]))


def ious(rng: np.random.Generator, n: int) -> np.ndarray:
    """IoUs of which 15% are 0; mean 0.51."""
    return np.where(rng.random(n) < 0.15, 0.0, rng.beta(3, 2, n))


def energies(rng: np.random.Generator, n: int) -> np.ndarray:
    """Skewed shares near 0; mean 1/6."""
    return rng.beta(0.6, 3, n)


def drops(rng: np.random.Generator, n: int) -> np.ndarray:
    """Drops in confidence, of which 60% are 0; mean 0.104."""
    return np.where(rng.random(n) < 0.6, 0.0, rng.beta(0.7, 2, n))


def rare(rng: np.random.Generator, n: int, *, share: float) -> np.ndarray:
    """Uniform values of few images, and 0 of the others; mean share / 2."""
    return np.where(rng.random(n) < share, rng.random(n), 0.0)


def coverage(sample: Sample, mean: float, n: int) -> float:
    """How often the interval of a mean covers it."""
    rng = np.random.default_rng(n)
    ends = [mean_interval(sample(rng, n))[1:3] for _ in range(CHEAP_DRAWS)]
    return float(np.mean([low <= mean <= high for low, high in ends]))


def class_mean_coverage(of_hits: bool, n: int) -> float:
    """How often the interval of a mean over ten classes of unequal sizes covers it."""
    rng = np.random.default_rng(n)
    rates = np.linspace(0.3, 0.9, 10)
    covered = 0
    for _ in range(DRAWS):
        classes = rng.choice(10, n, p=np.arange(1, 11) / 55)
        if of_hits:
            values = (rng.random(n) < rates[classes]).astype(float)
        else:
            values = rng.beta(4 * rates[classes], 4 - 4 * rates[classes])
        number = Number("mean", values, np.arange(n), better="higher", classes=classes)
        # A class without an image is in no mean.
        truth = rates[np.unique(classes)].mean()
        _, low, high, _ = number.interval()
        covered += low <= truth <= high
    return covered / DRAWS


# ---- maxima over thresholds


def spans(center: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Packed hits of images, each on an interval of thresholds (in shares of all thresholds)."""
    at = np.arange(THRESHOLDS) / THRESHOLDS
    low, high = center - width / 2, center + width / 2
    return np.packbits((at >= low[:, None]) & (at < high[:, None]), axis=1)


def hit_curves(kind: str, difficulty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A population of images; methods share a part of what makes an image difficult."""
    n = len(difficulty)
    ease = norm.cdf((difficulty + rng.normal(size=n)) / np.sqrt(2))
    if kind == "peaked":  # best at one threshold, 61% right
        return spans(rng.normal(0.35, 0.15, n), 0.6 * ease)
    if kind == "flat":  # many thresholds are as good, 60% right
        return spans(rng.normal(0.45, 0.1, n), np.where(ease > 0.4, rng.uniform(0.5, 1.1, n), 0))
    # "high": 97% right
    return spans(rng.normal(0.45, 0.1, n), np.where(ease > 0.03, rng.uniform(0.7, 1.1, n), 0))


def unequal_thresholds(first: np.ndarray, second: np.ndarray, seed: int) -> list[np.ndarray]:
    """Two populations with equal maxima: the better one misses on some images at random."""
    order = np.random.default_rng(seed).permutation(len(first))
    better, worse = sorted((first, second), key=maximum, reverse=True)
    low, high = 0, len(first)
    while high - low > 1:
        middle = (low + high) // 2
        left = better.copy()
        left[order[:middle]] = 0
        low, high = (middle, high) if maximum(left) > maximum(worse) else (low, middle)
    better = better.copy()
    better[order[:high]] = 0
    return [better, worse]


def maximum(packed: np.ndarray) -> float:
    """The largest share of hits at a threshold."""
    sums = sum(np.unpackbits(block, axis=1).sum(axis=0) for block in np.array_split(packed, 40))
    return float(np.max(sums) / len(packed))


def max_number(curves: Sequence[np.ndarray], images: np.ndarray) -> Number:
    """MaxBoxAcc, or the mean of several, of a draw of images."""
    packed = np.stack([curve[images] for curve in curves], axis=1)
    return Number(
        "max",
        Hits(packed, THRESHOLDS),
        np.arange(len(images)),
        better="higher",
        hits=len(curves) == 1,
        best=ThresholdColumns("", "selected", "", "gap"),
        thresholds=np.arange(THRESHOLDS) / THRESHOLDS,
    )


def max_coverage(curves: Sequence[np.ndarray], n: int) -> float:
    """How often the interval of a maximum covers that of the population."""
    rng = np.random.default_rng(n)
    truth = np.mean([maximum(curve) for curve in curves])
    covered = 0
    for seed in range(DRAWS):
        number = max_number(curves, rng.integers(0, POPULATION, n))
        _, low, high, _ = number.interval(seed=seed)
        covered += low <= truth <= high
    return covered / DRAWS


def max_errors(first: Sequence[np.ndarray], second: Sequence[np.ndarray], n: int) -> float:
    """How often the test of two maxima that are equal in the population has p <= 0.05."""
    rng = np.random.default_rng(n)
    errors = 0
    for seed in range(DRAWS):
        images = rng.integers(0, POPULATION, n)
        pair = NumberPair(max_number(first, images), max_number(second, images))
        errors += paired_test(pair, seed)["p"] <= ALPHA
    return errors / DRAWS


# ---- pixels


def pixel_counts(quality: float, rng: np.random.Generator) -> np.ndarray:
    """Pixel counts of a population in 50 bins: objects of random size, maps of random quality."""
    edges = np.linspace(0, 1, 51)
    size = rng.integers(200, 6000, POPULATION)
    skill = rng.gamma(4, quality / 4, POPULATION)
    counts = []
    for n_object, at in zip(size.tolist(), skill.tolist(), strict=True):
        shares = (np.diff(edges ** (1 + at)), np.diff(1 - (1 - edges) ** (1 + at)))
        pixels = (n_object, 10_000 - n_object)
        counts.append([np.round(n * share) for n, share in zip(pixels, shares, strict=True)])
    return np.array(counts).reshape(POPULATION, -1)


def px_number(counts: np.ndarray) -> Number:
    """PxAP of a draw of images."""
    return Number(
        "px_ap", counts, np.arange(len(counts)), better="higher", statistic=_average_precision
    )


def px_coverage(counts: np.ndarray, n: int) -> float:
    """How often the interval of PxAP covers that of the population."""
    rng = np.random.default_rng(n)
    truth = px_number(counts).value()
    covered = 0
    for seed in range(DRAWS):
        number = px_number(counts[rng.integers(0, POPULATION, n)])
        _, low, high, _ = number.interval(seed=seed)
        covered += low <= truth <= high
    return covered / DRAWS


def px_errors(counts: np.ndarray, n: int) -> float:
    """How often two maps of the same quality, each its own on every image, differ in PxAP."""
    rng = np.random.default_rng(n)
    errors = 0
    for seed in range(DRAWS):
        pair = NumberPair(*(px_number(counts[rng.integers(0, POPULATION, n)]) for _ in range(2)))
        errors += paired_test(pair, seed)["p"] <= ALPHA
    return errors / DRAWS


# ---- paired tests of means


def hit_errors(rate: float, n: int) -> float:
    """The chance that McNemar's test errs if a share of the images tells the methods apart."""
    n_apart = np.arange(n + 1)
    chances = binom.pmf(n_apart, n, rate)
    errors = 0.0
    for k, chance in zip(n_apart.tolist(), chances.tolist(), strict=True):
        # The test rejects up to a number of hits of one method, and by symmetry of the other.
        most = binom.ppf(ALPHA / 2, k, 0.5) if k else -1
        most -= binom.cdf(most, k, 0.5) > ALPHA / 2
        errors += chance * 2 * binom.cdf(most, k, 0.5)
    return errors


def equal_ious(rng: np.random.Generator, n: int) -> np.ndarray:
    """Differences of two methods' IoUs on images of shared difficulty."""
    ease = rng.beta(3, 2, n)
    return rng.beta(6 * ease, 6 - 6 * ease) - rng.beta(6 * ease, 6 - 6 * ease)


def rare_differences(rng: np.random.Generator, n: int) -> np.ndarray:
    """Differences on 5% of the images, of either sign."""
    return np.where(rng.random(n) < 0.05, rng.uniform(-1, 1, n), 0.0)


def skewed_differences(rng: np.random.Generator, n: int) -> np.ndarray:
    """Differences of mean 0: small gains on most images, large losses on some."""
    return 0.2 - rng.beta(0.5, 2, n)


def rare_losses(rng: np.random.Generator, n: int) -> np.ndarray:
    """Differences of mean 0: a gain of 0.01 on most images, a loss of 0.49 on 2%."""
    return np.where(rng.random(n) < 0.02, -0.49, 0.01)


def mean_errors(differences: Sample, n: int) -> float:
    """How often the sign-flip test of differences of mean 0 has p <= 0.05."""
    rng = np.random.default_rng(n)
    p = [sign_flip_test(differences(rng, n), np.zeros(n)).p for _ in range(DRAWS)]
    return float(np.mean(np.array(p) <= ALPHA))


# ---- the tables


def table(cells: Sequence[tuple[str, Callable[[int], float]]], pool: Executor) -> str:
    """A line for each population, a column for each number of images."""
    shares = [[pool.submit(measure, n) for n in SIZES] for _, measure in cells]
    lines: list[dict[str, Any]] = []
    for (name, _), line in zip(cells, shares, strict=True):
        by_size = {
            f"n = {n:,}": f"{share.result():.3f}" for n, share in zip(SIZES, line, strict=True)
        }
        lines.append({"number": name, **by_size})
        print(*lines[-1].values(), file=sys.stderr, flush=True)
    return markdown_table(pd.DataFrame(lines))


def interval_cells(
    curves: dict[str, np.ndarray], counts: np.ndarray
) -> Iterator[tuple[str, Callable[[int], float]]]:
    for rate in (0.5, 0.7, 0.9, 0.98):
        yield f"hits, {100 * rate:.0f}% right", partial(hit_coverage, rate)
    yield "IoU", partial(coverage, ious, 0.85 * 0.6)
    yield "energy", partial(coverage, energies, 0.6 / 3.6)
    yield "average drop", partial(coverage, drops, 0.4 * 0.7 / 2.7)
    for share in (0.05, 0.02):
        sample = partial(rare, share=share)
        yield f"not 0 for {100 * share:.0f}% of the images", partial(coverage, sample, share / 2)
    yield "mean over ten classes, hits", partial(class_mean_coverage, True)
    yield "mean over ten classes, IoU", partial(class_mean_coverage, False)
    for kind in ("peaked", "flat", "high"):
        yield f"MaxBoxAcc, {kind}", partial(max_coverage, [curves[kind]])
    three = [curves[kind] for kind in ("high", "flat", "peaked")]
    yield "MaxBoxAccV2, all three", partial(max_coverage, three)
    yield "PxAP", partial(px_coverage, counts)


def test_cells(
    curves: dict[str, np.ndarray], counts: np.ndarray
) -> Iterator[tuple[str, Callable[[int], float]]]:
    for rate in (0.4, 0.1):
        yield f"hits, {100 * rate:.0f}% of the images differ", partial(hit_errors, rate)
    yield "IoU", partial(mean_errors, equal_ious)
    yield "differences of 5% of the images", partial(mean_errors, rare_differences)
    yield "skewed differences of mean 0", partial(mean_errors, skewed_differences)
    yield "losses of 2% of the images, small gains of the others", partial(mean_errors, rare_losses)
    for first, second in (("peaked", "peaked again"), ("high", "high again"), ("flat", "peaked")):
        both = unequal_thresholds(curves[first], curves[second], seed=0)
        name = f"MaxBoxAcc, {first} and {second.replace(first + ' again', 'another of its kind')}"
        yield name, partial(max_errors, both[:1], both[1:])
    three = [
        unequal_thresholds(curves[kind], curves[f"{kind} again"], seed=1)
        for kind in ("high", "flat", "peaked")
    ]
    first, second = ([pair[which] for pair in three] for which in (0, 1))
    yield "MaxBoxAccV2", partial(max_errors, first, second)
    yield "PxAP", partial(px_errors, counts)


def main() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=POPULATION)
    curves = {
        f"{kind}{again}": hit_curves(kind, difficulty, rng)
        for kind in ("peaked", "flat", "high")
        for again in ("", " again")
    }
    counts = pixel_counts(0.8, rng)
    with ProcessPoolExecutor() as pool:
        intervals = table(list(interval_cells(curves, counts)), pool)
        tests = table(list(test_cells(curves, counts)), pool)
    print(PAGE.format(intervals=intervals, tests=tests), end="")


if __name__ == "__main__":
    main()
