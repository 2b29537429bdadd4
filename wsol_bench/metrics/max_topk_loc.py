"""Top-1 and top-5 localization accuracy under a sweep of thresholds.

Papers choose the threshold of these numbers in two ways: each number has the threshold that is best
for it (``max_top1_loc``), or one threshold serves all of them, which here is the one that is best
for GT-known localization (``top1_loc_at_gt_known``).
"""

import numpy as np
from jaxtyping import Bool

from wsol_bench.metrics.base import metric
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.max_box_acc import MAX_BOX_ACC_IOU
from wsol_bench.statistics.columns import column_means
from wsol_bench.statistics.hits import Hits

__all__ = ["max_top1_loc", "max_top5_loc", "top1_loc_at_gt_known", "top5_loc_at_gt_known"]


@metric(
    "max_top1_loc",
    per="image",
    better="higher",
    range=(0, 1),
    hits=True,
    paper="arXiv:2001.07437",
    needs=("hits",),
    statistic="best",
)
def max_top1_loc(images: ImageScores) -> Hits | None:
    """Top-1 localization accuracy at the best threshold.

    ``max_t 1/n sum_i [class_i first] [IoU_i(t) >= 0.5]``: an image is right if its label is the
    network's first prediction and the box of the largest component at threshold t, of the map of
    the label, has an IoU of at least 0.5 with a ground-truth box. Papers on weakly-supervised
    localization report it beside GT-known localization. The latter is MaxBoxAcc (Choe et al., CVPR
    2020). Both choose their thresholds on the images that are scored (oracle thresholds).
    """
    return _right_among(images, 1)


@metric(
    "max_top5_loc",
    per="image",
    better="higher",
    range=(0, 1),
    hits=True,
    paper="arXiv:2001.07437",
    needs=("hits",),
    statistic="best",
)
def max_top5_loc(images: ImageScores) -> Hits | None:
    """Top-5 localization accuracy at the best threshold.

    It is ``max_top1_loc`` for images whose label is among the network's first five predictions.
    """
    return _right_among(images, 5)


@metric(
    "top1_loc_at_gt_known",
    per="image",
    better="higher",
    range=(0, 1),
    hits=True,
    needs=("hits",),
)
def top1_loc_at_gt_known(images: ImageScores) -> Bool[np.ndarray, " n"] | None:
    """Top-1 localization accuracy at the threshold that is best for GT-known localization.

    It is ``max_top1_loc`` at the threshold of MaxBoxAcc (the column ``max_box_acc_threshold``), so
    it is at most as high.
    """
    return _right_at_gt_known(images, 1)


@metric(
    "top5_loc_at_gt_known",
    per="image",
    better="higher",
    range=(0, 1),
    hits=True,
    needs=("hits",),
)
def top5_loc_at_gt_known(images: ImageScores) -> Bool[np.ndarray, " n"] | None:
    """Top-5 localization accuracy at the threshold that is best for GT-known localization.

    It is ``top1_loc_at_gt_known`` for images whose label is among the network's first five
    predictions.
    """
    return _right_at_gt_known(images, 5)


def _right_at_gt_known(images: ImageScores, k: int) -> Bool[np.ndarray, " n"] | None:
    """The images that are right at the best threshold for GT-known; None without ranks."""
    right = _right_among(images, k)
    if right is None:
        return None
    best = column_means(images.hits_at(MAX_BOX_ACC_IOU)).argmax()
    return right.at(np.array([best]))[:, 0]


def _right_among(images: ImageScores, k: int) -> Hits | None:
    """Hits at IoU 0.5 of the images whose label is among the first k predictions.

    None if the rows have no ranks.
    """
    if not images.ranked:
        return None
    return images.hits_at(MAX_BOX_ACC_IOU).where(np.asarray(images.label_rank <= k))
