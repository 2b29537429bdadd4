"""ILSVRC classification and localization error, and GT-known localization error, from rows."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

__all__ = ["GROUP", "TOP_K", "Errors", "clsloc_errors", "two_two_one"]

GROUP = ["model", "method", "layer", "protocol", "protocol_hash"]
TOP_K = 5


class Errors(NamedTuple):
    """Errors as fractions in [0, 1]; NaN where there is nothing to average.

    Attributes:
        cls: (5,) classification error for k = 1..5, over all images.
        loc: (5,) localization error for k = 1..5, without the blacklist.
        loc_all: (5,) the same over all images that have a box.
        gt_known: localization error of the map of the image's own class, whatever its rank,
            without the blacklist; NaN unless every scored image has a row of its class.
    """

    cls: Float64[np.ndarray, " 5"]
    loc: Float64[np.ndarray, " 5"]
    loc_all: Float64[np.ndarray, " 5"]
    gt_known: float


def clsloc_errors(rows: pd.DataFrame, images: pd.DataFrame, *, iou: float = 0.5) -> Errors:
    """Errors as the ILSVRC devkit's ``eval_clsloc`` counts them.

    ``err_i = min over the first k guesses j of max(class_j != label_i, best IoU_j < iou)``, where
    an IoU of exactly ``iou`` is right. Missing guesses are wrong, those past k are ignored, and
    each of several guesses of one class counts by itself. The classification error averages all
    images; the localization error leaves out blacklisted images (numerator and denominator) and
    images without a box of their class, for which it is not defined.

    Args:
        rows: image_id, rank (1 is best), class, iou (best over the boxes of the image's class).
        images: image_id, label, blacklisted, n_label_boxes (boxes of the image's class).
        iou: least IoU that is a hit.
    """
    labels = images["label"].to_numpy(str)
    position = pd.Index(images["image_id"]).get_indexer(rows["image_id"])
    if (position < 0).any():
        raise ValueError("rows hold an image that the images table does not")
    right_class = rows["class"].to_numpy(str) == labels[position]
    right = right_class & (rows["iou"].to_numpy(np.float64) >= iou)
    rank = rows["rank"].to_numpy(np.float64)

    def best_rank(hits: Bool[np.ndarray, " rows"]) -> Float64[np.ndarray, " images"]:
        best = np.full(len(images), np.inf)
        np.minimum.at(best, position[hits], rank[hits])
        return best

    def error_by_k(
        best: Float64[np.ndarray, " images"], counted: Bool[np.ndarray, " images"]
    ) -> Float64[np.ndarray, " 5"]:
        if not counted.any():
            return np.full(TOP_K, np.nan)
        return (best[counted, None] > np.arange(1, TOP_K + 1)).mean(axis=0)

    has_box = images["n_label_boxes"].to_numpy() > 0
    counted = has_box & ~images["blacklisted"].to_numpy(bool)
    known, hit = best_rank(right_class), best_rank(right)
    # The first guess of the own class: a prediction file may hold several.
    first_own = np.isfinite(best_rank(right & (rank == known[position])))
    complete = counted.any() and np.isfinite(known[counted]).all()
    return Errors(
        cls=error_by_k(known, np.ones(len(images), bool)),
        loc=error_by_k(hit, counted),
        loc_all=error_by_k(hit, has_box),
        gt_known=float((~first_own[counted]).mean()) if complete else float("nan"),
    )


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
