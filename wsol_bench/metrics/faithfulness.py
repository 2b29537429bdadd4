"""Faithfulness: what the network itself says of the map of its first prediction.

The columns that these metrics read are measured in the network's pass
(``wsol_bench.capture.faithfulness``) where the experiment has ``faithfulness: STEPS``.
"""

import numpy as np
from jaxtyping import Float64

from wsol_bench.common.table import Column
from wsol_bench.metrics.base import metric
from wsol_bench.metrics.confidence import drops, increases
from wsol_bench.metrics.image_scores import ImageScores

__all__ = ["COLUMNS", "average_drop", "deletion", "increase_in_confidence", "insertion"]

COLUMNS = (
    Column(
        "insertion",
        "real",
        "[faithfulness](metrics.md), in rows of rank 1; NaN elsewhere",
        "0 to 1",
    ),
    Column("deletion", "real", "likewise", "0 to 1"),
    Column("masked_score", "real", "likewise", "0 to 1"),
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
    """Area under the class's probability while the best pixels replace those of a blurred input."""
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
    """Area under the class's probability while the best pixels become the mean color."""
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
    """Mean share of the class's probability that is lost when only the map's part is seen."""
    return _measured(images, drops(images.first("score"), images.first("masked_score")))


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
    """How often the network is surer of the class when only the map's part is seen."""
    return _measured(images, increases(images.first("score"), images.first("masked_score")))


def _measured(
    images: ImageScores, values: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"] | None:
    """The values; None where the network was not asked about any map, as of stored ones."""
    return None if np.isnan(images.first("insertion")).all() else values
