"""Batches: the images, and the (image, class) pairs, that are scored together.

A ``RowBatch`` does not say what made its maps or boxes: a network, a stored run, or another tool.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.geometry import Placement

__all__ = ["ImageBatch", "RowBatch", "by_shape"]


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """The images of a batch.

    Attributes:
        ids: the id of each image.
        truth: the ground truth of each image.
        placements: where the network's input lies in each image.
    """

    ids: tuple[str, ...]
    truth: tuple[ImageTruth, ...]
    placements: tuple[Placement, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: Sequence[int]) -> "ImageBatch":
        """The images at these positions."""
        return ImageBatch(
            tuple(self.ids[position] for position in positions),
            tuple(self.truth[position] for position in positions),
            tuple(self.placements[position] for position in positions),
        )


@dataclass(frozen=True, eq=False)
class RowBatch:
    """The (image, class) pairs of a batch; each pair becomes a line of the table ``rows``.

    Attributes:
        images: the images of the batch; several rows may share an image.
        image: the position of each row's image in ``images``.
        rank: the rank of each row's class in the image's prediction, from 1; 0 if classes are not
            ranked.
        wnid: the wnid of each row's class; "" if the row has no class.
        score: the probability of each row's class; NaN if no model scored it.
    """

    images: ImageBatch
    image: Int64[np.ndarray, " r"]
    rank: Int64[np.ndarray, " r"]
    wnid: np.ndarray
    score: Float64[np.ndarray, " r"]

    def __len__(self) -> int:
        return len(self.image)

    @cached_property
    def is_label(self) -> Bool[np.ndarray, " r"]:
        """Return whether each row's class is the label of its image."""
        labels = np.array([truth.label for truth in self.images.truth], dtype=object)
        return np.asarray(self.wnid == labels[self.image], dtype=np.bool_)

    @property
    def image_ids(self) -> np.ndarray:
        """The id of each row's image."""
        return np.array(self.images.ids, dtype=object)[self.image]

    def take(self, rows: Int64[np.ndarray, " m"] | Bool[np.ndarray, " r"]) -> "RowBatch":
        """The rows at these positions; the images stay the same."""
        return replace(
            self,
            image=self.image[rows],
            rank=self.rank[rows],
            wnid=self.wnid[rows],
            score=self.score[rows],
        )

    @classmethod
    def of_labels(cls, images: ImageBatch) -> "RowBatch":
        """One row an image, for its label: the rows of images whose classes no model has ranked."""
        n = len(images)
        labels = np.array([truth.label for truth in images.truth], dtype=object)
        return cls(images, np.arange(n), np.zeros(n, np.int64), labels, np.full(n, np.nan))


def by_shape(shapes: Sequence[tuple[object, ...]]) -> Iterator[Int64[np.ndarray, " m"]]:
    """The positions of equal shapes, group by group; the arrays of a group can be stacked."""
    groups = pd.Series(list(shapes), dtype=object)
    for _, positions in groups.groupby(groups, sort=False):
        yield positions.index.to_numpy(np.int64)
