"""A number of a method: the values of the images, and how their means become the number.

The summary, intervals, paired tests and selected thresholds all derive from the same ``Number``, so
they cannot be about different numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Real

from wsol_bench.common.vocabulary import Better
from wsol_bench.metrics.max_box_acc import max_box_acc
from wsol_bench.statistics.bootstrap import N_RESAMPLES
from wsol_bench.statistics.columns import Columns, Statistic, column_means
from wsol_bench.statistics.hits import Hits

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

    Attributes:
        name: name in summaries and tables.
        values: what each image contributes: one value, or several columns; NaN if an image does not
            count.
        image_ids: ids of these images.
        better: whether higher or lower values are good.
        hits: whether each value is 0 or 1, so that methods are compared by McNemar's test.
        statistic: function from means of shape (r, m) to numbers of shape (r,); None for the mean
            of the one column.
        best: if set, the columns are hits at ascending thresholds, the curves side by side, and the
            number is the mean over curves of the largest mean over thresholds.
        thresholds: thresholds of the columns of each curve, if ``best`` is set.
        selection: means of the same columns over the images that a threshold is selected on.
        point: the number over all images, if it is not computed from the means.
        beside: further columns of the summary, with their values.
        n_resamples: number of resamples of the bootstrap.
    """

    name: str
    values: PerImageValues
    image_ids: np.ndarray
    better: Better
    hits: bool = False
    statistic: Statistic | None = None
    best: ThresholdColumns | None = None
    thresholds: Float64[np.ndarray, " t"] | None = None
    selection: Float64[np.ndarray, " m"] | None = None
    point: float | None = None
    beside: Mapping[str, float] = field(default_factory=dict)
    n_resamples: int = N_RESAMPLES

    @property
    def is_mean(self) -> bool:
        """Return whether the number is the mean of one value an image."""
        return self.statistic is None and self.best is None

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
        if self.is_mean:
            return float(pd.Series(np.asarray(self.values, np.float64)).mean())
        return float(self.of_means(self.means()[None])[0]) if len(self) else float("nan")

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
        n_thresholds = self._curves(self.selection).shape[1]
        at = np.arange(len(chosen)) * n_thresholds + chosen
        columns = self.columns
        hits = columns.at(at) if isinstance(columns, Hits) else columns[:, at]
        return Number(
            self.best.selected,
            hits.mean(axis=1),
            self.image_ids,
            better=self.better,
            hits=self.hits and len(chosen) == 1,
        )

    def take(self, positions: np.ndarray) -> "Number":
        """The number of the images at the positions."""
        return replace(
            self, values=self.values[positions], image_ids=self.image_ids[positions], point=None
        )

    def __len__(self) -> int:
        return len(self.image_ids)

    def _curves(self, means: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, "d t"]:
        n_thresholds = len(means) if self.thresholds is None else len(self.thresholds)
        return means.reshape(-1, n_thresholds)

    def _mean_of_best(self, means: Float64[np.ndarray, "r m"]) -> Float64[np.ndarray, " r"]:
        n_thresholds = means.shape[1] if self.thresholds is None else len(self.thresholds)
        return max_box_acc(means.reshape(len(means), -1, n_thresholds))
