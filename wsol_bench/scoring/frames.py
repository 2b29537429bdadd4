"""The frame of a protocol: the pixels in which it compares boxes.

These are the pixels of the original image or of the network's input.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.geometry import Boxes, Placement, box_iou, to_input, to_original
from wsol_bench.protocols.sections import Frame
from wsol_bench.scoring.batches import RowBatch

__all__ = ["best_iou", "boxes_in_frame", "boxes_in_original", "truth_in_frame"]


def truth_in_frame(truth: ImageTruth, placement: Placement, frame: Frame) -> Boxes:
    """An image's ground-truth boxes in the pixels of a frame."""
    boxes = truth.boxes
    if frame == "original" or not len(boxes):
        return boxes
    # As wsolevaluation does it: inclusive corners are scaled, then cut to whole numbers.
    last = np.array([0.0, 0.0, 1.0, 1.0])
    return np.trunc(to_input(boxes - last, [placement], np.zeros(len(boxes), np.int64))) + last


def boxes_in_original(boxes: Float64[np.ndarray, "n 4"], batch: RowBatch) -> Boxes:
    """Convert boxes, one a row, from pixels of the input to pixels of the rows' images."""
    return to_original(boxes, batch.images.placements, batch.image)


def boxes_in_frame(boxes: Float64[np.ndarray, "n 4"], batch: RowBatch, frame: Frame) -> Boxes:
    """Convert boxes, one a row, from pixels of the rows' images to the pixels of a frame."""
    if frame == "original" or not len(boxes):
        return boxes
    return to_input(boxes, batch.images.placements, batch.image)


def best_iou(
    boxes: Float64[np.ndarray, "n 4"],
    image: Int64[np.ndarray, " n"],
    truth: Sequence[Float64[np.ndarray, "_ 4"]],
) -> Float64[np.ndarray, " n"]:
    """The best IoU of each box with a ground-truth box of its image; 0 if the image has none.

    Args:
        boxes: predicted boxes; NaN for none.
        image: the position of each box's image in ``truth``.
        truth: the ground-truth boxes of each image, in the same pixels.
    """
    counts = np.array([len(image_boxes) for image_boxes in truth], np.int64)[image]
    best = np.zeros(len(boxes))
    for position in range(int(counts.max(initial=0))):
        # The ground-truth box at this position, for every image that has enough boxes.
        rows = np.flatnonzero(counts > position)
        truth_boxes = np.array([truth[index][position] for index in image[rows]])
        best[rows] = np.maximum(best[rows], box_iou(boxes[rows], truth_boxes))
    return best
