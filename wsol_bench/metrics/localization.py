"""ILSVRC classification and localization error, and GT-known localization error."""

import numpy as np
import pandas as pd
from jaxtyping import Float64

from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.number import Number

__all__ = ["LOCALIZATION_NUMBERS", "TOP_K", "localization_numbers", "two_two_one"]

TOP_K = 5
LOCALIZATION_NUMBERS = frozenset(
    [f"top{k}_{kind}_error" for k in range(1, TOP_K + 1) for kind in ("cls", "loc")]
    + ["gt_known_loc_error", "top1_loc_error_all", f"top{TOP_K}_loc_error_all"]
)


def localization_numbers(images: ImageScores, *, iou: float = 0.5) -> list[Number]:
    """The errors of ILSVRC's devkit (``eval_clsloc``) image by image, and GT-known.

    ``err_i = min over the first k guesses j of max(class_j != label_i, best IoU_j < iou)``, where
    an IoU of exactly ``iou`` is right. Missing guesses are wrong, those past k are ignored, and
    each of several guesses of one class counts by itself. The classification error averages all
    images; the localization error leaves out blacklisted images (numerator and denominator) and
    images without a box of their class, for which it is not defined; ``_all`` keeps the blacklisted
    ones. GT-known is the error of the own class's first box, whatever its rank.

    Args:
        images: of one method, whose rows have the column ``iou``: the best over the boxes of the
            image's class.
        iou: least IoU that is a hit.

    Returns:
        Errors, 0 or 1; NaN where an image does not count. All NaN where nobody has ranked classes
        (but for GT-known), where the method is not applicable to some image (but for the
        classification error), and in GT-known unless each image that counts has a row of its class.
    """
    n = len(images)
    nothing = np.full(n, np.nan)
    localized = images.ranked and images.applicable
    hit_rank = images.hit_rank(iou)
    values: dict[str, Float64[np.ndarray, " n"]] = {}
    for k in range(1, TOP_K + 1):
        wrong = (images.known_rank > k).astype(np.float64)
        values[f"top{k}_cls_error"] = wrong if images.ranked else nothing
    of_all = {k: np.where(images.has_box, hit_rank > k, np.nan) for k in range(1, TOP_K + 1)}
    for k, missed in of_all.items():
        values[f"top{k}_loc_error"] = (
            np.where(images.counted, missed, np.nan) if localized else nothing
        )
    own_iou = images.own_iou
    values["gt_known_loc_error"] = np.where(np.isnan(own_iou), np.nan, own_iou < iou)
    for k in (1, TOP_K):
        values[f"top{k}_loc_error_all"] = of_all[k] if localized else nothing
    return [
        Number(name, errors, images.image_ids, better="lower", hits=True)
        for name, errors in values.items()
    ]


def two_two_one(loose: pd.DataFrame, tight: pd.DataFrame) -> pd.DataFrame:
    """Five guesses an image: two boxes of the first class, two of the second, one of the third.

    The heuristic of CAM (Zhou et al., CVPR 2016, section 3.2) for the top-5 localization error: a
    tight and a loose box of the two best classes, and a loose one of the third. The paper does not
    say by which thresholds; a loose box stands before the tight one here, which decides nothing
    among five.

    Args:
        loose: rows of one model and method; see docs/rows.md.
        tight: the same rows with the boxes of a higher threshold.

    Returns:
        The rows that are guesses, ranked 1 to 5.

    Raises:
        ValueError: tight rows that are not of the same images and classes.
    """
    keys = ["image_id", "rank", "class"]
    first = loose[loose["rank"].between(1, 3)].sort_values(["image_id", "rank"], kind="stable")
    second = tight[tight["rank"].between(1, 2)].sort_values(["image_id", "rank"], kind="stable")
    if (
        not first.loc[first["rank"] <= 2, keys]
        .reset_index(drop=True)
        .equals(second[keys].reset_index(drop=True))
    ):
        raise ValueError("the tight rows are not of the same images and classes as the loose ones")
    guesses = pd.concat(
        [
            first.assign(rank=2 * first["rank"] - 1),
            second.assign(rank=2 * second["rank"]),
        ]
    )
    return guesses.sort_values(["image_id", "rank"], kind="stable", ignore_index=True)
