"""The data set ImageNet-S (Gao et al., TPAMI 2022): masks of ImageNet's validation images."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from wsol_bench.common import data_files
from wsol_bench.common.files import existing
from wsol_bench.common.image_files import IMAGE_SUFFIXES
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, ImageFiles, assemble, measure
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.class_masks import ClassMasks, read_class_masks
from wsol_bench.datasets.findings import Finding, Kind, missing_images
from wsol_bench.datasets.folders import scan
from wsol_bench.datasets.mask_frames import upright_masks, with_masks
from wsol_bench.datasets.recognition import Recognition, n_files
from wsol_bench.datasets.synsets import read_class_table
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import HALF_OPEN

__all__ = ["imagenet_s"]

_IGNORED = 1000
# The classes of ImageNet-S50, -S300 and -S. The number of a class is its place among all of them.
_N_CLASSES = (50, 300, 919)
_MASK_SUFFIXES = ("png",)


def _recognize(root: Path) -> Recognition:
    """See ``Recognition``: the folder of a split's masks, with one folder a class."""
    for split in ("validation", "train-semi"):
        masks = root / f"{split}-segmentation"
        names = data_files.names_in(masks) if data_files.is_dir(masks) else []
        folders = [name for name in names if data_files.is_dir(masks / name)]
        needs = {
            "validation-segmentation with 50, 300 or 919 folders": len(folders) in _N_CLASSES,
        }
        if all(needs.values()):
            break
    if not all(needs.values()):
        return Recognition(needs, {})
    options, unsure = {"root": str(root), "split": split}, {}
    has_images = data_files.is_dir(root / split)
    if not has_images:
        unsure["images"] = "/path/to/ILSVRC/val  # the images, flat or in folders"
    seen = (f"{n_files(masks, _MASK_SUFFIXES)} masks of {len(folders)} classes in {masks.name}",)
    return Recognition(needs, options, seen, unsure, images=has_images, masks=True, wnids=True)


@dataset("imagenet_s", recognize=_recognize)
def imagenet_s(
    *,
    root: Path,
    split: Literal["validation", "train-semi"] = "validation",
    images: Path | None = None,
    classes: Path | None = None,
    cache: bool = True,
) -> Dataset:
    """ImageNet-S (Gao et al., 2022): masks of 50, 300 or 919 of ImageNet's classes.

    A mask holds the number of a class at each pixel, R + 256 G: 0 is any other thing, 1000 is
    ignored. There is one sample for each class in a mask, ``<image>/<wnid>``, whose other pixels
    are background: the official evaluation takes the IoU of every class over the pixels of all
    images, whatever folder an image lies in, without the ignored ones. (A class's number is its
    place among the sorted wnids.) For 13% of the images that folder is not ILSVRC's.

    Args:
        root: folder with validation-segmentation (``ImageNetS50``, ``ImageNetS300``,
            ``ImageNetS919``).
        split: "validation" or "train-semi"; the masks of the test images are not published.
        images: folder of the images: ILSVRC's validation images as well, flat or in folders of any
            names. By default the split's own folder in the root.
        classes: file with a wnid and its words a line (LOC_synset_mapping.txt), or the list
            ImageNetS_categories_im50.txt, which is needed if folders of classes are missing.
        cache: whether to keep the numbers in masks and the sizes of images for the next load.

    Raises:
        DatasetError: a folder is missing, the numbers of the classes are not known, or every image
            is left out.
    """
    root = existing(root, "root")
    folder = existing(root / f"{split}-segmentation", "root")
    image_folder = existing(root / split if images is None else images, "images")
    tables = TableCache(enabled=cache)
    masks = scan(folder, _MASK_SUFFIXES, wanted=()).rename(columns={"stem": "image_id"})
    files = [] if classes is None else [existing(classes, "classes")]
    table = read_class_table(files, tables, otherwise=masks["folder"])
    wnids = _numbered(masks["folder"], table, folder)
    frame, findings = _find_images(image_folder, masks, tables)
    held = read_class_masks(
        frame,
        folder,
        frame["mask"].tolist(),
        dict(enumerate(wnids, start=1)),
        tables,
        ignored=_IGNORED,
    )
    samples, _, masks_of = held.samples(frame)
    samples["keep"], turned = upright_masks(samples, masks_of, tables)
    empty = pd.DataFrame({"image": np.empty(0, np.int64), "wnid": np.empty(0, object)})
    loaded = assemble(
        "imagenet_s",
        samples,
        empty.assign(**dict.fromkeys(CORNERS, np.empty(0))),
        table[table["wnid"].isin(wnids)].reset_index(drop=True),
        [*findings, *held.findings, *turned, *_not_in_mask(frame, held)],
        convention=HALF_OPEN,
        source=str(folder),
    )
    return with_masks(loaded, masks_of)


def _numbered(folders: pd.Series, table: pd.DataFrame, folder: Path) -> list[str]:
    """The wnids in the order of their numbers.

    Args:
        folders: folder of each mask.
        table: the classes.
        folder: folder of the masks, for the error.

    Raises:
        DatasetError: neither the folders nor the classes are all of ImageNet-S50, -S300 or -S.
    """
    for names in (folders.unique().tolist(), table["wnid"].tolist()):
        if len(names) in _N_CLASSES and {*folders} <= {*names}:
            return sorted(names)
    raise DatasetError(
        f"{folder}: expected the folders of all 50, 300 or 919 classes, whose order tells their "
        f"numbers, found {folders.nunique()}; name the list of all classes with classes="
        "ImageNetS_categories_im50.txt (im300, im919) of the official repository"
    )


def _find_images(folder: Path, masks: pd.DataFrame, tables: TableCache) -> ImageFiles:
    """The images that have a mask, with its file; findings of missing and unreadable images."""
    files = scan(folder, IMAGE_SUFFIXES, wanted={*masks["image_id"]})
    files = files[files["bytes"] >= 0].rename(columns={"stem": "image_id"})
    missing = sorted({*masks["image_id"]}.difference(files["image_id"]))
    of_mask = masks[["image_id", "file", "folder"]].rename(
        columns={"file": "mask", "folder": "folder_of_mask"}
    )
    listed = files.merge(of_mask, on="image_id").reset_index(drop=True)
    measured = measure(folder, listed, tables)
    return ImageFiles(measured.table, missing_images(missing, folder) + measured.findings)


def _not_in_mask(frame: pd.DataFrame, held: ClassMasks) -> list[Finding]:
    """Findings of the images whose mask holds classes, but not that of its folder."""
    pairs = {*zip(held.pairs["image"], held.pairs["wnid"], strict=True)}
    findings = []
    for image in sorted({*held.pairs["image"]}):
        name = frame["folder_of_mask"].iloc[image]
        if (image, name) not in pairs:
            detail = f"in folder {name}, but no pixel of its mask is of that class"
            findings.append(Finding(Kind.LABEL_MISMATCH, frame["image_id"].iloc[image], detail))
    return findings
