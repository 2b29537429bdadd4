"""How well the one box of the image's own class fits."""

import numpy as np
from jaxtyping import Float64

from wsol_bench.metrics.base import metric
from wsol_bench.metrics.box_acc import AREA_FROM
from wsol_bench.metrics.image_scores import ImageScores

__all__ = ["box_acc_area", "mean_iou"]


@metric("mean_iou", per="image", better="higher", range=(0, 1), needs=("iou",))
def mean_iou(images: ImageScores) -> Float64[np.ndarray, " n"]:
    """Mean best IoU of the own class's box with the ground truth, without the blacklist."""
    return images.own_iou


@metric("box_acc_area", per="image", better="higher", range=(0, 1), needs=("iou",))
def box_acc_area(images: ImageScores) -> Float64[np.ndarray, " n"]:
    """Area under BoxAcc(d) from 0.5 to 1, over 0.5: how well hits fit.

    An image is a hit for all d up to its IoU, so it contributes ``max(IoU - 0.5, 0) / 0.5``.
    """
    return np.maximum(images.own_iou - AREA_FROM, 0) / (1 - AREA_FROM)
