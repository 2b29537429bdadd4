"""Batches between a method pass and the tables: before and after they are scored.

A pass yields an ``UnscoredBatch``, whose groups the scorer turns into ``ScoredGroup``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float16, Float64, Int64

from wsol_bench.datasets import Sample
from wsol_bench.runs.schema import ImageStatus
from wsol_bench.scoring.base import Scoring
from wsol_bench.scoring.batches import RowBatch
from wsol_bench.scoring.scores import Scores

__all__ = [
    "CostLine",
    "ImageOutcome",
    "ScoredGroup",
    "ScoredMethod",
    "StoredMaps",
    "UnscoredBatch",
    "UnscoredGroup",
]


class ImageOutcome(NamedTuple):
    """The outcome of an image: a line of the table ``images``.

    Attributes:
        position: the image's position in the data set.
        sample: the image.
        status: whether it was evaluated, and if not, what went wrong.
        reason: why it was not evaluated; "" if it was.
        label_rank: the rank of its label among the model's outputs; 0 if no model ranked it.
        label_score: the probability of its label; NaN if no model scored it.
    """

    position: int
    sample: Sample
    status: ImageStatus
    reason: str = ""
    label_rank: int = 0
    label_score: float = float("nan")


class StoredMaps(NamedTuple):
    """The maps of some rows of a method, as they are stored.

    Attributes:
        rows: the position of each map's row.
        values: the maps divided by their scale, in float16.
        scale: the scale of each map, in the method's unit.
    """

    rows: Int64[np.ndarray, " n"]
    values: Float16[np.ndarray, "n h w"]
    scale: Float64[np.ndarray, " n"]


class CostLine(NamedTuple):
    """The cost of a method on a group of images: a line of ``costs`` without its names."""

    n_images: int
    forward: int = 0
    backward: int = 0
    head: int = 0
    seconds: float = 0.0
    reason: str = ""

    def plus(self, other: "CostLine") -> "CostLine":
        """The sum of two costs, with the first reason."""
        return CostLine(
            self.n_images + other.n_images,
            self.forward + other.forward,
            self.backward + other.backward,
            self.head + other.head,
            self.seconds + other.seconds,
            self.reason or other.reason,
        )


@dataclass(frozen=True, eq=False)
class ScoredMethod:
    """The scores of one method on a group of images.

    Attributes:
        method, layer: the names in the results.
        rows: the (image, class) pairs.
        scores: the scores of each row.
        cost: the method's cost on the whole group.
        maps: the maps that are kept; None if the method has made none.
        measured: what the network pass has measured of each row's map, by column.
    """

    method: str
    layer: str
    rows: RowBatch
    scores: Scores
    cost: CostLine
    maps: StoredMaps | None = None
    measured: Mapping[str, Float64[np.ndarray, " r"]] = field(default_factory=dict)


class ScoredGroup(NamedTuple):
    """A group of images after scoring.

    Attributes:
        outcomes: the outcome of each image.
        methods: the scores of each method on the images that were evaluated.
    """

    outcomes: list[ImageOutcome]
    methods: list[ScoredMethod]


@runtime_checkable
class UnscoredGroup(Protocol):
    """A group of images whose maps or boxes are made, but not scored yet."""

    def scored(self, scoring: Scoring) -> ScoredGroup:
        """Score the maps and boxes of the group."""


class UnscoredBatch(NamedTuple):
    """A batch of images whose maps or boxes are made, but not scored yet.

    Attributes:
        failed: the images that cannot be scored.
        groups: the other images; the inputs of a group have one size.
    """

    failed: list[ImageOutcome]
    groups: Sequence[UnscoredGroup]
