"""The metadata folders of wsolevaluation (Choe et al., CVPR 2020): ILSVRC, CUB, OpenImages.

https://github.com/clovaai/wsolevaluation, where data_loaders.py describes the format.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from wsol_bench.datasets.annotations import (
    LARGEST,
    CsvRows,
    malformed,
    read_columns,
    stays_below,
)
from wsol_bench.datasets.assembly import CORNERS, assemble, class_table, find_images, note
from wsol_bench.datasets.base import Dataset, Finding, MaskFiles, dataset
from wsol_bench.datasets.index import TableCache, existing
from wsol_bench.datasets.synsets import read_class_table
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import INCLUSIVE

__all__ = ["wsol_metadata"]

# No data set has more classes; a greater number is a damaged file, not a reason to reserve memory.
_LAST_CLASS = 99_999


@dataset("wsol_metadata")
def wsol_metadata(
    *,
    metadata: Path,
    images: Path | None = None,
    masks: Path | None = None,
    classes: Path | None = None,
    cache: bool = True,
) -> Dataset:
    """A metadata folder of wsolevaluation: ILSVRC, ImageNetV2, CUB, CUBV2, OpenImages30k.

    Images come in the list's order, and their ids are the list's paths as they stand there
    (``val/ILSVRC2012_val_00000001.JPEG``): its tools name score maps by them. Corners of boxes are
    0-based and inclusive: the official IoU adds 1, and no corner reaches the image's width. A class
    is its number with leading zeros, or the wnid at that place among the sorted ``classes``.

    Args:
        metadata: folder with image_ids.txt, class_labels.txt and, where there are such,
            image_sizes.txt and localization.txt (boxes or masks): ``metadata/ILSVRC/test``.
        images: folder that the ids are relative to; without it there are annotations only.
        masks: folder that the masks' paths are relative to, where they do not lie among the images.
        classes: file like LOC_synset_mapping.txt.
        cache: keep what was read of the images' headers, for the next load.

    Raises:
        DatasetError: a file that is missing or malformed, a path that leaves its folder, masks
            without a folder, or no image left at all.
    """
    metadata = _folder_of_split(metadata)
    localization = metadata / "localization.txt"
    tables = TableCache(enabled=cache)
    findings: list[Finding] = []
    labels = _read_labels(metadata / "class_labels.txt")
    known = _class_table(labels, classes, tables)
    listed = _list_images(metadata, labels, known)
    if images is None:
        frame = listed.assign(
            path="", keep=True, width=listed["said_width"], height=listed["said_height"]
        )
    else:
        images = existing(images, "images")
        frame = find_images(images, listed, tables, findings)

    boxes = pd.DataFrame({"file": pd.Series(dtype="str"), **dict.fromkeys(CORNERS, np.empty(0))})
    has_masks, masked = _lists_masks(localization), dict[str, MaskFiles]()
    if has_masks:
        masked = _read_masks(localization, masks, images)
        _leave_out_maskless(frame, masked, findings)
    elif masks is not None:
        raise DatasetError(f"masks={masks} was given, but there are no masks in {localization}")
    elif localization.is_file():
        boxes = read_columns(localization, ("file", *CORNERS), numbers=4, separator=",")
    boxes["image"] = pd.Index(frame["image_id"]).get_indexer(boxes["file"])
    boxes = boxes[boxes["image"] >= 0]
    boxes["wnid"] = boxes["name"] = frame["label"].to_numpy(object)[boxes["image"]]
    if not has_masks:
        silent = (np.bincount(boxes["image"], minlength=len(frame)) == 0) & frame["keep"]
        note(findings, "no_annotation", frame["image_id"][silent], f"not in {localization}")
    result = assemble(
        "wsol_metadata", frame, boxes, known, findings, convention=INCLUSIVE, source=str(metadata)
    )
    if not has_masks:
        return result
    return replace(
        result,
        masks=tuple(masked[image_id] for image_id in result.images["image_id"]),
        # That masks are no boxes is no news.
        findings=tuple(finding for finding in result.findings if finding.kind != "no_box"),
    )


def _folder_of_split(metadata: Path) -> Path:
    metadata = existing(metadata, "metadata")
    if not (metadata / "image_ids.txt").is_file():
        splits = sorted(str(found.parent) for found in metadata.glob("*/image_ids.txt"))
        raise DatasetError(
            f"{metadata}: expected the metadata of one split, such as metadata/ILSVRC/test, found "
            "no image_ids.txt" + (f"; is it one of {', '.join(splits)}?" if splits else "")
        )
    return metadata


def _read_labels(path: Path) -> pd.DataFrame:
    """The images with their classes: file, label (a whole number from 0)."""
    table = read_columns(path, ("file", "label"), numbers=1, separator=",", key="file")
    _require_whole(path, table, f"the number of a class, from 0 to {_LAST_CLASS},", 0, _LAST_CLASS)
    return table.astype({"label": np.int64})


def _class_table(labels: pd.DataFrame, classes: Path | None, tables: TableCache) -> pd.DataFrame:
    """All classes: row i is the one that labels call i, and the rows are in sorted-wnid order."""
    if classes is not None:
        classes = existing(classes, "classes")
        table = read_class_table([classes], tables, otherwise=())
        wnids = table["wnid"]
        if wnids.str.fullmatch(r"\d+").all() and not wnids.astype(np.int64).is_monotonic_increasing:
            raise DatasetError(
                f"{classes}: classes are sorted as text, and {', '.join(wnids[:3])}, ... is not "
                "the order of the numbers; write them with leading zeros"
            )
        return table
    count = int(labels["label"].max()) + 1
    names = [f"{number:0{len(str(count - 1))}}" for number in range(count)]
    words = dict(zip(names, names, strict=True))
    # Where there is a folder a class, its name says more to people than the number.
    parents = labels["file"].str.extract(r"([^/]+)/[^/]*$", expand=False).fillna("")
    folders = pd.DataFrame({"label": labels["label"], "folder": parents}).drop_duplicates()
    if folders["folder"].all() and folders["label"].is_unique and folders["folder"].is_unique:
        for label, folder in zip(folders["label"], folders["folder"], strict=True):
            words[names[label]] = folder
    return class_table(words)


def _list_images(metadata: Path, labels: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The images of the list, in its order: image_id and file, label, said_width, said_height."""
    listed = read_columns(metadata / "image_ids.txt", ("file",), separator="\n", key="file")
    # A number beyond the classes stays as it is, which is the name of none.
    names = dict(enumerate(known["wnid"]))
    named = [names.get(label, str(label)) for label in labels["label"]]
    of_image = pd.Series(named, index=labels["file"], dtype="str")
    listed["image_id"] = listed["file"]
    listed["label"] = of_image.reindex(listed["file"]).fillna("").to_numpy(object)
    listed[["said_width", "said_height"]] = 0
    path = metadata / "image_sizes.txt"
    if path.is_file():
        columns = ("file", "width", "height")
        sizes = read_columns(path, columns, numbers=2, separator=",", key="file")
        _require_whole(path, sizes, "a width and a height in pixels", 1, LARGEST)
        said = sizes.set_index("file").reindex(listed["file"]).fillna(0).to_numpy(np.int64)
        listed["said_width"], listed["said_height"] = said.T
    return listed.astype({"label": "str"})


