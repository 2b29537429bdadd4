"""The evaluated images of a model, with the values that their ground truth alone decides."""

from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from wsol_bench.common.arrays import read_only
from wsol_bench.geometry import Boxes, box_area
from wsol_bench.runs.schema import ImageStatus

__all__ = ["EvaluatedImages", "LabelBoxes"]


class LabelBoxes(NamedTuple):
    """The ground-truth boxes of the images' labels, in one array.

    Attributes:
        boxes: half-open xyxy boxes in pixels of the original images, image by image.
        per_image: number of boxes of each image.
    """

    boxes: Boxes
    per_image: Int64[np.ndarray, " images"]


class ImageClasses(NamedTuple):
    """The labels of images as numbers.

    Attributes:
        number: index into ``names`` of each image's label; -1 for an image without a label.
        names: the labels, sorted.
    """

    number: Int64[np.ndarray, " images"]
    names: list[str]


@dataclass(frozen=True, eq=False)
class EvaluatedImages:
    """The evaluated images of a model, which the numbers of all its methods share.

    Values that depend on the images alone are computed once for all methods. Their arrays are
    read-only, so that no metric changes the number of another method.

    Attributes:
        table: the images table, one row an image; see docs/rows.md.
        n_skipped: number of images that the model was not evaluated on; they enter no number.
    """

    table: pd.DataFrame
    n_skipped: int = 0

    @classmethod
    def of(cls, images: pd.DataFrame) -> "EvaluatedImages":
        """The evaluated images in the images table of one model."""
        evaluated = (images["status"] == ImageStatus.EVALUATED).to_numpy(bool)
        if evaluated.all():
            return cls(images)
        chosen = images[evaluated].reset_index(drop=True)
        return cls(chosen, n_skipped=len(images) - len(chosen))

    def __len__(self) -> int:
        return len(self.table)

    def apart(self) -> "EvaluatedImages":
        """The same images with a table of its own, which a plug-in may write into."""
        other = copy(self)
        vars(other).update(table=self.table.copy())
        return other

    def take(self, chosen: Bool[np.ndarray, " n"]) -> "EvaluatedImages":
        """The chosen images."""
        return EvaluatedImages(self.table[chosen].reset_index(drop=True))

    @cached_property
    def index(self) -> pd.Index:
        """The ids of the images."""
        return pd.Index(self.table["image_id"])

    @cached_property
    def ids(self) -> np.ndarray:
        """The ids of the images, as an array of strings."""
        return read_only(self.index.to_numpy(object))

    @cached_property
    def has_box(self) -> Bool[np.ndarray, " n"]:
        """Return whether each image has a ground-truth box of its label."""
        return read_only(self.table["n_label_boxes"].to_numpy(np.int64) > 0)

    @cached_property
    def counted(self) -> Bool[np.ndarray, " n"]:
        """Return whether localization errors count each image.

        They count an image that has a box and is not blacklisted.
        """
        return read_only(self.has_box & ~self.table["blacklisted"].to_numpy(bool))

    @cached_property
    def held_out(self) -> Bool[np.ndarray, " n"]:
        """Return whether a threshold is selected on each image; it then enters no number."""
        if "held_out" not in self.table:
            return read_only(np.zeros(len(self), np.bool_))
        return read_only(self.table["held_out"].to_numpy(bool))

    @cached_property
    def classes(self) -> ImageClasses:
        """The labels of the images, numbered."""
        number, names = pd.factorize(self.table["label"].to_numpy(object), sort=True)
        return ImageClasses(read_only(number.astype(np.int64)), list(names))

    @cached_property
    def label_boxes(self) -> LabelBoxes:
        """The ground-truth boxes of the images' labels, as one array."""
        flat = [np.asarray(boxes, np.float64) for boxes in self.table["boxes"].tolist()]
        per_image = np.array([len(boxes) // 4 for boxes in flat], np.int64)
        boxes = np.concatenate([np.zeros(0), *flat]).reshape(-1, 4)
        return LabelBoxes(read_only(boxes), read_only(per_image))

    @cached_property
    def largest_share(self) -> Float64[np.ndarray, " n"]:
        """The area of the largest box of each image's label, as a fraction of the image."""
        largest = np.zeros(len(self))
        truth = self.label_boxes
        image_of_box = np.repeat(np.arange(len(self)), truth.per_image)
        np.maximum.at(largest, image_of_box, box_area(truth.boxes))
        height, width = (self.table[side].to_numpy(np.float64) for side in ("height", "width"))
        return read_only(largest / (height * width))

    def positions(self, ids: pd.Series) -> Int64[np.ndarray, " r"]:
        """The position in the table of the image with each id.

        Args:
            ids: image ids of rows. A categorical column whose categories are ``index`` is looked up
                by its codes alone.

        Raises:
            ValueError: an id is not in the table.
        """
        ids = ids.astype("category")
        position = ids.cat.codes.to_numpy().astype(np.int64)
        if ids.cat.categories is not self.index:
            of_category = np.append(self.index.get_indexer(ids.cat.categories), -1)
            position = of_category[position].astype(np.int64)
        if (position < 0).any():
            unknown = ids.iloc[int(np.argmax(position < 0))]
            raise ValueError(f"rows hold an image that the images table does not: {unknown}")
        return position

    def label_codes(self, classes: pd.Index) -> Int64[np.ndarray, " n"]:
        """The position of each image's label in a list of classes; -2 if it is not in the list."""
        code = classes.get_indexer(pd.Index(self.classes.names, dtype=object))
        return np.append(np.where(code < 0, -2, code), -2)[self.classes.number].astype(np.int64)
