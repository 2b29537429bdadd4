"""What one step of an evaluation hands to the next: frozen batches in place of parallel arrays.

A ``RowBatch`` holds the (image, class) pairs that become rows; what made their maps or boxes does
not matter to it: a network, a stored run, other people's files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from wsol_bench.datasets import Dataset, MaskFiles, Sample, counts_for
from wsol_bench.geometry import Boxes, Placement, to_input
from wsol_bench.images.masks import OBJECT, mask_of

__all__ = ["ImageBatch", "ImageTruth", "MapView", "RowBatch"]


class ImageTruth(NamedTuple):
    """The ground truth of an image.

    Attributes:
        label: wnid of the image's class.
        boxes: those that can credit a guess of that class, half-open xyxy pixels of the image.
        mask: of the class, in a data set of masks.
    """

    label: str
    boxes: Float64[np.ndarray, "_ 4"]
    mask: MaskFiles | None = None

    @classmethod
    def of(cls, sample: Sample) -> "ImageTruth":
        """The ground truth of a data set's sample."""
        credited = counts_for(sample.label, np.array(sample.box_labels, dtype=object))
        return cls(sample.label, sample.boxes[credited], sample.mask)

    @classmethod
    def of_all(cls, dataset: Dataset) -> list["ImageTruth"]:
        """The ground truth of each image of a data set, without a loop over its boxes."""
        labels = dataset.images["label"].to_numpy(object)
        n_boxes = dataset.images["n_boxes"].to_numpy(np.int64)
        image_of_box = np.repeat(np.arange(len(dataset)), n_boxes)
        credited = counts_for(labels[image_of_box], dataset.box_labels)
        counts = np.bincount(image_of_box[credited], minlength=len(dataset))
        boxes = np.split(dataset.boxes[credited], np.cumsum(counts)[:-1]) if len(dataset) else []
        masks = dataset.masks or (None,) * len(dataset)
        return [cls(*one) for one in zip(map(str, labels), boxes, masks, strict=True)]


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


@dataclass(frozen=True, eq=False)
class MapView:
    """One localization map beside the ground truth of its image: what a metric of maps sees.

    Attributes:
        values: the map at the input's size, as the protocol upsamples it.
        truth: of the image.
        placement: where the network's input lies in the image.
    """

    values: Float32[np.ndarray, "height width"]
    truth: ImageTruth
    placement: Placement

    @cached_property
    def finite(self) -> bool:
        """Whether all values are finite."""
        return bool(np.isfinite(self.values).all())

    @cached_property
    def boxes(self) -> Boxes:
        """The ground-truth boxes in pixels of the input, half-open xyxy."""
        boxes = self.truth.boxes
        return to_input(boxes, [self.placement], np.zeros(len(boxes), np.int64))

    @cached_property
    def pixels(self) -> UInt8[np.ndarray, "height width"]:
        """The ground truth as pixels: 1 object, 0 background, 255 counts neither way.

        The image's mask in a data set of masks; else a pixel is object where its center lies in a
        ground-truth box.
        """
        if self.truth.mask is not None:
            return mask_of(self.truth.mask, self.placement)
        height, width = self.values.shape[0], self.values.shape[1]
        pixels = np.zeros((height, width), np.uint8)
        for x0, y0, x1, y1 in np.ceil(self.boxes - 0.5).tolist():
            rows = slice(max(0, int(y0)), min(height, max(0, int(y1))))
            columns = slice(max(0, int(x0)), min(width, max(0, int(x1))))
            pixels[rows, columns] = OBJECT
        return pixels

    @cached_property
    def peak(self) -> tuple[int, int] | None:
        """(x, y) of the first maximum in raster order; None without a positive, finite maximum.

        The latter is said of the sum of the positive values, so a map with a NaN or an infinite
        value has no peak.
        """
        x, y, whole = _peak(self.values)
        return (x, y) if whole > 0 and np.isfinite(whole) else None


@no_type_check
@numba.njit(nogil=True, cache=True)
def _peak(values):
    height, width = values.shape
    whole = 0.0
    top_x, top_y = 0, 0
    for y in range(height):
        row = 0.0
        for x in range(width):
            value = values[y, x]
            if value > values[top_y, top_x]:
                top_x, top_y = x, y
            # Not a number stays one in the sum.
            row += 0.0 if value <= 0 else value
        whole += row
    return top_x, top_y, whole
