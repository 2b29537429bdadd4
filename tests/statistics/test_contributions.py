"""The contributions of images: their mean is the number, their variance that of the number."""

import math

import numpy as np
import pytest
from resamples import curves, largest, packed

from wsol_bench.statistics.bootstrap import bootstrap_statistic
from wsol_bench.statistics.contributions import (
    class_mean,
    class_mean_contributions,
    statistic_contributions,
)

NAN = float("nan")


def ratio(means):
    return means[:, 0] / means[:, 1]


class TestStatistic:
    def test_of_a_mean_are_the_values(self):
        values = np.random.default_rng(0).random((30, 2))
        found = statistic_contributions(values, lambda means: means[:, 1])
        assert found == pytest.approx(values[:, 1], abs=1e-9)

    def test_of_a_ratio_by_hand(self):
        """z = r + (x - r y) / mean(y), the linearized ratio."""
        values = np.random.default_rng(0).random((30, 2))
        x, y = values.T
        r = x.mean() / y.mean()
        expected = r + (x - r * y) / y.mean()
        # The step of the derivatives is not 0.
        assert statistic_contributions(values, ratio) == pytest.approx(expected, abs=1e-5)

    def test_have_the_standard_error_of_the_bootstrap(self):
        values = np.random.default_rng(0).random((400, 2))
        spread = bootstrap_statistic(values, ratio, n_resamples=4000).std()
        found = statistic_contributions(values, ratio).std() / math.sqrt(400)
        assert found == pytest.approx(spread, rel=0.05)

    def test_of_a_maximum_are_the_hits_at_the_best_threshold(self):
        hits = curves(200, 50, seed=2)
        assert (hits.mean(axis=0) == hits.mean(axis=0).max()).sum() == 1
        best = hits[:, hits.mean(axis=0).argmax()].astype(float)
        assert statistic_contributions(hits, largest) == pytest.approx(best, abs=1e-9)
        found = statistic_contributions(packed(hits[:, None]), largest)
        assert found == pytest.approx(best, abs=1e-9)

    def test_an_image_outside_of_a_column_leaves_its_mean_as_it_is(self):
        values = np.array([[1.0, NAN], [3.0, 5.0], [NAN, NAN], [2.0, 7.0]])
        found = statistic_contributions(values, lambda means: means[:, 1])
        # The second column has two of the three images that count: a change counts 3/2.
        assert found == pytest.approx([6.0, 4.5, NAN, 7.5], nan_ok=True)
        assert np.nanmean(found) == pytest.approx(6)

    def test_of_nothing_are_none(self):
        assert statistic_contributions(np.zeros((0, 2)), ratio).shape == (0,)
        assert np.isnan(statistic_contributions(np.full((3, 2), NAN), ratio)).all()
        with np.errstate(invalid="ignore"):
            assert np.isnan(statistic_contributions(np.zeros((3, 2)), ratio)).all()


class TestClassMean:
    VALUES = np.array([1.0, 0.0, 1.0, 1.0, NAN, 0.5])
    CLASSES = np.array([7, 7, 7, 2, 9, 2])

    def test_by_hand(self):
        """2/3 of the images of class 7, 3/4 of class 2; class 9 has no image that counts."""
        assert class_mean(self.VALUES, self.CLASSES) == pytest.approx((2 / 3 + 3 / 4) / 2)
        found = class_mean_contributions(self.VALUES, self.CLASSES)
        assert np.nanmean(found) == pytest.approx((2 / 3 + 3 / 4) / 2)
        assert np.isnan(found).tolist() == [False] * 4 + [True, False]

    def test_of_classes_of_one_size_is_the_mean(self):
        values = np.random.default_rng(0).random(60)
        assert class_mean(values, np.arange(60) % 6) == pytest.approx(values.mean())
        alone = class_mean_contributions(values, np.arange(60))
        assert alone == pytest.approx(
            values.mean() + (values - values.mean()) * math.sqrt(60 / 59), rel=1e-12
        )

    def test_has_the_variance_of_means_within_the_classes(self):
        """Var = 1/C^2 sum_c s_c^2 / n_c, with the deviations s_c of a sample."""
        rng = np.random.default_rng(0)
        classes = np.repeat([0, 1, 2], [5, 20, 200])
        values = rng.random(225) + 10 * classes
        variance = sum(values[classes == c].var(ddof=1) / (classes == c).sum() for c in range(3))
        found = class_mean_contributions(values, classes).var() / 225
        assert found == pytest.approx(variance / 9)

    def test_of_nothing_is_none(self):
        nothing = np.full(2, NAN)
        assert math.isnan(class_mean(nothing, np.zeros(2, int)))
        assert np.isnan(class_mean_contributions(nothing, np.zeros(2, int))).all()
