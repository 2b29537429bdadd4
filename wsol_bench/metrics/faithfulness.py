"""Faithfulness: how the network's confidence changes when a map decides which pixels it sees.

Faithfulness is about the map of the network's first prediction. The columns that these metrics read
are measured during the network's pass (``wsol_bench.capture.insertion_deletion``) if the experiment
has ``faithfulness: STEPS``.
"""

import numpy as np
from jaxtyping import Float64

from wsol_bench.common.table import Column
from wsol_bench.metrics.base import metric
from wsol_bench.metrics.confidence import confidence_drops, confidence_increases
from wsol_bench.metrics.image_scores import ImageScores

__all__ = ["COLUMNS", "average_drop", "deletion", "increase_in_confidence", "insertion"]

COLUMNS = (
    Column(
        "insertion",
        "real",
        "area under the insertion curve ([faithfulness](metrics.md)); NaN except in rows of rank 1",
        "0 to 1",
    ),
    Column(
        "deletion",
        "real",
        "area under the deletion curve; NaN except in rows of rank 1",
        "0 to 1",
    ),
    Column(
        "masked_score",
        "real",
        "probability of the class if the input is multiplied by the map, scaled to 0..1; "
        "NaN except in rows of rank 1",
        "0 to 1",
    ),
)


@metric(
    "insertion",
    per="image",
    better="higher",
    range=(0, 1),
    paper="arXiv:1806.07421",
    needs=("insertion",),
)
def insertion(images: ImageScores) -> Float64[np.ndarray, " n"] | None:
    """Area under the class's probability as the map's highest pixels enter a blurred input."""
    return _measured(images, images.first("insertion"))


@metric(
    "deletion",
    per="image",
    better="lower",
    range=(0, 1),
    paper="arXiv:1806.07421",
    needs=("deletion",),
)
def deletion(images: ImageScores) -> Float64[np.ndarray, " n"] | None:
    """Area under the class's probability as the map's highest pixels become the mean color."""
    return _measured(images, images.first("deletion"))


@metric(
    "average_drop",
    per="image",
    better="lower",
    range=(0, 1),
    paper="arXiv:1710.11063",
    needs=("score", "masked_score", "insertion"),
)
def average_drop(images: ImageScores) -> Float64[np.ndarray, " n"] | None:
    """Mean share of the class's probability that is lost if the input is multiplied by the map."""
    score, masked_score = images.first("score"), images.first("masked_score")
    return _measured(images, confidence_drops(score, masked_score))


@metric(
    "increase_in_confidence",
    per="image",
    better="higher",
    range=(0, 1),
    hits=True,
    paper="arXiv:1710.11063",
    needs=("score", "masked_score", "insertion"),
)
def increase_in_confidence(images: ImageScores) -> Float64[np.ndarray, " n"] | None:
    """Share of images whose class is more probable if the input is multiplied by the map."""
    score, masked_score = images.first("score"), images.first("masked_score")
    return _measured(images, confidence_increases(score, masked_score))


def _measured(
    images: ImageScores, values: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"] | None:
    """The values; None if no map was measured, as when stored maps are scored again."""
    return None if np.isnan(images.first("insertion")).all() else values
