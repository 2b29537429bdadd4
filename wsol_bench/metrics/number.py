"""A number of a method: the values of the images, and how their means become the number.

The summary, intervals, paired tests and selected thresholds all derive from the same ``Number``, so
they cannot be about different numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64, Real

from wsol_bench.common.vocabulary import Better
from wsol_bench.metrics.max_box_acc import max_box_acc
from wsol_bench.statistics.bootstrap import bootstrap_bias
from wsol_bench.statistics.columns import Columns, Statistic, column_means
from wsol_bench.statistics.contributions import (
    class_mean,
    class_mean_contributions,
    statistic_contributions,
)
from wsol_bench.statistics.hits import Hits
from wsol_bench.statistics.intervals import Interval, mean_interval

__all__ = ["Number", "PerImageValues", "ThresholdColumns"]

PerImageValues: TypeAlias = (
    Bool[np.ndarray, " n"]
    | Real[np.ndarray, " n"]
    | Bool[np.ndarray, "n m"]
    | Real[np.ndarray, "n m"]
    | Hits
)


class ThresholdColumns(NamedTuple):
    """The names of the summary's columns beside a number at its best threshold; "" for no column.

    Attributes:
        threshold: column of the threshold that is best for the images that are scored.
        selected: column of the number at the selected threshold, which is best for other images.
        selected_threshold: column of the selected threshold.
        gap: column of the number minus the selected number.
    """

    threshold: str
    selected: str
    selected_threshold: str
    gap: str


@dataclass(frozen=True, eq=False)
class Number:
    """A number of one method, image by image.

    It is the mean of one value an image, or of each class's mean (``classes``), or what ``best`` or
    ``statistic`` makes of the means of several columns.

    Attributes:
        name: name in summaries and tables.
        values: what each image contributes: one value, or several columns; NaN if an image does not
            count.
        image_ids: ids of these images.
        better: whether higher or lower values are good.
        range: least and greatest value; infinite if there is no bound.
        hits: whether each value is 0 or 1.
        classes: if set, the number of each image's class, and the number is the mean over classes
            of the mean of each class.
        statistic: function from means of shape (r, m) to numbers of shape (r,); None for the mean
            of the one column.
        best: if set, the columns are hits at ascending thresholds, the curves side by side, and the
            number is the mean over curves of the largest mean over thresholds.
        thresholds: thresholds of the columns of each curve, if ``best`` is set.
        selection: means of the same columns over the images that a threshold is selected on.
        point: the number over all images, if it is not computed from the means.
        beside: further columns of the summary, with their values.
    """

    name: str
    values: PerImageValues
    image_ids: np.ndarray
    better: Better
    range: tuple[float, float] = (0.0, 1.0)
    hits: bool = False
    classes: Int64[np.ndarray, " n"] | None = None
    statistic: Statistic | None = None
    best: ThresholdColumns | None = None
    thresholds: Float64[np.ndarray, " t"] | None = None
    selection: Float64[np.ndarray, " m"] | None = None
    point: float | None = None
    beside: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_mean(self) -> bool:
        """Return whether the number is the mean of one value an image."""
        return self.statistic is None and self.best is None and self.classes is None

    @property
    def counts_hits(self) -> bool:
        """Return whether each image contributes 0 or 1, so that methods have McNemar's test.

        An image contributes to a maximum over thresholds its hit at the best one.
        """
        one_curve = self.best is None or self.columns.shape[1] == self._n_thresholds
        return self.hits and self.statistic is None and self.classes is None and one_curve

    @property
    def columns(self) -> Columns | Hits:
        """The values as columns, one row an image."""
        if isinstance(self.values, Hits):
            return self.values
        return self.values if self.values.ndim == 2 else self.values[:, None]

    @property
    def of_means(self) -> Statistic:
        """The function from means of the columns to numbers, which the bootstrap applies."""
        if self.best is not None:
            return self._mean_of_best
        return self.statistic or (lambda means: means[:, 0])

    def means(self) -> Float64[np.ndarray, " m"]:
        """The means of the columns over all images; NaN without images."""
        return column_means(self.columns)

    def value(self) -> float:
        """The number over all images that count; NaN if none does."""
        if self.point is not None:
            return self.point
        if self.classes is not None:
            return class_mean(np.asarray(self.values, np.float64), self.classes)
        if self.is_mean:
            return float(pd.Series(np.asarray(self.values, np.float64)).mean())
        return float(self.of_means(self.means()[None])[0]) if len(self) else float("nan")

    def contributions(self) -> Float64[np.ndarray, " n"]:
        """The contribution of each image: one value an image, whose mean is the number.

        The number is tested, and its interval made, by these values. For a maximum over thresholds
        they are the hits at the best thresholds, which are taken as given. NaN if an image does not
        count.
        """
        if self.classes is not None:
            return class_mean_contributions(np.asarray(self.values, np.float64), self.classes)
        if self.is_mean:
            return np.asarray(self.values, np.float64)
        if self.best is not None:
            return self._hits_at(self._curves(self.means()).argmax(axis=1)).mean(axis=1)
        return statistic_contributions(self.columns, self.of_means)

    def interval(self, *, seed: int = 0) -> Interval:
        """The number with its 95% interval.

        Args:
            seed: seed of the bootstrap that estimates the bias of a number that is made of means;
                the interval is one of the number without this bias.
        """
        bias = self.bias(seed=seed)
        interval = mean_interval(self.contributions(), bounds=self.range, bias=bias)
        return interval._replace(value=self.value())

    def bias(self, *, seed: int = 0) -> float:
        """The amount by which a number made of means is expected to exceed the truth; 0 for a mean.

        Args:
            seed: seed of the bootstrap that estimates it.
        """
        if self.is_mean or self.classes is not None or not len(self):
            return 0.0
        return bootstrap_bias(self.columns, self.of_means, seed=seed)

    def line(self) -> dict[str, float]:
        """The columns of a summary: the number, and the columns beside it."""
        value = self.value()
        line = {self.name: value, **self.beside}
        if self.best is None or self.thresholds is None:
            return line
        means = self._curves(self.means())
        if len(means) == 1 and self.best.threshold:
            line[self.best.threshold] = float(self.thresholds[means[0].argmax()])
        if self.selection is None:
            return line
        chosen = self._curves(self.selection).argmax(axis=1)
        at_chosen = [float(curve[at]) for curve, at in zip(means, chosen, strict=True)]
        line[self.best.selected] = float(np.mean(at_chosen))
        if len(means) == 1 and self.best.selected_threshold:
            line[self.best.selected_threshold] = float(self.thresholds[chosen[0]])
        line[self.best.gap] = value - line[self.best.selected]
        return line

    def selected(self) -> "Number | None":
        """The number at the selected threshold, image by image; None without a selection."""
        if self.best is None or self.selection is None:
            return None
        chosen = self._curves(self.selection).argmax(axis=1)
        return Number(
            self.best.selected,
            self._hits_at(chosen).mean(axis=1),
            self.image_ids,
            better=self.better,
            range=self.range,
            hits=self.hits and len(chosen) == 1,
        )

    def take(self, positions: np.ndarray) -> "Number":
        """The number of the images at the positions."""
        return replace(
            self,
            values=self.values[positions],
            image_ids=self.image_ids[positions],
            classes=None if self.classes is None else self.classes[positions],
            point=None,
        )

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def _n_thresholds(self) -> int:
        return self.columns.shape[1] if self.thresholds is None else len(self.thresholds)

    def _curves(self, means: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, "d t"]:
        return means.reshape(-1, self._n_thresholds)

    def _hits_at(
        self, chosen: Int64[np.ndarray, " d"]
    ) -> Bool[np.ndarray, "n d"] | Real[np.ndarray, "n d"]:
        """The hits on each curve at its chosen threshold."""
        at = np.arange(len(chosen)) * self._n_thresholds + chosen
        columns = self.columns
        return columns.at(at) if isinstance(columns, Hits) else columns[:, at]

    def _mean_of_best(self, means: Float64[np.ndarray, "r m"]) -> Float64[np.ndarray, " r"]:
        return max_box_acc(means.reshape(len(means), -1, self._n_thresholds))
