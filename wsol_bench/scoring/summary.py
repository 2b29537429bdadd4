"""The numbers of a run, one line a model x method x layer x protocol."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.number import Number
from wsol_bench.runs.schema import COSTS, GROUP, MethodStatus
from wsol_bench.scoring.base import Scoring, Selection

__all__ = ["COST_NUMBERS", "MethodResults", "no_selection"]

# The columns of a summary that say what a method costs an image, and the columns of ``costs`` that
# they are made of.
COST_NUMBERS = {
    "forward_passes": "forward",
    "backward_passes": "backward",
    "head_passes": "head",
    "seconds": "seconds",
}
COSTS.require(COST_NUMBERS.values())


def no_selection(number: str) -> None:
    """The selection of a run whose thresholds are not chosen by another run."""


class MethodResults:
    """The results of one method, at one layer, as a run has stored them.

    Args:
        names: the columns ``GROUP``.
        images: of the model.
        rows, curves: of the method; of the rows those of the own class and of rank 1 matter.
        scoring: of the protocol, with the metrics of the run.
        selection: the means that thresholds are selected by, of another run.
    """

    def __init__(
        self,
        names: Mapping[str, str],
        images: EvaluatedImages,
        rows: pd.DataFrame,
        curves: pd.DataFrame | None,
        scoring: Scoring,
        selection: Selection = no_selection,
    ) -> None:
        self.names = {name: names[name] for name in GROUP}
        self.scores = ImageScores.of(images, rows, curves)
        self._scoring = scoring
        self._selection = selection

    def numbers(self) -> list[Number]:
        """The numbers of the method, image by image."""
        return self._scoring.numbers(self.scores, self._selection)

    def line(self, costs: pd.DataFrame | None = None) -> dict[str, Any]:
        """The method's line of the summary.

        Args:
            costs: of the method; see docs/rows.md.

        Returns:
            The columns of ``GROUP``, status, counts, and the numbers that protocol and metrics
            define (docs/metrics.md). Images that were not evaluated are counted in ``n_skipped``
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
            **self._scoring.summary(scores, self._selection),
            **({} if costs is None else _cost(costs)),
        }


def _cost(costs: pd.DataFrame) -> dict[str, float | str]:
    """Average what a method cost over its images; say why it is not applicable, or ""."""
    n_images = costs["n_images"].sum() or float("nan")
    reason = next((reason for reason in costs["reason"] if reason), "")
    means = {name: float(costs[column].sum() / n_images) for name, column in COST_NUMBERS.items()}
    return {**means, "reason": reason}
