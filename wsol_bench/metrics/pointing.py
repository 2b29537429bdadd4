"""The pointing game: whether the maximum of a map lies on the object."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

__all__ = ["pointing_hits"]


def pointing_hits(
    peaks: Float64[np.ndarray, "n 2"],
    boxes: Sequence[Float64[np.ndarray, "_ 4"]],
    *,
    tolerance: float = 0.0,
) -> Bool[np.ndarray, " n"]:
    """Pointing game (Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016).

    A hit is a maximum within ``tolerance`` pixels of a ground-truth box (the authors allow 15).

    Args:
        peaks: x, y of each map's maximum in pixels of its image; NaN (no positive value) misses.
        boxes: ground truth of each image, half-open xyxy.
        tolerance: in pixels, to each side.
    """
    grown = np.array([-tolerance, -tolerance, tolerance, tolerance])
    hits = np.zeros(len(peaks), np.bool_)
    for index, (point, truth) in enumerate(zip(peaks, boxes, strict=True)):
        around = np.asarray(truth, np.float64).reshape(-1, 4) + grown
        hits[index] = ((around[:, :2] <= point) & (point < around[:, 2:])).all(axis=1).any()
    return hits
