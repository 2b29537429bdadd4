"""A number by itself, of hand-made values."""

import numpy as np
import pytest

from wsol_bench.metrics.number import Number, ThresholdColumns
from wsol_bench.statistics.hits import Hits
from wsol_bench.statistics.intervals import mean_interval

NAN = float("nan")


class TestNumber:
    """A number by itself, of hand-made values."""

    IDS = np.array(["i", "j", "k"], dtype=object)
    GRID = np.array([0.0, 0.25, 0.5])
    BEST = ThresholdColumns("at", "selected", "selected_at", "gap")

    def test_of_one_value_an_image_is_their_mean_without_those_that_do_not_count(self):
        number = Number("x", np.array([0.25, NAN, 0.75]), self.IDS, better="higher")
        assert number.is_mean and number.value() == 0.5
        assert number.line() == {"x": 0.5}
        assert number.means().tolist() == [0.5]
        assert number.columns.shape == (3, 1)
        assert number.selected() is None
        two_images = number.take(np.array([2, 1]))
        assert two_images.value() == 0.75 and two_images.image_ids.tolist() == ["k", "j"]
        assert np.isnan(number.take(np.array([1])).value())
        assert np.isnan(number.take(np.array([], int)).value())

    def test_of_several_columns_is_what_the_statistic_makes_of_their_means(self):
        values = np.array([[1.0, 0.0], [0.0, 0.5], [0.5, 1.0]])
        number = Number(
            "x", values, self.IDS, better="lower", statistic=lambda means: means[:, 0] / means[:, 1]
        )
        assert not number.is_mean
        assert number.value() == 1
        assert number.take(np.array([1, 2])).value() == pytest.approx(0.25 / 0.75)
        assert number.of_means(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist() == [0.5, 0.75]

    def test_that_is_not_computed_from_means_is_so_for_some_of_the_images(self):
        number = Number(
            "x", np.ones((3, 1)), self.IDS, better="higher", statistic=lambda means: means[:, 0],
            point=0.9, beside={"y": 7.0},
        )  # fmt: skip
        assert number.line() == {"x": 0.9, "y": 7.0}
        assert number.take(np.array([0, 1])).value() == 1

    @pytest.mark.parametrize("packed", [True, False])
    def test_at_the_best_threshold_by_hand(self, packed):
        """Hits 1/3, 2/3, 2/3; others are best at the last threshold but one of two curves."""
        hits = np.array([[False, True, True], [True, True, False], [False, False, True]])
        values = Hits(np.packbits(hits[:, None], axis=2), 3) if packed else hits
        number = Number(
            "max", values, self.IDS, better="higher", hits=True, best=self.BEST,
            thresholds=self.GRID,
        )  # fmt: skip
        assert number.line() == {"max": pytest.approx(2 / 3), "at": 0.25}
        assert number.selected() is None
        chosen = Number(
            "max", values, self.IDS, better="higher", hits=True, best=self.BEST,
            thresholds=self.GRID, selection=np.array([0.9, 0.1, 0.9]),
        )  # fmt: skip
        assert chosen.line() == {
            "max": pytest.approx(2 / 3),
            "at": 0.25,
            "selected": pytest.approx(1 / 3),
            "selected_at": 0.0,
            "gap": pytest.approx(1 / 3),
        }
        selected = chosen.selected()
        assert (selected.name, selected.hits, selected.is_mean) == ("selected", True, True)
        assert selected.values.tolist() == [0, 1, 0]
        assert selected.image_ids.tolist() == ["i", "j", "k"]
        assert chosen.take(np.array([0, 2])).line()["selected"] == 0
        assert chosen.take(np.array([0, 2])).line()["max"] == 1

    def test_of_several_curves_is_the_mean_of_separate_maxima(self):
        hits = np.zeros((2, 2, 3), bool)
        hits[:, 0, 2] = True
        hits[0, 1, :2] = True
        number = Number(
            "v2", Hits(np.packbits(hits, axis=2), 3), self.IDS[:2], better="higher",
            best=ThresholdColumns("", "selected", "", "gap"), thresholds=self.GRID,
            selection=np.array([0.0, 0.1, 0.9, 0.0, 0.9, 0.1]),
        )  # fmt: skip
        line = number.line()
        assert line == {"v2": 0.75, "selected": 0.75, "gap": 0}
        assert number.selected().values.tolist() == [1, 0.5]
        assert not number.selected().hits
        resampled = np.array([[0.0, 1, 0, 0, 0, 0.5], [0.2, 0, 0, 0, 0.4, 0]])
        assert number.of_means(resampled) == pytest.approx([0.75, 0.3])


class TestContributions:
    """One value an image, whose mean is the number: intervals and tests are about these values."""

    IDS = np.arange(200)
    BEST = ThresholdColumns("", "selected", "", "gap")

    def best_of(self, curves, **facts):
        grid = np.arange(curves.shape[2]) / curves.shape[2]
        packed = Hits(np.packbits(curves, axis=2), curves.shape[2])
        return Number(
            "max", packed, self.IDS, better="higher", best=self.BEST, thresholds=grid, **facts
        )

    def test_of_a_mean_are_its_values(self):
        values = np.random.default_rng(0).random(200)
        number = Number("x", values, self.IDS, better="higher", range=(0.0, 2.0))
        assert number.contributions().tolist() == values.tolist()
        assert number.interval() == mean_interval(values, bounds=(0.0, 2.0))

    def test_of_a_maximum_are_hits_at_the_best_threshold(self):
        hits = np.random.default_rng(0).random((200, 1, 9)) < np.linspace(0.3, 0.6, 9)
        number = self.best_of(hits, hits=True)
        assert (
            number.contributions().tolist() == hits[:, 0, hits[:, 0].mean(axis=0).argmax()].tolist()
        )
        assert number.counts_hits
        two = self.best_of(np.concatenate([hits, ~hits], axis=1), hits=True)
        assert not two.counts_hits
        assert two.contributions().mean() == pytest.approx(two.value())

    def test_the_interval_of_a_maximum_is_around_the_number_without_its_bias(self):
        """40 thresholds at which half of the images are hit: the maximum is 0.58, the truth 0.5."""
        hits = np.random.default_rng(0).random((200, 1, 40)) < 0.5
        number = self.best_of(hits, hits=True)
        interval = number.interval()
        assert interval.value == number.value() > 0.55
        assert interval.low < 0.5
        assert (interval.low + interval.high) / 2 < number.value() - 0.04
        assert interval == number.interval(seed=0) != number.interval(seed=1)

    def test_of_a_mean_over_classes(self):
        values, classes = np.array([1.0, 0.0, 1.0, NAN]), np.array([0, 0, 1, 1])
        number = Number("x", values, np.arange(4), better="higher", hits=True, classes=classes)
        assert number.value() == np.nanmean(number.contributions()) == 0.75
        assert not number.is_mean and not number.counts_hits
        assert number.take(np.array([0, 1])).value() == 0.5
        assert number.interval()[::3] == (0.75, 3)
