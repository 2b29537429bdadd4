"""The last step of every loader: a ``Dataset`` from tables of images and boxes in any convention.

A loader reads which images there are and which boxes its annotations draw. Here files are looked up
and measured, boxes are repaired and converted, and oddities become findings.
"""

import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool

from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.base import ROOT_SYNSET, Dataset
from wsol_bench.datasets.box_frames import (
    are_shares,
    frames_of,
    into_stored,
    require_pixels,
    resized_images,
)
from wsol_bench.datasets.findings import Finding, Kind, findings_of, missing_images
from wsol_bench.datasets.folders import look_up
from wsol_bench.datasets.image_headers import read_headers
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import Convention, repair

__all__ = [
    "CORNERS",
    "ImageFiles",
    "assemble",
    "class_table",
    "find_images",
    "measure",
]

CORNERS = ["x0", "y0", "x1", "y1"]


class ImageFiles(NamedTuple):
    """The image files of a data set.

    Attributes:
        table: one row an image: the columns of the caller's table, and path, width, height (in
            pixels), orientation (EXIF's), keep (False if the header is unreadable).
        findings: findings of missing, unreadable and unusual files.
    """

    table: pd.DataFrame
    findings: list[Finding]


def class_table(words: Mapping[str, str]) -> pd.DataFrame:
    """The table of classes of a data set without ILSVRC2012_IDs, from wnid to words."""
    rows = [(wnid, text, 0) for wnid, text in sorted(words.items())]
    table = pd.DataFrame(rows, columns=["wnid", "words", "ilsvrc_id"])
    return table.astype({"wnid": "str", "words": "str", "ilsvrc_id": np.int64})


def find_images(folder: Path, listed: pd.DataFrame, tables: TableCache) -> ImageFiles:
    """The listed images that exist, with their sizes; findings of missing and unreadable files.

    Args:
        folder: folder of the images.
        listed: one row an image: image_id, file (path that stays below the folder), and any other
            columns, which are kept.
        tables: cache of the headers.

    Raises:
        DatasetError: two images are one file, ``a.jpg`` and ``./a.jpg``.
    """
    _require_distinct(folder, listed["file"])
    files = look_up(folder, listed["file"].tolist())
    missing = (files["bytes"] < 0).to_numpy()
    findings = missing_images(listed["image_id"][missing], folder)
    existing = listed[~missing].reset_index(drop=True)
    stats = files.loc[~missing, ["bytes", "mtime"]].reset_index(drop=True)
    measured = measure(folder, existing.join(stats), tables)
    return ImageFiles(measured.table, findings + measured.findings)


def _require_distinct(folder: Path, files: pd.Series) -> None:
    """Raise DatasetError if two paths differ only in parts that lead nowhere, ``.`` and ``//``."""
    if not files.str.contains(r"(?:^|/)\.?/").any():
        return
    plain = files.map(posixpath.normpath)
    repeated = plain.duplicated()
    if repeated.any():
        second = int(repeated.to_numpy().argmax())
        first = int((plain == plain.iloc[second]).to_numpy().argmax())
        raise DatasetError(
            f"{folder}: expected one path for each listed image, found {files.iloc[first]!r} and "
            f"{files.iloc[second]!r}; write the same path in both"
        )


def measure(folder: Path, files: pd.DataFrame, tables: TableCache) -> ImageFiles:
    """Image files with what their headers tell; findings of headers that are unreadable or unusual.

    Args:
        folder: folder of the images.
        files: one row an image: image_id, file, bytes and mtime (as ``scan`` gives them), and any
            other columns, which are kept.
        tables: cache of the headers.
    """
    headers = read_headers(folder, files, tables)
    broken = headers["error"] != ""
    findings = [
        Finding(Kind.UNREADABLE_IMAGE, image_id, f"{error}; left out")
        for image_id, error in zip(files["image_id"][broken], headers["error"][broken], strict=True)
    ]
    deep = headers["samples"] != ""
    findings += [
        Finding(Kind.DEEP_PIXELS, image_id, f"{samples} to 8 bits")
        for image_id, samples in zip(files["image_id"][deep], headers["samples"][deep], strict=True)
    ]
    several = files["image_id"][headers["several"]]
    findings += findings_of(
        Kind.SEVERAL_FRAMES, several, "several images in one file; the first taken"
    )
    table = files.assign(
        path=f"{folder}/" + files["file"],
        width=headers["width"],
        height=headers["height"],
        orientation=headers["orientation"],
        keep=~broken,
    )
    return ImageFiles(table, findings)


