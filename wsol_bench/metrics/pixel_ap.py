"""PxAP and peak IoU: how well the scores of all pixels of a set separate object and background."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

__all__ = ["PeakIou", "peak_iou", "pixel_average_precision"]

Counts = Int64[np.ndarray, " t"] | Float64[np.ndarray, " t"]


class PeakIou(NamedTuple):
    """The best IoU at any threshold, with the pixels of a set of images pooled.

    Attributes:
        iou: the best IoU, in [0, 1]; NaN if no pixel is foreground.
        threshold: index of the first bin whose pixels count as object.
    """

    iou: float
    threshold: int


def pixel_average_precision(foreground: Counts, background: Counts) -> float:
    """PxAP (Choe et al., CVPR 2020, eq. 6): area under the precision-recall curve of pixels.

    ``sum_l precision(t_l) * (recall(t_l) - recall(t_l+1))`` over thresholds from the highest, where
    precision and recall are those of all pixels of the set at or above the threshold.

    Args:
        foreground, background: number of object pixels, and of other pixels, in bins of ascending
            scores.

    Returns:
        A fraction in [0, 1]; NaN if no pixel is foreground.
    """
    n_right, n_above, n_foreground = _cumulative(foreground, background)
    if n_foreground == 0:
        return float("nan")
    precision = np.divide(n_right, n_above, out=np.zeros(len(n_right)), where=n_above > 0)
    gained = np.diff(n_right, prepend=0.0) / n_foreground
    return float((precision * gained).sum())


def peak_iou(foreground: Counts, background: Counts) -> PeakIou:
    """Peak IoU (pIoU; Zhu et al., DA-WSOL, CVPR 2022): the best pooled IoU of any threshold.

    ``max_t TP(t) / (TP(t) + FP(t) + FN(t))``, with counts of pixels over the whole set.

    Args:
        foreground, background: see ``pixel_average_precision``.
    """
    n_right, n_above, n_foreground = _cumulative(foreground, background)
    if n_foreground == 0:
        return PeakIou(float("nan"), 0)
    iou = n_right / (n_foreground + n_above - n_right)
    best = int(np.argmax(iou))
    return PeakIou(float(iou[best]), len(iou) - 1 - best)


def _cumulative(
    foreground: Counts, background: Counts
) -> tuple[Float64[np.ndarray, " t"], Float64[np.ndarray, " t"], float]:
    """Count the object pixels and all pixels at or above each threshold, and all object pixels.

    Thresholds descend.
    """
    right = np.cumsum(foreground[::-1]).astype(np.float64)
    wrong = np.cumsum(background[::-1]).astype(np.float64)
    return right, right + wrong, float(foreground.sum())
