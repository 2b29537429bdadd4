"""The pointing game: whether the maximum of a map lies on the object."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from wsol_bench.geometry import image_pairs

__all__ = ["TOLERANCE", "pointing_hits"]

# What the authors allow, in pixels.
TOLERANCE = 15.0


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

    Raises:
        ValueError: not the boxes of one image a peak.
    """
    if len(peaks) != len(boxes):
        raise ValueError(f"expected the boxes of {len(peaks)} images, found {len(boxes)}")
    counts = np.array([len(truth) for truth in boxes], np.int64)
    pairs = image_pairs(np.arange(len(peaks)), counts)
    grown = np.array([-tolerance, -tolerance, tolerance, tolerance])
    around = (np.concatenate([np.empty((0, 4)), *boxes]) + grown)[pairs.box]
    point = peaks[pairs.guess]
    inside = ((around[:, :2] <= point) & (point < around[:, 2:])).all(axis=1)
    hits = np.zeros(len(peaks), np.bool_)
    hits[pairs.guess[inside]] = True
    return hits
