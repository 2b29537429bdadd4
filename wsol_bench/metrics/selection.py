"""Which images and rows a number is about, and the ground truth behind them."""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from wsol_bench.geometry import Boxes
from wsol_bench.schema import GROUP, SCORED

__all__ = [
    "Counted",
    "Groups",
    "LabelBoxes",
    "Selection",
    "counted_images",
    "first_rows",
    "image_positions",
    "label_boxes",
    "numbered_groups",
    "positions_among",
]

Selection = Literal["top1", "gt_known"]


class LabelBoxes(NamedTuple):
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


class Counted(NamedTuple):
    """The images that a localization error averages, once a group, and the rows they count by.

    Attributes:
        groups: the columns ``GROUP``, one line a group of the rows, in order of appearance.
        ranked: whether anybody has ranked classes in a group (a rank other than 0): otherwise it
            has no top-1 number.
        complete: whether each counted image of a group has a row of its own class: otherwise the
            group has no GT-known number.
        group: of each pair of group and image: line of ``groups``, ascending.
        image: its line in the images table, ascending within the group.
        top1: its first row of rank 1, by position in the rows; -1 where there is none.
        own: its first row of the image's own class, by rank and then in order; -1 likewise.
    """

    groups: pd.DataFrame
    ranked: Bool[np.ndarray, " groups"]
    complete: Bool[np.ndarray, " groups"]
    group: Int64[np.ndarray, " n"]
    image: Int64[np.ndarray, " n"]
    top1: Int64[np.ndarray, " n"]
    own: Int64[np.ndarray, " n"]


def counted_images(rows: pd.DataFrame, images: pd.DataFrame) -> Counted:
    """Each group with each counted image of its model, whatever rows there are.

    Counted are evaluated images with a box of their class that are neither blacklisted nor held
    out. A group with a row without an IoU (status not among ``SCORED``) has no images here: its
    method is not applicable, or its protocol takes no one box.

    Args:
        rows, images: of runs; see docs/rows.md. The column held_out may be absent.

    Raises:
        ValueError: rows hold an image that the images table does not.
    """
    position = image_positions(rows, images)
    groups = numbered_groups(rows)
    n_groups = len(groups.table)
    without_iou = ~rows["status"].isin(SCORED).to_numpy(bool)
    applicable = np.bincount(groups.number[without_iou], minlength=n_groups) == 0
    counts = images["n_label_boxes"].to_numpy(np.int64) > 0
    counts &= (images["status"] == "evaluated").to_numpy(bool)
    for without in ("blacklisted", "held_out"):
        if without in images:
            counts &= ~images[without].to_numpy(bool)
    of_model = images["model"].to_numpy(object)
    nothing = np.zeros(0, np.int64)
    of_group = [
        np.flatnonzero(counts & (of_model == model)) if wanted else nothing
        for model, wanted in zip(groups.table["model"], applicable, strict=True)
    ]
    group = np.repeat(np.arange(n_groups), [len(theirs) for theirs in of_group])
    image = np.concatenate([nothing, *of_group])
    # A row's key is that of its pair of group and image; the pairs' keys ascend.
    keys, wanted = groups.number * len(images) + position, group * len(images) + image
    rank = rows["rank"].to_numpy(np.float64)
    right = rows["class"].to_numpy(object) == images["label"].to_numpy(object)[position]

    def of_pairs(chosen: Bool[np.ndarray, " rows"]) -> Int64[np.ndarray, " n"]:
        first = first_rows(keys, chosen, rank)
        first = first[np.isin(keys[first], wanted)]
        found = np.full(len(wanted), -1, np.int64)
        found[np.searchsorted(wanted, keys[first])] = first
        return found

    own = of_pairs(right)
    return Counted(
        groups.table,
        np.bincount(groups.number[rank != 0], minlength=n_groups) > 0,
        np.bincount(group[own < 0], minlength=n_groups) == 0,
        group,
        image,
        of_pairs(rank == 1),
        own,
    )


def first_rows(
    key: Int64[np.ndarray, " rows"],
    chosen: Bool[np.ndarray, " rows"],
    rank: Float64[np.ndarray, " rows"],
) -> Int64[np.ndarray, " n"]:
    """The first of the chosen rows of each key: of the lowest rank, and of equals the first.

    Args:
        key: says which rows belong together, as those of an image.
        chosen: which rows may be the first.
        rank: of each row.

    Returns:
        Positions in the rows, by ascending key; none of keys without a chosen row.
    """
    candidates = np.flatnonzero(chosen)
    ordered = candidates[np.lexsort((rank[candidates], key[candidates]))]
    return ordered[np.unique(key[ordered], return_index=True)[1]].astype(np.int64)


def image_positions(rows: pd.DataFrame, images: pd.DataFrame) -> Int64[np.ndarray, " rows"]:
    """Where each row's image stands in the images table, by model and image_id.

    Raises:
        ValueError: rows hold an image that the images table does not.
    """
    key = ["model", "image_id"]
    models = pd.unique(pd.concat([images["model"], rows["model"].astype("str")]))
    if len(models) == 1:
        position = positions_among(rows["image_id"], images["image_id"])
    else:
        position = pd.MultiIndex.from_frame(images[key]).get_indexer(
            pd.MultiIndex.from_frame(rows[key])
        )
    if (position < 0).any():
        model, image_id = rows[key].iloc[int(np.argmax(position < 0))]
        raise ValueError(
            f"rows hold an image that the images table does not: {image_id} of {model}"
        )
    return position.astype(np.int64)


def positions_among(ids: pd.Series, among: pd.Series) -> Int64[np.ndarray, " n"]:
    """Where each id stands in a list of ids; -1 where it does not."""
    index = pd.Index(among)
    if isinstance(ids.dtype, pd.CategoricalDtype):  # a look-up a category, not a row
        of_category = np.append(index.get_indexer(pd.Index(ids.cat.categories)), -1)
        return of_category[ids.cat.codes.to_numpy()].astype(np.int64)
    return index.get_indexer(pd.Index(ids)).astype(np.int64)


def label_boxes(images: pd.DataFrame) -> LabelBoxes:
    """The column ``boxes`` of the images table as one list."""
    flat = [np.asarray(boxes, np.float64) for boxes in images["boxes"].tolist()]
    per_image = np.array([len(boxes) // 4 for boxes in flat], np.int64)
    return LabelBoxes(np.concatenate([np.zeros(0), *flat]).reshape(-1, 4), per_image)


def numbered_groups(rows: pd.DataFrame) -> Groups:
    """The groups of rows, in order of appearance."""
    first = rows[GROUP].head(1).reset_index(drop=True)
    if all((rows[name] == first[name][0]).all() for name in GROUP if len(first)):
        return Groups(np.zeros(len(rows), np.int64), first.astype("str"))
    number = rows.groupby(GROUP, sort=False, dropna=False).ngroup().to_numpy(np.int64)
    return Groups(number, rows[GROUP].drop_duplicates().reset_index(drop=True))