def _lists_masks(path: Path) -> bool:
    """Whether the first line has the three columns of masks, not the five of boxes."""
    return path.is_file() and len(next((row for row in CsvRows(path) if row), [])) == 3


def _read_masks(path: Path, masks: Path | None, images: Path | None) -> dict[str, MaskFiles]:
    """The masks of each image, whether or not their files are there."""
    if masks is None and images is None:
        raise DatasetError(
            f"{path} lists masks: the option masks= names the folder that their paths are "
            "relative to (or images=, where they lie among the images)"
        )
    folder = images if masks is None else existing(masks, "masks")
    foreground: dict[str, list[Path]] = {}
    ignore: dict[str, str] = {}
    rows = CsvRows(path)
    for row in filter(None, rows):
        cells = [cell.strip() for cell in row]
        expected = ""
        if len(cells) != 3 or not (cells[0] and cells[1]):
            expected = "'image,mask,ignore mask', of which only the last may be empty"
        elif not all(map(stays_below, cells)):
            expected = "files that lie below their folder"
        elif cells[2] and ignore.setdefault(cells[0], cells[2]) != cells[2]:
            expected = "one ignore mask an image"
        if expected:
            raise malformed(path, rows.line_num, expected, ",".join(row))
        foreground.setdefault(cells[0], []).append(Path(f"{folder}/{cells[1]}"))
    return {
        image_id: MaskFiles(
            tuple(files), Path(f"{folder}/{ignore[image_id]}") if image_id in ignore else None
        )
        for image_id, files in foreground.items()
    }


def _leave_out_maskless(
    frame: pd.DataFrame, masked: dict[str, MaskFiles], findings: list[Finding]
) -> None:
    """Keep the images whose masks are all there: without, not even background is known."""
    keep = frame["keep"].to_numpy(np.bool_, copy=True)
    for index in np.flatnonzero(keep):
        image_id = frame["image_id"].iloc[index]
        files = masked.get(image_id, MaskFiles((), None))
        wanted = [*files.foreground, *filter(None, [files.ignore])]
        missing = next((path for path in wanted if not path.is_file()), None)
        if missing or not wanted:
            detail = f"no such mask: {missing}; left out" if missing else "no mask listed; left out"
            findings.append(Finding("missing_file", image_id, detail))
            keep[index] = False
    frame["keep"] = keep


def _require_whole(path: Path, table: pd.DataFrame, expected: str, low: int, high: int) -> None:
    values = table.drop(columns="file")
    wrong = ~((values >= low) & (values <= high) & (values % 1 == 0)).all(axis=1)
    if wrong.any():
        first = table[wrong].iloc[0]
        found = ", ".join(f"{value:g}" for value in first[values.columns])
        raise DatasetError(f"{path}: expected {expected} of {first['file']!r}, found {found}")
