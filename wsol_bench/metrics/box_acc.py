"""Localization accuracy over all IoU thresholds: the curve and its area."""

import numpy as np
from jaxtyping import Float64

__all__ = ["AREA_FROM", "box_acc_area", "box_acc_curve"]

# Where the area of the summary begins: the IoU from which a box is a hit.
AREA_FROM = 0.5


def box_acc_curve(
    iou: Float64[np.ndarray, " n"], thresholds: Float64[np.ndarray, " t"]
) -> Float64[np.ndarray, " t"]:
    """BoxAcc(d) = 1/n sum_i [IoU_i >= d], the share of boxes that are hits at each threshold.

    BoxAcc of Choe et al. (CVPR 2020) over d, at the protocol's one map threshold.

    Args:
        iou: best IoU of each image's box, in [0, 1]; 0 for a map without one.
        thresholds: the IoUs d.

    Returns:
        Fractions in [0, 1] that fall with d; NaN where there is no image.

    Raises:
        ValueError: an IoU is outside [0, 1] or NaN.
    """
    _check(iou)
    if not len(iou):
        return np.full(len(thresholds), np.nan)
    return 1 - np.searchsorted(np.sort(iou), thresholds, side="left") / len(iou)


def box_acc_area(iou: Float64[np.ndarray, " n"], *, low: float, high: float = 1.0) -> float:
    """Area under BoxAcc(d) from ``low`` to ``high``, over ``high - low``: the mean accuracy there.

    Exact, without a grid: ``1/n sum_i (clip(IoU_i, low, high) - low) / (high - low)``, since image
    i is a hit for all d up to IoU_i. From 0 to 1 this is the mean IoU (the identity of success
    plots and mean overlap in tracking: Cehovin et al., TIP 2016), so only a part of the axis says
    something new. Others average a few thresholds instead: 0.3, 0.5 and 0.7 (MaxBoxAccV2, Choe et
    al., arXiv:2007.04178); 0.5, 0.55, ... 0.95 (COCO).

    Args:
        iou: best IoU of each image's box, in [0, 1]; 0 for a map without one.
        low, high: ends of the thresholds, ``0 <= low < high <= 1``.

    Returns:
        In [0, 1]; NaN where there is no image.

    Raises:
        ValueError: an IoU is outside [0, 1] or NaN; the ends are not in order.
    """
    _check(iou)
    if not 0 <= low < high <= 1:
        raise ValueError(f"expected 0 <= low < high <= 1, found low {low} and high {high}")
    if not len(iou):
        return float("nan")
    return float(((np.clip(iou, low, high) - low) / (high - low)).mean())


def _check(iou: Float64[np.ndarray, " n"]) -> None:
    # Stated so that NaN fails too: sorted to the end, it would be a hit.
    if not ((iou >= 0) & (iou <= 1)).all():
        raise ValueError("expected IoUs in [0, 1]; leave out rows without one (not_applicable)")
