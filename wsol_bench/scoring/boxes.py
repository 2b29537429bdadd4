"""What the two kinds that score boxes share: levels of a map, and the frame of the comparison."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int64

from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.geometry import Boxes, Placement, box_iou, to_input, to_original
from wsol_bench.protocols.sections import BoxSection, Frame, MapSection
from wsol_bench.scoring.batches import RowBatch

__all__ = ["CONNECTIVITY", "best_iou", "boxes_in_original", "extrema", "truth_in_frame"]

# scikit-image's count of orthogonal hops, by number of neighbors.
CONNECTIVITY = {4: 1, 8: 2}


def extrema(
    large: Float32[np.ndarray, "n height width"],
    maps: Float32[np.ndarray, "n h w"],
    map_rule: MapSection,
    box_rule: BoxSection,
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """The extrema that levels are measured by; NaN where a value of the map is not finite."""
    measured = large
    if box_rule.measured_on == "low_resolution":
        measured = np.maximum(maps, 0) if map_rule.rectify == "before_upsampling" else maps
    flat = measured.reshape(len(maps), measured[0].size)
    low, high = flat.min(axis=1).astype(np.float64), flat.max(axis=1).astype(np.float64)
    high[~np.isfinite(maps).all(axis=(1, 2))] = np.nan
    return low, high


def truth_in_frame(truth: ImageTruth, placement: Placement, frame: Frame) -> Boxes:
    """An image's ground-truth boxes in the pixels that are compared."""
    boxes = truth.boxes
    if frame == "original" or not len(boxes):
        return boxes
    # As wsolevaluation does it: inclusive corners are scaled, then cut to whole numbers.
    last = np.array([0.0, 0.0, 1.0, 1.0])
    return np.trunc(to_input(boxes - last, [placement], np.zeros(len(boxes), np.int64))) + last


def boxes_in_original(boxes: Float64[np.ndarray, "n 4"], batch: RowBatch) -> Boxes:
    """Boxes of the input, one a row, in pixels of the rows' images."""
    return to_original(boxes, batch.images.placements, batch.image)


def best_iou(
    boxes: Float64[np.ndarray, "n 4"],
    image: Int64[np.ndarray, " n"],
    truth: Sequence[Float64[np.ndarray, "_ 4"]],
) -> Float64[np.ndarray, " n"]:
    """The best IoU of each box with a ground-truth box of its image; 0 where there is none.

    Args:
        boxes: predicted; NaN where there is no box.
        image: of each box.
        truth: the boxes of each image, in the same pixels.
    """
    counts = np.array([len(one) for one in truth], np.int64)[image]
    best = np.zeros(len(boxes))
    for position in range(int(counts.max(initial=0))):
        # The n-th ground-truth box of every image that has so many.
        some = np.flatnonzero(counts > position)
        theirs = np.array([truth[index][position] for index in image[some]])
        best[some] = np.maximum(best[some], box_iou(boxes[some], theirs))
    return best
