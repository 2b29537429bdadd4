"""Masks of several classes in one file, whose pixels hold the numbers of their classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from wsol_bench.common.image_files import opened_image
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.findings import Finding, Kind
from wsol_bench.datasets.folders import look_up, stamp, with_progress
from wsol_bench.datasets.masks import MaskFiles, NumberedPixels, numbers_of
from wsol_bench.datasets.per_class import per_class

__all__ = ["ClassMasks", "read_class_masks"]

BACKGROUND = 0


class ClassMasks(NamedTuple):
    """The classes in the masks of images.

    Attributes:
        pairs: one row for each class in the mask of an image: image (its position), wnid, number.
        folder: folder of the masks.
        files: file of each image's mask in the folder.
        ignored: number of the pixels that are ignored.
        findings: findings of masks that are missing or unreadable, hold no class, or a number of
            no class.
    """

    pairs: pd.DataFrame
    folder: Path
    files: list[str]
    ignored: int
    findings: list[Finding]

    def samples(
        self, images: pd.DataFrame, boxes: pd.DataFrame | None = None
    ) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, MaskFiles]]:
        """The samples and boxes that ``assemble`` takes, one sample a class, and their masks by id.

        Args:
            images: the images, whose masks these are.
            boxes: boxes that the samples have, too, as ``per_class`` takes objects; those of a
                class that is not in the mask are left out.
        """
        known = pd.MultiIndex.from_frame(self.pairs[["image", "wnid"]])
        boxes = self.pairs[:0] if boxes is None else boxes
        boxes = boxes[pd.MultiIndex.from_frame(boxes[["image", "wnid"]]).isin(known)]
        both = pd.concat([self.pairs.assign(is_box=False), boxes.assign(is_box=True)])
        samples, both = per_class(images, both)
        masks = {}
        of_pairs = both[~both["is_box"]]
        ids = samples["image_id"].to_numpy(object)[of_pairs["image"]]
        for sample, image, number in zip(
            ids, self.pairs["image"], self.pairs["number"], strict=True
        ):
            path = Path(f"{self.folder}/{self.files[image]}")
            ignored = NumberedPixels(path, self.ignored)
            masks[sample] = MaskFiles((NumberedPixels(path, int(number)),), ignored)
        return samples, both[both["is_box"]], masks


def read_class_masks(
    images: pd.DataFrame,
    folder: Path,
    files: list[str],
    class_of: Mapping[int, str],
    tables: TableCache,
    *,
    ignored: int,
) -> ClassMasks:
    """Read which classes the masks of images hold; every file is decoded once, and then cached.

    Args:
        images: one row an image: image_id, keep.
        folder: folder of the masks.
        files: file of each image's mask, a path below the folder.
        class_of: class by number; 0 is the background.
        tables: cache of the result.
        ignored: number of the pixels that are ignored.
    """
    found = look_up(folder, files)
    held = _numbers_in(folder, found, tables)
    ids = images["image_id"].to_numpy(object)
    keep = images["keep"].to_numpy(np.bool_)
    findings = []
    for index in np.flatnonzero(keep & (found["bytes"] < 0).to_numpy()):
        detail = f"no such mask: {folder / files[index]}; left out"
        findings.append(Finding(Kind.MISSING_FILE, ids[index], detail))
    for index, error in held.loc[held["error"] != "", ["image", "error"]].itertuples(index=False):
        if keep[index]:
            detail = f"mask {files[index]}: {error}; left out"
            findings.append(Finding(Kind.UNREADABLE_IMAGE, ids[index], detail))
    held = held[(held["error"] == "") & keep[held["image"]]]
    others = held[~held["number"].isin([BACKGROUND, ignored, *class_of])]
    for index, number in others[["image", "number"]].itertuples(index=False):
        detail = f"mask {files[index]} holds {number}, the number of no class; taken as background"
        findings.append(Finding(Kind.UNKNOWN_CLASS, ids[index], detail))
    pairs = held[held["number"].isin(list(class_of))]
    pairs = pairs.assign(wnid=pairs["number"].map(dict(class_of)).to_numpy(object))
    for index in sorted({*held["image"]} - {*pairs["image"]}):
        detail = f"mask {files[index]} holds no class; left out"
        findings.append(Finding(Kind.NO_LABEL, ids[index], detail))
    pairs = pairs[["image", "wnid", "number"]].reset_index(drop=True)
    return ClassMasks(pairs, folder, files, ignored, findings)


def _numbers_in(folder: Path, files: pd.DataFrame, tables: TableCache) -> pd.DataFrame:
    """The numbers in mask files: one row for each of a file: image (its position), number, error.

    Args:
        folder: folder of the files.
        files: rows of ``look_up``; those of missing files have no row in the result.
        tables: cache of the result.
    """

    def read() -> pd.DataFrame:
        rows: list[tuple[int, int, str]] = []
        existing = files.index[files["bytes"] >= 0].tolist()
        for index in with_progress(existing, "reading masks", "masks"):
            try:
                with opened_image(folder / files["file"].iloc[index]) as image:
                    numbers = numbers_of(image)
            except Exception as error:  # damaged bytes can make Pillow raise any error
                rows.append((index, BACKGROUND, str(error) or type(error).__name__))
                continue
            rows += [(index, number, "") for number in _distinct(numbers)]
        table = pd.DataFrame(rows, columns=["image", "number", "error"])
        return table.astype({"image": np.int64, "number": np.int64, "error": "str"})

    return tables.table("mask-numbers", stamp(folder, files), read)


def _distinct(numbers: np.ndarray) -> list[int]:
    """The distinct numbers of a mask, sorted; counted if they are small, which is faster."""
    if numbers.size and numbers.min() >= 0 and numbers.max() < 2**16:
        distinct: list[int] = np.flatnonzero(np.bincount(numbers.ravel())).tolist()
        return distinct
    return [int(number) for number in np.unique(numbers)]
