"""Which rows a number is about, and the ground truth behind them."""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int64

from wsol_bench.geometry import Boxes
from wsol_bench.metrics.localization import GROUP

__all__ = [
    "SCORED",
    "Groups",
    "Selection",
    "Truth",
    "counted_rows",
    "image_positions",
    "label_boxes",
    "numbered_groups",
]

# The statuses of a row that has an IoU: others ("not_applicable") are about no box at all. What a
# tool did not give ("missing") is a miss like a map without a box.
SCORED = ("box", "no_box", "missing")

Selection = Literal["top1", "gt_known"]


class Truth(NamedTuple):
    """Ground-truth boxes of the images' own classes.

    Attributes:
        boxes: half-open xyxy pixels of the original images, image by image.
        per_image: how many of them each image has.
    """

    boxes: Boxes
    per_image: Int64[np.ndarray, " images"]


class Groups(NamedTuple):
    """The groups (model x method x layer x protocol) that rows belong to.

    Attributes:
        number: of each row's group.
        table: the columns ``GROUP``, one line a group, in order of appearance.
    """

    number: Int64[np.ndarray, " rows"]
    table: pd.DataFrame


def counted_rows(rows: pd.DataFrame, images: pd.DataFrame, of: Selection) -> pd.DataFrame:
    """The rows that a localization error averages: one an image and group.

    Rows without an IoU (status not among ``SCORED``), blacklisted images and images
    without a box of their class are left out, as in ``localization.clsloc_errors``.

    Args:
        rows, images: of runs; see docs/rows.md.
        of: ``top1``: the rows of rank 1; ``gt_known``: those of the image's own class, whatever
            their rank.

    Raises:
        ValueError: rows hold an image that the images table does not.
    """
    position = image_positions(rows, images)
    if of == "top1":
        chosen = rows["rank"].to_numpy(np.float64) == 1
    else:
        chosen = rows["class"].to_numpy(str) == images["label"].to_numpy(str)[position]
    counted = (images["n_label_boxes"].to_numpy(np.int64) > 0) & ~images["blacklisted"].to_numpy(
        bool
    )
    return rows[chosen & counted[position] & rows["status"].isin(SCORED).to_numpy(bool)]


def image_positions(rows: pd.DataFrame, images: pd.DataFrame) -> Int64[np.ndarray, " rows"]:
    """Where each row's image stands in the images table, by model and image_id.

    Raises:
        ValueError: rows hold an image that the images table does not.
    """
    key = ["model", "image_id"]
    position = pd.MultiIndex.from_frame(images[key]).get_indexer(
        pd.MultiIndex.from_frame(rows[key])
    )
    if (position < 0).any():
        model, image_id = rows[key].iloc[int(np.argmax(position < 0))]
        raise ValueError(
            f"rows hold an image that the images table does not: {image_id} of {model}"
        )
    return position.astype(np.int64)


def label_boxes(images: pd.DataFrame) -> Truth:
    """The column ``boxes`` of the images table as one list."""
    flat = [np.asarray(boxes, np.float64) for boxes in images["boxes"]]
    per_image = np.array([len(boxes) // 4 for boxes in flat], np.int64)
    return Truth(np.concatenate([np.zeros(0), *flat]).reshape(-1, 4), per_image)


def numbered_groups(rows: pd.DataFrame) -> Groups:
    """The groups of rows, in order of appearance."""
    number = rows.groupby(GROUP, sort=False, dropna=False).ngroup().to_numpy(np.int64)
    return Groups(number, rows[GROUP].drop_duplicates().reset_index(drop=True))
