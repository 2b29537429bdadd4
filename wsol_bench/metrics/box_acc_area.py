"""Localization accuracy over all IoU thresholds from 0.5 on, as one area."""

import numpy as np
from jaxtyping import Float64

from wsol_bench.metrics.base import metric
from wsol_bench.metrics.image_scores import ImageScores

__all__ = ["box_acc_area", "share_of_thresholds"]

# The IoU from which the area begins: from there a box is a hit.
_LEAST_IOU = 0.5


@metric("box_acc_area", per="image", better="higher", range=(0, 1), needs=("iou",))
def box_acc_area(images: ImageScores) -> Float64[np.ndarray, " n"]:
    """Area under the localization accuracy over IoU thresholds from 0.5 to 1, divided by 0.5.

    It says how well hits fit; see ``share_of_thresholds``.
    """
    return share_of_thresholds(images.label_iou, low=_LEAST_IOU)


def share_of_thresholds(iou: Float64[np.ndarray, " n"], *, low: float) -> Float64[np.ndarray, " n"]:
    """The share of the IoU thresholds from ``low`` to 1 at which each box is a hit.

    The mean over images is the area under ``BoxAcc(d) = 1/n sum_i [IoU_i >= d]`` (Choe et al., CVPR
    2020, at the protocol's one map threshold) over d from ``low`` to 1, divided by ``1 - low``. It
    is exact, without a grid: image i is a hit for all d up to its IoU, so it contributes
    ``max(IoU_i - low, 0) / (1 - low)``. From 0 to 1 the area is the mean IoU (the identity of
    success plots and mean overlap in tracking: Cehovin et al., TIP 2016), so only a part of the
    axis says something new. Others average a few thresholds instead: 0.3, 0.5 and 0.7 (MaxBoxAccV2,
    Choe et al., arXiv:2007.04178); 0.5, 0.55, ... 0.95 (COCO).

    Args:
        iou: best IoU of each image's box, in [0, 1]; 0 for a map without a box, NaN if the image
            does not count.
        low: least threshold, in [0, 1).

    Returns:
        Fractions in [0, 1]; NaN if the image does not count.
    """
    return np.maximum(iou - low, 0) / (1 - low)
