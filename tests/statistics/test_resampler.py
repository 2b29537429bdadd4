"""Many means resampled at once: each has the interval and the test that it has alone."""

import itertools

import numpy as np
import pytest

from wsol_bench.statistics import resampler as resampler_module
from wsol_bench.statistics.bootstrap import bootstrap_means
from wsol_bench.statistics.intervals import confidence_interval
from wsol_bench.statistics.paired_tests import paired_bootstrap
from wsol_bench.statistics.resampler import Resampler


class TestTogether:
    """Many means resampled at once are those of each alone."""

    @pytest.fixture(params=[50, 1000])
    def columns(self, request):
        """Name columns of hits, of few and many distinct values, with and without missing ones."""
        rng = np.random.default_rng(0)
        n = request.param
        few = rng.random(n) < 0.1
        columns = {
            "hits": (rng.random(n) < 0.6).astype(float),
            "other_hits": (rng.random(n) < 0.5).astype(float),
            "none": np.zeros(n),
            "thirds": rng.integers(0, 4, n) / 3,
            **{f"real{index}": rng.random(n) for index in range(3)},
            "missing": np.where(few, np.nan, rng.random(n)),
            "missing_there_too": np.where(few, np.nan, rng.random(n)),
            "missing_elsewhere": np.where(few[::-1], np.nan, rng.random(n)),
        }
        return columns | {"difference": columns["real0"] - columns["real1"]}

    def test_intervals_and_differences(self, columns):
        resampler = Resampler(n_resamples=200, seed=3)
        pairs = list(itertools.permutations(columns, 2))
        for values in columns.values():
            resampler.add(values)
        for first, second in pairs:
            resampler.add_pair(columns[first], columns[second])
        waiting, done = len(resampler), []
        resampler.run(done.append)
        assert sum(done) == waiting
        assert len(resampler) == 0
        for values in columns.values():
            alone = confidence_interval(values, n_resamples=200, seed=3)
            assert resampler.interval(values) == pytest.approx(alone, rel=1e-12)
        for names in pairs:
            pair = [columns[name] for name in names]
            alone = paired_bootstrap(*pair, n_resamples=200, seed=3)
            result = resampler.paired_difference(*pair)
            assert result == pytest.approx(alone, rel=1e-12, abs=1e-14, nan_ok=True), names

    def test_the_difference_of_two_resampled_means_is_not_resampled(self, monkeypatch):
        resampled = []
        monkeypatch.setattr(
            resampler_module,
            "bootstrap_means",
            lambda values, **options: (
                resampled.append(values.shape[1]) or bootstrap_means(values, **options)
            ),
        )
        methods = np.random.default_rng(0).random((5, 500))
        resampler = Resampler(n_resamples=20)
        for values in methods:
            resampler.add(values)
            resampler.add_pair(values, methods[0])
        resampler.run()
        # The first method's difference to itself is 0 in all images.
        assert sorted(resampled) == [5]

    def test_more_methods_than_images(self):
        methods = np.random.default_rng(0).random((20, 12))
        resampler = Resampler(n_resamples=50_000)
        for values in methods:
            resampler.add_pair(values, methods[0])
        resampler.run()
        for values in methods[1:]:
            alone = paired_bootstrap(values, methods[0], n_resamples=50_000)
            result = resampler.paired_difference(values, methods[0])
            assert result == pytest.approx(alone, rel=1e-12, abs=1e-14)

    def test_differences_of_differences(self):
        first, second, third = np.random.default_rng(0).random((3, 500))
        resampler = Resampler(n_resamples=100)
        resampler.add_pair(first - second, third)
        resampler.add_pair(first, second)
        resampler.run()
        for pair in ((first - second, third), (first, second)):
            alone = paired_bootstrap(*pair, n_resamples=100)
            result = resampler.paired_difference(*pair)
            assert result == pytest.approx(alone, rel=1e-12, abs=1e-14)

    def test_differences_that_are_small_against_the_values(self):
        """Many resamples tie exactly with the mean; rounding of the large values decides none."""
        rng = np.random.default_rng(0)
        for n, n_other, least in ((63, 4, 1.0), (40, 4, 1.0), (63, 8, 1.0), (50, 1, 1e-5)):
            first = rng.integers(0, 200_000, n).astype(float) if least == 1 else rng.random(n)
            second = first.copy()
            second[:n_other] -= least
            resampler = Resampler()
            resampler.add_pair(first, second)
            resampler.run()
            result = resampler.paired_difference(first, second)
            assert result == pytest.approx(paired_bootstrap(first, second), rel=1e-12)

    def test_where_no_image_counts(self):
        nothing = np.full(3, np.nan)
        resampler = Resampler(n_resamples=10)
        resampler.add(nothing)
        resampler.add_pair(nothing, np.ones(3))
        resampler.run()
        assert resampler.interval(nothing) == pytest.approx((np.nan,) * 3 + (0,), nan_ok=True)
        alone = paired_bootstrap(nothing, np.ones(3), n_resamples=10)
        result = resampler.paired_difference(nothing, np.ones(3))
        assert result == pytest.approx(alone, nan_ok=True)

    def test_hits_as_flags(self):
        first, second = np.random.default_rng(0).random((2, 200)) < 0.5
        resampler = Resampler(n_resamples=10)
        resampler.add_pair(first, second)
        resampler.run()
        alone = paired_bootstrap(first, second, n_resamples=10)
        assert resampler.paired_difference(first, second) == pytest.approx(alone)
