"""ILSVRC's classification and localization errors, and the GT-known localization error."""

import numpy as np
import pandas as pd
from jaxtyping import Float64

from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.number import Number

__all__ = [
    "CLASSIFICATION_NUMBERS",
    "LOCALIZATION_NUMBERS",
    "TOP_K",
    "classification_numbers",
    "gt_known_errors",
    "localization_numbers",
    "two_two_one",
]

TOP_K = 5
CLASSIFICATION_NUMBERS = frozenset(f"top{k}_cls_error" for k in range(1, TOP_K + 1))
LOCALIZATION_NUMBERS = CLASSIFICATION_NUMBERS | {
    *(f"top{k}_loc_error" for k in range(1, TOP_K + 1)),
    *("gt_known_loc_error", "top1_loc_error_all", f"top{TOP_K}_loc_error_all"),
}


def classification_numbers(images: ImageScores) -> list[Number]:
    """The top-1 to top-5 classification errors of the network, image by image.

    ``err_i = min over the first k predictions j of [class_j != label_i]``, over all images, with
    blacklisted ones and those without a box.

    Args:
        images: images and rows of one method.

    Returns:
        One number an error; its values are 0 or 1, or all NaN if the rows have no ranks.
    """
    return [
        Number(
            f"top{k}_cls_error",
            (images.label_rank > k).astype(np.float64)
            if images.ranked
            else np.full(len(images), np.nan),
            images.image_ids,
            better="lower",
            hits=True,
        )
        for k in range(1, TOP_K + 1)
    ]


def localization_numbers(images: ImageScores, *, iou: float = 0.5) -> list[Number]:
    """The errors of ILSVRC's devkit (``eval_clsloc``) and the GT-known error, image by image.

    ``err_i = min over the first k guesses j of max(class_j != label_i, best IoU_j < iou)``, where
    an IoU of exactly ``iou`` is right. Missing guesses are wrong, guesses past k are ignored, and
    each of several guesses of one class counts by itself. The classification error averages all
    images; the localization error leaves out blacklisted images (numerator and denominator) and
    images without a box of their label, for which it is not defined; ``_all`` keeps the blacklisted
    images. GT-known is the error of the first box of the label, at any rank.

    Args:
        images: images and rows of one method; the rows have the column ``iou``, the best IoU over
            the boxes of the image's label.
        iou: least IoU that is a hit.

    Returns:
        One number an error; its values are 0 or 1, and NaN if an image does not count. All values
        are NaN if the rows have no ranks (except GT-known), if the method is not applicable to some
        image (except the classification error), and for GT-known if an image that counts has no row
        of its label.
    """
    n = len(images)
    nothing = np.full(n, np.nan)
    localized = images.ranked and images.applicable
    hit_rank = images.hit_rank(iou)
    values: dict[str, Float64[np.ndarray, " n"]] = {}
    missed_at = {k: np.where(images.has_box, hit_rank > k, np.nan) for k in range(1, TOP_K + 1)}
    for k, missed in missed_at.items():
        values[f"top{k}_loc_error"] = (
            np.where(images.counted, missed, np.nan) if localized else nothing
        )
    values["gt_known_loc_error"] = gt_known_errors(images, iou)
    for k in (1, TOP_K):
        values[f"top{k}_loc_error_all"] = missed_at[k] if localized else nothing
    return classification_numbers(images) + [
        Number(name, errors, images.image_ids, better="lower", hits=True)
        for name, errors in values.items()
    ]


def gt_known_errors(images: ImageScores, iou: float) -> Float64[np.ndarray, " n"]:
    """The GT-known error of each image: 1 if the first box of its label has an IoU below ``iou``.

    It is NaN for an image that does not count, or that has no row of its label.
    """
    label_iou = images.label_iou
    return np.where(np.isnan(label_iou), np.nan, label_iou < iou)


def two_two_one(loose: pd.DataFrame, tight: pd.DataFrame) -> pd.DataFrame:
    """Five guesses an image: two boxes of its first class, two of its second, one of its third.

    The heuristic of CAM (Zhou et al., CVPR 2016, section 3.2) for the top-5 localization error: a
    tight and a loose box of each of the two best classes, and a loose box of the third. The paper
    does not give the thresholds. Here the loose box comes before the tight box, which makes no
    difference to the top-5 error.

    Args:
        loose: rows of one model and method; see docs/rows.md.
        tight: the same rows, with the boxes of a higher threshold.

    Returns:
        The rows that are guesses, ranked 1 to 5.

    Raises:
        ValueError: the tight rows have other images or classes.
    """
    keys = ["image_id", "rank", "class"]
    first = loose[loose["rank"].between(1, 3)].sort_values(["image_id", "rank"], kind="stable")
    second = tight[tight["rank"].between(1, 2)].sort_values(["image_id", "rank"], kind="stable")
    if (
        not first.loc[first["rank"] <= 2, keys]
        .reset_index(drop=True)
        .equals(second[keys].reset_index(drop=True))
    ):
        raise ValueError(
            "expected tight rows of the same images and classes as the loose rows, found others"
        )
    guesses = pd.concat(
        [
            first.assign(rank=2 * first["rank"] - 1),
            second.assign(rank=2 * second["rank"]),
        ]
    )
    return guesses.sort_values(["image_id", "rank"], kind="stable", ignore_index=True)
