"""The images of an ImageNet split: all images, and the subset that the user asks for."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from wsol_bench.common.image_files import IMAGE_SUFFIXES
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import measure
from wsol_bench.datasets.findings import Finding, missing_images
from wsol_bench.datasets.folders import scan
from wsol_bench.datasets.formats.csv import read_image_sizes
from wsol_bench.datasets.formats.lists import read_image_list
from wsol_bench.datasets.formats.xml import XML_SUFFIXES
from wsol_bench.datasets.imagenet.layout import Folder, Pieces
from wsol_bench.errors import DatasetError

__all__ = ["Listing", "list_images"]


class Listing(NamedTuple):
    """The images of a split, and the subset that the user asks for.

    Attributes:
        images: one row an image that is in the subset and exists, sorted by id: image_id, path,
            folder (name of its subfolder, "" if flat), width, height (0 if unknown), keep, and
            annotated_width, annotated_height (of the CSV of sizes, 0 if unknown).
        complete: ids of all images of the split, sorted, also of images that are not in the subset
            or do not exist.
        folders: names of all subfolders with images.
        findings: findings of missing and unreadable images.
    """

    images: pd.DataFrame
    complete: pd.Index
    folders: set[str]
    findings: list[Finding]


def list_images(
    pieces: Pieces, solution: pd.DataFrame, subset: list[str] | None, tables: TableCache
) -> Listing:
    """The images of a split.

    Args:
        pieces: places of the split's pieces.
        solution: objects of the solution CSV.
        subset: image ids that the user asks for; None for all images.
        tables: cache of what is read.
    """
    listed = read_image_list(pieces.image_list).ids if pieces.image_list else None
    sizes = _read_sizes(pieces.sizes, tables)
    if pieces.images is None:
        return _list_annotations(pieces, solution, sizes, listed, subset)
    listing = _list_files(pieces.images, listed, subset, tables)
    return listing._replace(images=_with_sizes(listing.images, sizes, "annotated_"))


def _read_sizes(path: Path | None, tables: TableCache) -> pd.DataFrame:
    """The sizes in a CSV by image id: width, height; none if there is no such file.

    Raises:
        DatasetError: an image has two sizes.
    """
    if path is None:
        return pd.DataFrame({"width": [], "height": []}, index=pd.Index([], dtype="str"))
    sizes = tables.file("sizes", path, read_image_sizes).drop_duplicates()
    repeated = sizes["image_id"][sizes["image_id"].duplicated()]
    if len(repeated):
        raise DatasetError(f"{path}: expected one size an image, found two of {repeated.iloc[0]!r}")
    return sizes.set_index("image_id")


def _with_sizes(images: pd.DataFrame, sizes: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """The images with width and height, under a prefix, of a table by image id; 0 if unknown."""
    of_images = sizes.reindex(images["image_id"]).fillna(0).astype(np.int64)
    return images.assign(
        **{f"{prefix}{side}": of_images[side].to_numpy() for side in ("width", "height")}
    )


def _list_annotations(
    pieces: Pieces,
    solution: pd.DataFrame,
    sizes: pd.DataFrame,
    listed: list[str] | None,
    subset: list[str] | None,
) -> Listing:
    """The images of a root without image files, from the first list of images in the root."""
    if listed is None and len(solution):
        listed = solution["image_id"].unique().tolist()
    elif listed is None and len(sizes):
        listed = sizes.index.tolist()
    elif listed is None and pieces.xml:
        files = scan(pieces.xml.path, XML_SUFFIXES, nested=pieces.xml.nested, wanted=())
        listed = files["stem"].tolist()
    complete = pd.Index(sorted(set(listed or ())), dtype="str")
    images = pd.DataFrame({"image_id": _among(complete, subset), "path": "", "folder": ""})
    images = _with_sizes(_with_sizes(images, sizes, ""), sizes, "annotated_")
    return Listing(images.assign(keep=True), complete, set(), [])


def _list_files(
    folder: Folder, listed: list[str] | None, subset: list[str] | None, tables: TableCache
) -> Listing:
    """The images of a folder; if there is a list, only the listed images."""
    wanted: Collection[str] | None = None if subset is None else set(subset)
    if listed is not None:
        wanted = set(listed) if wanted is None else set(listed).intersection(wanted)
    files = scan(folder.path, IMAGE_SUFFIXES, nested=folder.nested, wanted=wanted)
    folders = set(files["folder"].unique()) - {""}
    complete = pd.Index(files["stem"] if listed is None else sorted(set(listed)), dtype="str")
    files = files[files["bytes"] >= 0].reset_index(drop=True)
    requested = _among(complete, subset)
    missing = requested[pd.Index(files["stem"]).get_indexer(requested) < 0]
    measured = measure(folder.path, files.rename(columns={"stem": "image_id"}), tables)
    findings = missing_images(missing, folder.path) + measured.findings
    return Listing(measured.table, complete, folders, findings)


def _among(ids: pd.Index, subset: list[str] | None) -> pd.Index:
    """The ids that are in ``subset``; all ids if ``subset`` is None."""
    return ids if subset is None else ids[ids.isin(subset)]
