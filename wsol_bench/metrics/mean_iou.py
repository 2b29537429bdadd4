"""The mean IoU of the one box of each image's label."""

import numpy as np
from jaxtyping import Float64

from wsol_bench.metrics.base import metric
from wsol_bench.metrics.image_scores import ImageScores

__all__ = ["mean_iou"]


@metric("mean_iou", per="image", better="higher", range=(0, 1), needs=("iou",))
def mean_iou(images: ImageScores) -> Float64[np.ndarray, " n"]:
    """Mean of the best IoU of each label's box with the ground truth; no blacklisted images."""
    return images.label_iou
