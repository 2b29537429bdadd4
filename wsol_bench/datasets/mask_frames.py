"""Masks of a data set, some of which were drawn on an image as it is shown, and not as stored."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.box_frames import orientations, ways_up
from wsol_bench.datasets.findings import Finding, Kind
from wsol_bench.datasets.folders import look_up
from wsol_bench.datasets.image_headers import read_headers
from wsol_bench.datasets.masks import MaskFiles, MaskSource, NumberedPixels, RunLengths

__all__ = ["upright_masks", "with_masks"]

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
        masks: masks by image id, of every image that is kept.
        tables: cache of the headers.
    """
    keep = images["keep"].to_numpy(np.bool_, copy=True)
    pairs = [
        (index, source)
        for index in np.flatnonzero(keep).tolist()
        for source in masks[images["image_id"].iloc[index]].sources
    ]
    if not pairs:
        return keep, []
    sources = _sources(dict.fromkeys(source for _, source in pairs), tables)
    headers = sources.loc[pd.Index([str(source) for _, source in pairs])]
    image = np.array([index for index, _ in pairs], np.int64)
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
        mask = headers["shown"].iloc[position]
        text = f"image and {mask} are {sizes} pixels"
        if turned[position]:
            text = f"{text} ({tags}): the mask is turned; left out"
            findings[index] = Finding(Kind.SWAPPED_SIZE, image_id, text)
        elif stretched[position]:
            text = f"{text}; the mask is stretched to the image: wrong if the image was cropped"
            findings.setdefault(index, Finding(Kind.SIZE_MISMATCH, image_id, text))
        else:
            text = f"{tags} ({mask}), and no size tells which way up the mask was drawn"
            text = f"{text}; taken as stored"
            findings.setdefault(index, Finding(Kind.ORIENTATION, image_id, text))
    keep[image[turned]] = False
    return keep, list(findings.values())


def with_masks(loaded: Dataset, masks: Mapping[str, MaskFiles]) -> Dataset:
    """A data set with its masks; if it has no boxes at all, without the findings that say so.

    Args:
        loaded: the data set, as ``assemble`` makes it.
        masks: masks by image id, of every image.
    """
    findings = loaded.findings
    if not len(loaded.boxes):
        findings = tuple(finding for finding in findings if finding.kind != Kind.NO_BOX)
    of_images = tuple(masks[image_id] for image_id in loaded.images["image_id"])
    return replace(loaded, masks=of_images, findings=findings)


def _sources(sources: Iterable[MaskSource], tables: TableCache) -> pd.DataFrame:
    """The sizes and EXIF orientations of masks, and their names for people; by the sources' texts.

    Run lengths tell their size; of files it is read, once for all of their numbers.
    """
    paths: dict[str, Path] = {}
    rows = {}
    for source in sources:
        if isinstance(source, RunLengths):
            rows[str(source)] = (source.width, source.height, 1, "its mask")
        else:
            paths[str(source)] = source.path if isinstance(source, NumberedPixels) else source
    files = list(dict.fromkeys(paths.values()))
    if files:
        folder = Path(os.path.commonpath([path.parent for path in files]))
        names = [path.relative_to(folder).as_posix() for path in files]
        headers = read_headers(folder, look_up(folder, names), tables)
        columns = headers[["width", "height", "orientation"]].itertuples(index=False, name=None)
        of_file = {
            path: (*header, f"mask {name}")
            for path, header, name in zip(files, columns, names, strict=True)
        }
        rows |= {text: of_file[path] for text, path in paths.items()}
    table = pd.DataFrame(rows.values(), index=pd.Index(rows, dtype="object"))
    return table.set_axis(["width", "height", "orientation", "shown"], axis=1)


def _differ(
    first: Float64[np.ndarray, "n 2"], second: Float64[np.ndarray, "n 2"]
) -> Bool[np.ndarray, " n"]:
    """Return whether two sizes have proportions that no rounding explains; no if one is 0 x 0."""
    products = np.stack([first[:, 0] * second[:, 1], first[:, 1] * second[:, 0]])
    return np.asarray(products.max(axis=0) > _ROUNDING * products.min(axis=0))
