"""Localization errors by class, by object size, and by number of instances."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from wsol_bench.metrics.evaluated_images import EvaluatedImages
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.localization import gt_known_errors

__all__ = ["INSTANCE_EDGES", "SIZE_EDGES", "By", "breakdown"]

By = Literal["class", "size", "instances"]

# The largest ground-truth box as a fraction of the image: squares of tenths, so that the side of
# the object (the root of the fraction) grows by a tenth from bin to bin.
SIZE_EDGES = (0.0, 0.01, 0.04, 0.09, 0.16, 0.25, 0.36, 0.49, 0.64, 0.81, 1.0)

# Least number of instances of each bin.
INSTANCE_EDGES = (1, 2, 3, 5)


def breakdown(
    images: ImageScores,
    *,
    by: By,
    iou: float = 0.5,
    measured: Mapping[str, Float64[np.ndarray, " n"]] | None = None,
) -> pd.DataFrame:
    """The mean errors of a method over the images of each bin.

    The bins have fixed edges and depend on the ground truth alone, so that they hold the same
    images for all methods, and numbers of different runs can be compared:

        class        the image's label
        size         area of the largest ground-truth box of the image's label, divided by the
                     area of the image: ``SIZE_EDGES``, ``low <= size < high``, the last bin with
                     its end
        instances    number of ground-truth boxes of the image's label: 1, 2, 3-4, 5+

    The edges of the sizes are those of Hwang, Oh and Choe, "Small Object Matters in WSOL"
    (Neurocomputing 2025), in their code; there an image with several boxes counts by the box that
    the prediction matches (or, by an option, the largest box, as here).

    Args:
        images: images and rows of the method.
        by: property of the images by which they are binned.
        iou: least IoU that is a hit.
        measured: other values of the images that are not held out, by name; NaN if an image does
            not count. Each becomes a column, the mean over a bin's counted images that have a
            value.

    Returns:
        One row a bin with a counted image (in the order of the bins, classes sorted): the bin, in a
        categorical column named ``by``; n_images; gt_known_loc_error and top1_loc_error; mean_iou,
        the mean of the best IoU of the label's first box. Fractions in [0, 1].

        An image is counted if it is evaluated, has a box of its label, and is neither blacklisted
        nor held out, even if it has no row; it is wrong if it has no first guess (a row of rank 1).
        So the mean of a number over the bins, weighted by n_images, is the number of the summary.
        In all bins top1_loc_error is NaN if the rows have no ranks (all ranks 0), and the other two
        are NaN if a counted image has no row of its label. The table is empty if the method is not
        applicable to some image.
    """
    images = images.scored
    bins = _bins_of(images.evaluated, by)
    cell = bins.number if images.applicable else bins.number[:0]
    n_images = np.bincount(cell, minlength=len(bins.names))
    filled = np.flatnonzero(n_images)
    kind = pd.CategoricalDtype(bins.names, ordered=True)
    table = pd.DataFrame({by: pd.Categorical.from_codes(filled, dtype=kind)})
    table["n_images"] = n_images[filled]
    columns = _errors(images, iou)
    for name, values in (measured or {}).items():
        columns.setdefault(name, values)  # mean_iou is a metric as well
    for name, values in columns.items():
        counted = values[images.counted][: len(cell)]
        has_value = ~np.isnan(counted)
        sums = np.bincount(cell, weights=np.where(has_value, counted, 0.0))[filled]
        n_values = np.bincount(cell, weights=has_value)[filled]
        table[name] = np.divide(sums, n_values, out=np.full(len(sums), np.nan), where=n_values > 0)
    return table


def _errors(images: ImageScores, iou: float) -> dict[str, Float64[np.ndarray, " n"]]:
    """The errors in every breakdown, image by image; NaN if an error is not defined."""
    first_right = np.append(images.is_label, False)[images.first_rows]  # row -1 is no row
    missed = ~(first_right & (images.first("iou") >= iou))
    return {
        "gt_known_loc_error": gt_known_errors(images, iou),
        "top1_loc_error": np.where(images.ranked, missed, np.nan),
        "mean_iou": images.label_iou,
    }


class _Bins(NamedTuple):
    """The bins of the counted images.

    Attributes:
        number: bin of each counted image, an index into ``names``.
        names: names of all bins, in order.
    """

    number: Int64[np.ndarray, " n"]
    names: list[str]


def _bins_of(images: EvaluatedImages, by: By) -> _Bins:
    counted = images.counted
    if by == "class":
        return _Bins(images.classes.number[counted], images.classes.names)
    if by == "instances":
        n_boxes = images.label_boxes.per_image[counted]
        return _Bins(np.searchsorted(INSTANCE_EDGES, n_boxes, side="right") - 1, _instance_names())
    share = images.largest_share[counted]
    return _Bins(np.searchsorted(SIZE_EDGES[1:-1], share, side="right"), _size_names())


def _size_names() -> list[str]:
    return [f"{low:g}-{high:g}" for low, high in pairwise(SIZE_EDGES)]


def _instance_names() -> list[str]:
    spans = [(low, after - 1) for low, after in pairwise(INSTANCE_EDGES)]
    names = [f"{low}" if low == high else f"{low}-{high}" for low, high in spans]
    return [*names, f"{INSTANCE_EDGES[-1]}+"]
