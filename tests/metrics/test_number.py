"""A number by itself, of hand-made values."""

import numpy as np
import pytest

from wsol_bench.metrics.number import Number, ThresholdColumns
from wsol_bench.statistics.hits import Hits

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
