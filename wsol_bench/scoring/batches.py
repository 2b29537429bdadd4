"""Batches: the images and the (image, class) pairs that one step of an evaluation hands on.

Both are frozen types in place of parallel arrays. What made the maps or boxes of a ``RowBatch``
does not matter to it: a network, a stored run, or another tool's files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int64

from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.geometry import Placement

__all__ = ["ImageBatch", "RowBatch"]


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """The images of a batch.

    Attributes:
        ids: of the images.
        truth: of each image.
        placements: where the network's input lies in each image.
    """

    ids: tuple[str, ...]
    truth: tuple[ImageTruth, ...]
    placements: tuple[Placement, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: Sequence[int]) -> "ImageBatch":
        """Some of the images."""
        return ImageBatch(
            tuple(self.ids[position] for position in positions),
            tuple(self.truth[position] for position in positions),
            tuple(self.placements[position] for position in positions),
        )


@dataclass(frozen=True, eq=False)
class RowBatch:
    """The (image, class) pairs of a batch that become rows.

    Attributes:
        images: of the batch; several rows share an image.
        image: position of each row's image among them.
        rank: of the row's class in the image's prediction, from 1; 0 where nobody ranks classes.
        label: wnid of the row's class; "" where it is none.
        score: softmax probability of the class; NaN where there is none.
    """

    images: ImageBatch
    image: Int64[np.ndarray, " r"]
    rank: Int64[np.ndarray, " r"]
    label: np.ndarray
    score: Float64[np.ndarray, " r"]

    def __len__(self) -> int:
        return len(self.image)

    @cached_property
    def own(self) -> Bool[np.ndarray, " r"]:
        """Whether each row's class is its image's own."""
        labels = np.array([truth.label for truth in self.images.truth], dtype=object)
        return np.asarray(self.label == labels[self.image], dtype=np.bool_)

    @property
    def image_ids(self) -> np.ndarray:
        """The id of each row's image."""
        return np.array(self.images.ids, dtype=object)[self.image]

    def take(self, rows: Int64[np.ndarray, " m"] | Bool[np.ndarray, " r"]) -> "RowBatch":
        """Some of the rows, of the same images."""
        return replace(
            self,
            image=self.image[rows],
            rank=self.rank[rows],
            label=self.label[rows],
            score=self.score[rows],
        )

    @classmethod
    def of_labels(cls, images: ImageBatch) -> "RowBatch":
        """One row an image, of its own class, where nobody has ranked classes."""
        n = len(images)
        label = np.array([truth.label for truth in images.truth], dtype=object)
        return cls(images, np.arange(n), np.zeros(n, np.int64), label, np.full(n, np.nan))
