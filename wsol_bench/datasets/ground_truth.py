"""The ground truth of an image, which a prediction of its class is scored against."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from wsol_bench.datasets.base import Dataset, Sample, counts_for
from wsol_bench.datasets.masks import MaskFiles

__all__ = ["ImageTruth"]


class ImageTruth(NamedTuple):
    """The ground truth of an image.

    Attributes:
        label: wnid of the image's class.
        boxes: (n, 4) boxes that can credit a guess of that class, half-open xyxy pixels of the
            image.
        mask: the mask of the class; None in a data set of boxes.
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
        return [cls(*fields) for fields in zip(map(str, labels), boxes, masks, strict=True)]