def assemble(
    name: str,
    images: pd.DataFrame,
    objects: pd.DataFrame,
    classes: pd.DataFrame,
    findings: Iterable[Finding],
    *,
    convention: Convention,
    source: str,
) -> Dataset:
    """Make a data set of tables of images and boxes; corners may follow any convention.

    Images without a label, or with one that ``classes`` does not hold, are left out. Boxes are
    repaired, rescaled if they were drawn on another size of the image, and rotated if they were
    drawn on the image as its EXIF tag shows it.

    Args:
        name: name of the data set.
        images: one row an image, in order: image_id, path ("" for none), width, height (0 if
            unknown), label ("" if unknown), keep (False if left out, with a finding that says so).
            Optional: blacklisted; annotated_width and annotated_height, the size of the image that
            the boxes were drawn on (0 if unknown); orientation, EXIF's, from 1 to 8.
        objects: one row a box: image (position in ``images``), wnid ("" if no class has the name in
            ``name``), and its ``CORNERS`` as the annotations write them.
        classes: one row a class: wnid (sorted), words, ilsvrc_id.
        findings: findings so far.
        convention: convention of the corners.
        source: where the annotations come from, for the error message.

    Raises:
        DatasetError: no image is left, or all boxes are shares of their images, not pixels.
    """
    require_pixels(objects[CORNERS].to_numpy(np.float64), source)
    images = images.reset_index(drop=True)
    images["keep"], unlabeled = _has_known_label(images, classes)
    objects, odd_boxes = _place_boxes(objects, images, convention)
    findings = [*findings, *unlabeled, *odd_boxes]
    images["n_boxes"] = np.bincount(objects["image"], minlength=len(images))
    findings += _images_without_box(images, objects)
    kept = images[images["keep"]]
    if kept.empty:
        raise DatasetError(f"every image of {source} is left out; {_summary(findings)}")
    if "blacklisted" not in kept:
        kept = kept.assign(blacklisted=False)
    columns = ["image_id", "path", "height", "width", "label", "blacklisted", "n_boxes"]
    return Dataset(
        name=name,
        images=kept[columns].reset_index(drop=True),
        boxes=objects[CORNERS].to_numpy(np.float64),
        box_labels=objects["wnid"].to_numpy(object),
        classes=classes,
        findings=tuple(sorted(findings, key=lambda finding: finding.image_id)),
    )


def _has_known_label(
    images: pd.DataFrame, classes: pd.DataFrame
) -> tuple[Bool[np.ndarray, " n"], list[Finding]]:
    """Return whether each image is kept and has a known label; findings of the other images."""
    labels, keep = images["label"], images["keep"].to_numpy(np.bool_)
    unlabeled = (labels == "").to_numpy()
    unknown = ~unlabeled & ~labels.isin([*classes["wnid"], ROOT_SYNSET]).to_numpy()
    findings = findings_of(
        Kind.NO_LABEL, images["image_id"][keep & unlabeled], "no label; left out"
    )
    ids = images["image_id"]
    for index in np.flatnonzero(keep & unknown):
        detail = f"class {labels.iloc[index]!r} is not among the {len(classes)} classes; left out"
        findings.append(Finding(Kind.UNKNOWN_CLASS, ids.iloc[index], detail))
    return keep & ~unlabeled & ~unknown, findings


def _place_boxes(
    objects: pd.DataFrame, images: pd.DataFrame, convention: Convention
) -> tuple[pd.DataFrame, list[Finding]]:
    """The boxes of the kept images, half-open, in the images' order; findings of odd boxes."""
    ids, keep = images["image_id"], images["keep"].to_numpy(np.bool_)
    objects = objects[keep[objects["image"]]]
    nameless = objects[objects["wnid"] == ""]
    findings = []
    for image, name in nameless.reindex(columns=["image", "name"]).itertuples(index=False):
        detail = f"object {name!r} is of no known class; object left out"
        findings.append(Finding(Kind.UNKNOWN_CLASS, ids.iloc[image], detail))
    objects = objects[objects["wnid"] != ""].sort_values("image", kind="stable")

    image = objects["image"].to_numpy(np.int64)
    frames, frame_findings = frames_of(images, np.bincount(image, minlength=len(images)) > 0)
    findings += frame_findings
    placed = ~frames.lost[image]
    objects, image = objects[placed], image[placed]
    corners = objects[CORNERS].to_numpy(np.float64)
    for position in np.flatnonzero(are_shares(corners)).tolist():
        box = ", ".join(f"{value:g}" for value in corners[position])
        detail = f"box ({box}) lies within one pixel: is it in shares of the image? taken as pixels"
        findings.append(Finding(Kind.ODD_BOX, ids.iloc[image[position]], detail))
    drawn = convention.to_half_open(corners)
    # Repaired in the frame they were drawn in, then rescaled: swapped corners are swapped there.
    limits = np.where(frames.size > 0, frames.size, np.inf)[image]
    findings += resized_images(drawn, limits, frames.said[image])
    repaired = repair(drawn, limits, convention)
    for position, remark in repaired.remarks.items():
        findings.append(Finding(Kind.ODD_BOX, ids.iloc[image[position]], remark))
    boxes = into_stored(repaired.boxes, image, images, frames)
    objects = objects[["image", "wnid"]].assign(**dict(zip(CORNERS, boxes.T, strict=True)))
    return objects[repaired.kept], findings


def _images_without_box(images: pd.DataFrame, objects: pd.DataFrame) -> list[Finding]:
    """Findings of the kept images without a box, or without a box of their class."""
    ids, keep = images["image_id"], images["keep"].to_numpy(np.bool_)
    findings = findings_of(Kind.NO_BOX, ids[keep & (images["n_boxes"] == 0).to_numpy()], "no box")
    labels = images["label"].to_numpy(object)
    agrees = labels[objects["image"]] == objects["wnid"].to_numpy(object)
    of_label = np.bincount(objects["image"], weights=agrees, minlength=len(images)) > 0
    foreign = (images["n_boxes"] > 0).to_numpy() & ~of_label & (labels != ROOT_SYNSET)
    for index in np.flatnonzero(foreign):
        detail = f"labeled {labels[index]}, but no box is of that class"
        findings.append(Finding(Kind.LABEL_MISMATCH, ids.iloc[index], detail))
    return findings


def _summary(findings: list[Finding]) -> str:
    """The number of findings of each kind, and the first finding, as text for people."""
    counts = pd.Series([finding.kind for finding in findings], dtype="str").value_counts()
    kinds = ", ".join(f"{kind}: {count}" for kind, count in counts.items())
    return f"{kinds}; the first: {', '.join(findings[0])}" if findings else "no image is listed"
