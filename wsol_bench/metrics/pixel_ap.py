"""PxAP and peak IoU: the scores of all pixels of all images against masks."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

__all__ = ["PeakIou", "peak_iou", "pixel_average_precision"]

Counts = Int64[np.ndarray, " t"] | Float64[np.ndarray, " t"]


class PeakIou(NamedTuple):
    """The best pooled IoU of a set.

    Attributes:
        iou: in [0, 1]; NaN where no pixel is foreground.
        threshold: index of the bin from which on pixels count as object.
    """

    iou: float
    threshold: int


def pixel_average_precision(foreground: Counts, background: Counts) -> float:
    """PxAP (Choe et al., CVPR 2020, eq. 6): area under the precision-recall curve of pixels.

    ``sum_l precision(t_l) * (recall(t_l) - recall(t_l+1))`` over thresholds from the highest, where
    precision and recall are those of all pixels of the set at or above the threshold.

    Args:
        foreground, background: pixels of objects, and others, in bins of ascending scores.

    Returns:
        In [0, 1]; NaN where no pixel is foreground.
    """
    right, all_found, whole = _cumulative(foreground, background)
    if whole == 0:
        return float("nan")
    precision = np.divide(right, all_found, out=np.zeros(len(right)), where=all_found > 0)
    gained = np.diff(right, prepend=0.0) / whole
    return float((precision * gained).sum())


def peak_iou(foreground: Counts, background: Counts) -> PeakIou:
    """Peak IoU (pIoU; Zhu et al., DA-WSOL, CVPR 2022): the best pooled IoU of any threshold.

    ``max_t TP(t) / (TP(t) + FP(t) + FN(t))``, with counts of pixels over the whole set.

    Args:
        foreground, background: as in ``pixel_average_precision``.
    """
    right, all_found, whole = _cumulative(foreground, background)
    if whole == 0:
        return PeakIou(float("nan"), 0)
    iou = right / (whole + all_found - right)
    best = int(np.argmax(iou))
    return PeakIou(float(iou[best]), len(iou) - 1 - best)


def _cumulative(
    foreground: Counts, background: Counts
) -> tuple[Float64[np.ndarray, " t"], Float64[np.ndarray, " t"], float]:
    """Pixels of objects, and all, at or above each threshold from the highest; and all objects'."""
    right = np.cumsum(foreground[::-1]).astype(np.float64)
    wrong = np.cumsum(background[::-1]).astype(np.float64)
    return right, right + wrong, float(foreground.sum())
