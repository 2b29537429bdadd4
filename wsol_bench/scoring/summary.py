"""The summary of a run: one line of numbers for each model x method x layer x protocol."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.number import Number
from wsol_bench.runs.schema import COST_NUMBERS, GROUP, UNSOUND, MethodStatus
from wsol_bench.scoring.base import Scoring, Selection

__all__ = ["MethodResults", "no_selection"]


def no_selection(number: str) -> None:
    """The selection of a run whose thresholds are not selected on another run."""


class MethodResults:
    """The stored results of one method at one layer.

    Args:
        names: the values of the columns ``GROUP``.
        images: the evaluated images of the model.
        rows, curves: the method's lines of these tables; of the rows, only those of the label and
            of rank 1 are read.
        scoring: the scoring of the run's protocol and metrics.
        selection: the means of another run that thresholds are selected by.
        measured: the names of the columns of ``rows`` that methods fill themselves; the summary
            has their means.
    """

    def __init__(
        self,
        names: Mapping[str, str],
        images: EvaluatedImages,
        rows: pd.DataFrame,
        curves: pd.DataFrame | None,
        scoring: Scoring,
        selection: Selection = no_selection,
        measured: Sequence[str] = (),
    ) -> None:
        self.names = {name: names[name] for name in GROUP}
        self.scores = ImageScores.of(images, rows, curves)
        self._scoring = scoring
        self._selection = selection
        self._measured = measured

    def numbers(self) -> list[Number]:
        """The numbers of the method, each with its values image by image."""
        return self._scoring.numbers(self.scores, self._selection)

    def line(self, costs: pd.DataFrame | None = None) -> dict[str, Any]:
        """The method's line of the summary.

        Args:
            costs: the method's lines of the table ``costs``; see docs/rows.md.

        Returns:
            The columns ``GROUP``, the status, the counts, and the numbers that protocol and metrics
            define (docs/metrics.md); the means of what methods measure of their maps. Images
            that were not evaluated are counted in ``n_skipped``
            and enter no number.
        """
        scores = self.scores
        status = MethodStatus.OK if len(scores) else MethodStatus.NO_IMAGES
        if not scores.applicable:
            status = MethodStatus.NOT_APPLICABLE
        return {
            **self.names,
            "status": status.value,
            "n_images": len(scores),
            "n_skipped": scores.evaluated.n_skipped,
            "n_missing": scores.n_missing,
            **{name: scores.n_with_status(status) for status, name in UNSOUND.items()},
            **self._scoring.summary(scores, self._selection),
            **{
                name: float(scores.scored.of_maps(name).mean()) if len(scores.scored) else math.nan
                for name in self._measured
            },
            **({} if costs is None else _cost(costs)),
        }


def _cost(costs: pd.DataFrame) -> dict[str, float | str]:
    """The mean cost of a method per image, and why the method is not applicable or ""."""
    n_images = costs["n_images"].sum() or float("nan")
    reason = next((reason for reason in costs["reason"] if reason), "")
    means = {name: float(costs[column].sum() / n_images) for name, column in COST_NUMBERS.items()}
    return {**means, "reason": reason}
