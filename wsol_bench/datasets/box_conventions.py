"""The conventions by which files of no fixed format write boxes, by the names that options have."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64

from wsol_bench.datasets.assembly import CORNERS
from wsol_bench.datasets.box_frames import MOST_SHARE
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import HALF_OPEN, INCLUSIVE, ONE_BASED_INCLUSIVE, Boxes, Convention

__all__ = ["CONVENTIONS", "BoxConvention", "ConventionName", "in_pixels", "to_corners"]

ConventionName = Literal[
    "half_open",
    "inclusive",
    "one_based_inclusive",
    "normalized",
    "xywh",
    "one_based_xywh",
    "normalized_xywh",
    "cxcywh",
    "normalized_cxcywh",
]

# Shares are written with six digits or more, or by float32: this near to an edge they are at it.
_ROUNDING = 1e-6
_SIZE = ["width", "height"]


class BoxConvention(NamedTuple):
    """A convention of boxes.

    Attributes:
        columns: names of the four numbers of a box, in order.
        corners: convention of the corners that the numbers give.
        normalized: whether the numbers are shares of the image's width and height.
    """

    columns: tuple[str, str, str, str]
    corners: Convention
    normalized: bool = False


_XYXY, _XYWH, _CXCYWH = ("x0", "y0", "x1", "y1"), ("x", "y", "w", "h"), ("cx", "cy", "w", "h")

CONVENTIONS: Mapping[ConventionName, BoxConvention] = {
    "half_open": BoxConvention(_XYXY, HALF_OPEN),
    "inclusive": BoxConvention(_XYXY, INCLUSIVE),
    "one_based_inclusive": BoxConvention(_XYXY, ONE_BASED_INCLUSIVE),
    "normalized": BoxConvention(_XYXY, HALF_OPEN, normalized=True),
    "xywh": BoxConvention(_XYWH, HALF_OPEN),
    # x is the first pixel and w the number of pixels, as MATLAB counts them.
    "one_based_xywh": BoxConvention(_XYWH, Convention(origin=1.0, last=0.0)),
    "normalized_xywh": BoxConvention(_XYWH, HALF_OPEN, normalized=True),
    "cxcywh": BoxConvention(_CXCYWH, HALF_OPEN),
    "normalized_cxcywh": BoxConvention(_CXCYWH, HALF_OPEN, normalized=True),
}


def to_corners(numbers: Float64[np.ndarray, "n 4"], convention: BoxConvention) -> Boxes:
    """The corners x0, y0, x1, y1 of boxes, by the convention's ``corners``, in the file's unit.

    Args:
        numbers: the four numbers of each box, in the order of the convention's ``columns``.
        convention: convention of the numbers.
    """
    if convention.columns == _XYXY:
        return numbers
    near, sides = numbers[:, :2], numbers[:, 2:]
    if convention.columns == _CXCYWH:
        near = near - sides / 2
    return np.concatenate([near, near + sides], axis=1)


def in_pixels(objects: pd.DataFrame, images: pd.DataFrame, *, source: str, advice: str) -> Boxes:
    """The corners in pixels of boxes that are written as shares of their images.

    They are in pixels of the size that the annotations give to an image, or else of the image.

    Args:
        objects: one row a box: image (position in ``images``), and ``CORNERS`` as shares.
        images: images of ``assembly.assemble``.
        source: where the boxes come from, for errors.
        advice: how to say the sizes of images if they are not known, for errors.

    Raises:
        DatasetError: a corner is no share, or the size of an image is not known.
    """
    shares = objects[CORNERS].to_numpy(np.float64)
    ids = images["image_id"].to_numpy(object)[objects["image"]]
    wrong = (np.abs(shares) > MOST_SHARE).any(axis=1)
    if wrong.any():
        first = int(wrong.argmax())
        box = ", ".join(f"{value:g}" for value in shares[first])
        raise DatasetError(
            f"{source}: expected shares of the image's sides, from 0 to 1, under a normalized "
            f"convention, found ({box}) for image {ids[first]!r}; the conventions without "
            "'normalized' are for pixels"
        )
    sizes = images[_SIZE].to_numpy(np.float64)
    if "annotated_width" in images:
        said = images[[f"annotated_{side}" for side in _SIZE]].to_numpy(np.float64)
        sizes = np.where((said > 0).all(axis=1, keepdims=True), said, sizes)
    sizes = sizes[objects["image"]]
    unknown = (sizes == 0).any(axis=1) & images["keep"].to_numpy(np.bool_)[objects["image"]]
    if unknown.any():
        raise DatasetError(
            f"{source}: expected the sizes of the images, which a normalized convention needs, "
            f"found none of {ids[int(unknown.argmax())]!r}; {advice}"
        )
    edges = np.rint(shares)
    shares = np.where(np.abs(shares - edges) <= _ROUNDING, edges, shares)
    return np.asarray(shares * np.tile(sizes, 2))
