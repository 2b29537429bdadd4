"""Localization errors by class, by object size, and by number of instances."""

from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int64

from wsol_bench.geometry import box_area
from wsol_bench.metrics.selection import Counted, LabelBoxes, counted_images, label_boxes

__all__ = ["INSTANCE_EDGES", "SIZE_EDGES", "By", "breakdown"]

By = Literal["class", "size", "instances"]

# The largest ground-truth box as a fraction of the image: squares of tenths, so that the side of
# the object (the root of the fraction) moves on by a tenth a bin.
SIZE_EDGES = (0.0, 0.01, 0.04, 0.09, 0.16, 0.25, 0.36, 0.49, 0.64, 0.81, 1.0)

# Least number of instances of each bin.
INSTANCE_EDGES = (1, 2, 3, 5)


def breakdown(
    rows: pd.DataFrame,
    images: pd.DataFrame,
    *,
    by: By,
    iou: float = 0.5,
    truth: LabelBoxes | None = None,
    counted: Counted | None = None,
    measured: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Errors of a model x method x layer x protocol, over the images of each bin.

    The bins have fixed edges and depend on the ground truth alone, so that they hold the same
    images for all methods, and numbers of different runs compare:

        class        the image's class
        size         area of the largest ground-truth box of the image's class over that of the
                     image: ``SIZE_EDGES``, ``low <= size < high``, the last bin with its end
        instances    ground-truth boxes of the image's class: 1, 2, 3-4, 5+

    The edges of the sizes are those of Hwang, Oh and Choe, "Small Object Matters in WSOL"
    (Neurocomputing 2025), in their code; there an image with several boxes counts by the one that
    the prediction matches (or, by an option, the largest, as here).

    Args:
        rows, images: of runs; see docs/rows.md. Of the rows those of rank 1 and of the own class
            matter.
        by: what the bins are of.
        iou: least IoU that is a hit.
        truth, counted: ``label_boxes(images)`` and ``counted_images(rows, images)``, where these
            are at hand.
        measured: of one group, more numbers, a column each, and a line for each line of ``images``;
            NaN where an image does not count. Each becomes a column, the mean of a bin's counted
            images that have a value.

    Returns:
        One line a group (in order of appearance) and bin with a counted image (in the order of the
        bins, classes sorted): the columns of ``GROUP``; the bin, in a categorical column that is
        called as ``by``; n_images; gt_known_loc_error and top1_loc_error; mean_iou, the mean of the
        best IoU of the own class's first box. Fractions in [0, 1]. Counted is each evaluated image
        with a box of its class that is neither blacklisted nor held out, whatever rows it has; one
        whose first guess (the first row of rank 1) is absent is wrong. So the mean of a number over
        the bins, weighted by n_images, is that of the summary. In all bins of a group
        top1_loc_error is NaN where nobody has ranked classes (all ranks 0), and the other two
        where a counted image has no row of its own class. There are no lines of a group with a row
        without an IoU.

    Raises:
        ValueError: rows hold an image that the images table does not.
    """
    counted = counted_images(rows, images) if counted is None else counted
    truth = label_boxes(images) if truth is None else truth
    bins = _bins(counted.image, images, by, truth)
    best_iou = rows["iou"].to_numpy(np.float64)
    complete, ranked = counted.complete[counted.group], counted.ranked[counted.group]
    known = np.where(complete, best_iou[counted.own], np.nan)
    label = images["label"].to_numpy(object)[counted.image]
    right = (counted.top1 >= 0) & (rows["class"].to_numpy(object)[counted.top1] == label)
    right &= best_iou[counted.top1] >= iou
    n_bins = len(bins.names)
    cell = counted.group * n_bins + bins.number
    n_images = np.bincount(cell)
    filled = np.flatnonzero(n_images)
    table = counted.groups.loc[filled // n_bins].reset_index(drop=True)
    table[by] = pd.Categorical.from_codes(
        filled % n_bins, dtype=pd.CategoricalDtype(bins.names, ordered=True)
    )
    table["n_images"] = n_images[filled]
    for name, values in {
        "gt_known_loc_error": np.where(complete, known < iou, np.nan),
        "top1_loc_error": np.where(ranked, ~right, np.nan),
        "mean_iou": known,
    }.items():
        table[name] = np.bincount(cell, weights=values)[filled] / n_images[filled]
    for measured_name, column in ({} if measured is None else dict(measured.items())).items():
        if measured_name not in table:
            values = column.to_numpy(np.float64)[counted.image]
            has = ~np.isnan(values)
            sums = np.bincount(cell, weights=np.where(has, values, 0.0))[filled]
            n_values = np.bincount(cell, weights=has)[filled]
            table[str(measured_name)] = np.divide(
                sums, n_values, out=np.full(len(sums), np.nan), where=n_values > 0
            )
    return table


class _Bins(NamedTuple):
    """The bin of each image, and the names of all bins in order."""

    number: Int64[np.ndarray, " n"]
    names: list[str]


def _bins(
    position: Int64[np.ndarray, " n"], images: pd.DataFrame, by: By, truth: LabelBoxes
) -> _Bins:
    if by == "class":
        labels = images["label"].to_numpy(object)[position]
        number, names = pd.factorize(labels, sort=True)
        return _Bins(number.astype(np.int64), list(names))
    if by == "instances":
        number = np.searchsorted(INSTANCE_EDGES, truth.per_image[position], side="right") - 1
        return _Bins(number, _instance_names())
    largest = np.zeros(len(images))
    image_of_box = np.repeat(np.arange(len(images)), truth.per_image)
    np.maximum.at(largest, image_of_box, box_area(truth.boxes))
    pixels = images["height"].to_numpy(np.float64) * images["width"].to_numpy(np.float64)
    size = largest[position] / pixels[position]
    return _Bins(np.searchsorted(SIZE_EDGES[1:-1], size, side="right"), _size_names())


def _size_names() -> list[str]:
    return [f"{low:g}-{high:g}" for low, high in pairwise(SIZE_EDGES)]


def _instance_names() -> list[str]:
    spans = [(low, after - 1) for low, after in pairwise(INSTANCE_EDGES)]
    names = [f"{low}" if low == high else f"{low}-{high}" for low, high in spans]
    return [*names, f"{INSTANCE_EDGES[-1]}+"]
