"""Masks that were drawn on an image as it is shown, and not on its stored pixels."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.base import MaskFiles
from wsol_bench.datasets.box_frames import orientations, ways_up
from wsol_bench.datasets.findings import Finding, Kind
from wsol_bench.datasets.folders import look_up
from wsol_bench.datasets.image_headers import read_headers

__all__ = ["upright_masks"]

# The sides of an image and of its mask may both be rounded, which moves their proportions.
_ROUNDING = 1.02


def upright_masks(
    images: pd.DataFrame, masks: Mapping[str, MaskFiles], tables: TableCache
) -> tuple[Bool[np.ndarray, " n"], list[Finding]]:
    """Return whether each image is kept and its masks are not turned; findings of the others.

    Masks are read as stored, like their images. A mask whose proportions are those of the turned
    image would be squeezed into the wrong ones. Where EXIF turns an image or a mask, and no
    proportions tell which way up the mask was drawn, that is a finding, and so is a mask of other
    proportions, which is stretched.

    Args:
        images: one row an image: image_id, width, height (0 if unknown), keep; optional: the EXIF
            orientation.
        masks: mask files by image id, of every image that is kept.
        tables: cache of the headers.
    """
    keep = images["keep"].to_numpy(np.bool_, copy=True)
    files = [
        (index, path)
        for index in np.flatnonzero(keep).tolist()
        for path in masks[images["image_id"].iloc[index]].paths
    ]
    if not files:
        return keep, []
    folder = Path(os.path.commonpath([path.parent for _, path in files]))
    names = [path.relative_to(folder).as_posix() for _, path in files]
    headers = read_headers(folder, look_up(folder, names), tables)
    image = np.array([index for index, _ in files], np.int64)
    size = images[["width", "height"]].to_numpy(np.float64)[image]
    drawn = headers[["width", "height"]].to_numpy(np.float64)
    stored, swapped = ways_up(drawn, size)
    turned = swapped & ~stored
    stretched = ~stored & ~swapped & _differ(drawn, size)
    tag_of_mask = headers["orientation"].to_numpy(np.int64)
    tag_of_image = orientations(images)[image]
    told = (stored ^ swapped) & (np.maximum(tag_of_image, tag_of_mask) >= 5)
    unsure = ~told & (tag_of_image != tag_of_mask)
    findings: dict[int, Finding] = {}  # one an image
    for position in np.flatnonzero(turned | stretched | unsure).tolist():
        index = int(image[position])
        tags = f"EXIF orientation {tag_of_image[position]}, its mask's {tag_of_mask[position]}"
        sizes = " and ".join(f"{w:g} x {h:g}" for w, h in (size[position], drawn[position]))
        image_id = images["image_id"].iloc[index]
        text = f"image and mask {names[position]} are {sizes} pixels"
        if turned[position]:
            text = f"{text} ({tags}): the mask is turned; left out"
            findings[index] = Finding(Kind.SWAPPED_SIZE, image_id, text)
        elif stretched[position]:
            text = f"{text}; the mask is stretched to the image: wrong if the image was cropped"
            findings.setdefault(index, Finding(Kind.SIZE_MISMATCH, image_id, text))
        else:
            text = f"{tags} ({names[position]}), and no size tells which way up the mask was drawn"
            text = f"{text}; taken as stored"
            findings.setdefault(index, Finding(Kind.ORIENTATION, image_id, text))
    keep[image[turned]] = False
    return keep, list(findings.values())


def _differ(
    first: Float64[np.ndarray, "n 2"], second: Float64[np.ndarray, "n 2"]
) -> Bool[np.ndarray, " n"]:
    """Return whether two sizes have proportions that no rounding explains; no if one is 0 x 0."""
    products = np.stack([first[:, 0] * second[:, 1], first[:, 1] * second[:, 0]])
    return np.asarray(products.max(axis=0) > _ROUNDING * products.min(axis=0))
