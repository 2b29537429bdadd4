"""Data sets in the metadata folders of wsolevaluation (Choe et al., CVPR 2020).

The format is described in data_loaders.py of https://github.com/clovaai/wsolevaluation.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool

from wsol_bench.common import data_files
from wsol_bench.common.files import existing
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, assemble, class_table, find_images
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.findings import Finding, Kind, findings_of
from wsol_bench.datasets.folders import has_content
from wsol_bench.datasets.formats.csv import CsvRows
from wsol_bench.datasets.formats.file_names import stays_below
from wsol_bench.datasets.formats.lists import read_columns
from wsol_bench.datasets.formats.text import LARGEST, malformed
from wsol_bench.datasets.mask_frames import upright_masks, with_masks
from wsol_bench.datasets.masks import MaskFiles
from wsol_bench.datasets.recognition import Recognition, first_line, n_lines
from wsol_bench.datasets.synsets import numbered_order, read_class_table
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import INCLUSIVE

__all__ = ["lists_masks", "wsol_metadata"]

# No data set has more classes: a greater number means a damaged file, for which no memory is
# reserved.
_LAST_CLASS = 99_999


# Where the metadata of a split may lie below a folder; the split that comes first is taken.
_PLACES = ("", "{split}", "*/{split}", "metadata/*/{split}")
_SPLITS = ("test", "val", "train")


def _recognize(root: Path) -> Recognition:
    """See ``Recognition``: the lists of a split, in the folder or below it."""
    places = [place.format(split=split) for place in _PLACES for split in _SPLITS]
    folders = [folder for place in places for folder in _folders_at(root, place)]
    found = [folder for folder in folders if data_files.is_file(folder / "image_ids.txt")]
    metadata = found[0] if found else root
    names = ("image_ids.txt", "class_labels.txt")
    needs = {name: data_files.is_file(metadata / name) for name in names}
    if not all(needs.values()):
        return Recognition(needs, {})
    example = first_line(metadata / "image_ids.txt")
    images = _images_beside(metadata, example)
    ground_truth = metadata / "localization.txt"
    masks = lists_masks(ground_truth)
    seen = [f"{n_lines(metadata / 'image_ids.txt')} images in {metadata.name}/image_ids.txt"]
    if data_files.is_file(ground_truth):
        kind = "masks" if masks else "boxes"
        seen += [f"{n_lines(ground_truth)} {kind} in {metadata.name}/localization.txt"]
    others = sorted({folder.name for folder in found if folder.parent == metadata.parent})
    if len(others) > 1:
        seen += [f"splits beside each other: {', '.join(others)}"]
    options = {"metadata": str(metadata)} | ({"images": str(images)} if images else {})
    unsure = {"classes": "LOC_synset_mapping.txt  # the classes by name, for ILSVRC"}
    if images is None:
        unsure["images"] = (
            f"/path/to/images  # the folder that holds {example}, which was not found"
        )
    return Recognition(needs, options, tuple(seen), unsure, images is not None, masks)


def _folders_at(root: Path, place: str) -> list[Path]:
    return data_files.matching(root, place) if place else [root]


def _images_beside(metadata: Path, image: str) -> Path | None:
    """The folder that an image's id is relative to, in the usual places; None if not found."""
    if not image or not stays_below(image):
        return None
    name = metadata.parent.name
    for folder in (metadata, *list(metadata.parents)[:4]):
        for place in ("", "images", f"dataset/{name}", f"{name}", "dataset"):
            if data_files.is_file(folder / place / image):
                return folder / place
    return None


@dataset("wsol_metadata", recognize=_recognize)
def wsol_metadata(
    *,
    metadata: Path,
    images: Path | None = None,
    masks: Path | None = None,
    classes: Path | None = None,
    cache: bool = True,
) -> Dataset:
    """A metadata folder of wsolevaluation: ILSVRC, ImageNetV2, CUB, CUBV2, OpenImages30k.

    Images come in the list's order. Their ids are the list's paths as they stand there
    (``val/ILSVRC2012_val_00000001.JPEG``), by which wsolevaluation's tools name score maps. Corners
    are 0-based and inclusive: the official IoU adds 1, and no corner reaches the image's width. A
    class is its number with leading zeros, or the wnid at that position in the sorted ``classes``.

    Args:
        metadata: folder of one split (``metadata/ILSVRC/test``), with image_ids.txt,
            class_labels.txt, and optionally image_sizes.txt and localization.txt (boxes or masks).
        images: folder that the ids are relative to; without it there are annotations only.
        masks: folder that the masks' paths are relative to; ``images`` by default.
        classes: file like LOC_synset_mapping.txt.
        cache: whether to keep the sizes read from image headers for the next load.

    Raises:
        DatasetError: a file is missing or malformed, a path leaves its folder, the folder of
            the masks is not given, or every image is left out.
    """
    metadata = _folder_of_split(metadata)
    localization = metadata / "localization.txt"
    tables = TableCache(enabled=cache)
    labels = _read_labels(metadata / "class_labels.txt")
    known_classes = _class_table(labels, classes, tables)
    listed = _list_images(metadata, labels, known_classes)
    image_folder = None if images is None else existing(images, "images")
    frame, findings = _find_images(listed, image_folder, tables)
    findings += _of_other_folders(frame, known_classes)
    boxes = pd.DataFrame({"file": pd.Series(dtype="str"), **dict.fromkeys(CORNERS, np.empty(0))})
    masks_of: dict[str, MaskFiles] | None = None
    if lists_masks(localization):
        masks_of = _read_masks(localization, masks, image_folder)
        frame["keep"], maskless = _has_masks(frame, masks_of, tables)
        findings += maskless
    elif masks is not None:
        raise DatasetError(f"masks={masks}: expected masks in {localization}, found none")
    else:
        columns = ("file", *CORNERS)
        boxes = read_columns(localization, columns, numbers=4, separator=",", optional=True)
    boxes = _boxes_of(boxes, frame)
    if masks_of is None:
        findings += _images_without_line(boxes, frame, localization)
    loaded = assemble(
        "wsol_metadata",
        frame,
        boxes,
        known_classes,
        findings,
        convention=INCLUSIVE,
        source=str(metadata),
    )
    return loaded if masks_of is None else with_masks(loaded, masks_of)


def _find_images(
    listed: pd.DataFrame, image_folder: Path | None, tables: TableCache
) -> tuple[pd.DataFrame, list[Finding]]:
    """The listed images that exist; all of them if there are annotations only."""
    if image_folder is not None:
        images, findings = find_images(image_folder, listed, tables)
        return images, findings
    width, height = listed["annotated_width"], listed["annotated_height"]
    return listed.assign(path="", keep=True, width=width, height=height), []


def _of_other_folders(frame: pd.DataFrame, classes: pd.DataFrame) -> list[Finding]:
    """Findings of the images whose folder is named by another class than their label's.

    That is so if ``classes`` is a file of more classes than the labels count.
    """
    folders = _folders(frame["file"])
    other = frame["keep"] & folders.isin(classes["wnid"]) & (folders != frame["label"])
    named = frame.assign(folder=folders).loc[other, ["image_id", "folder", "label"]]
    return [
        Finding(
            Kind.LABEL_MISMATCH,
            image_id,
            f"in folder {folder}, but class_labels.txt and the order of the classes say {label}",
        )
        for image_id, folder, label in named.itertuples(index=False)
    ]


def _folders(files: pd.Series) -> pd.Series:
    """The name of the folder of each path; "" for none."""
    return files.str.extract(r"([^/]+)/[^/]*$", expand=False).fillna("")


def _boxes_of(boxes: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """The boxes of the images in ``frame``: image, wnid (the image's label), name, corners."""
    boxes["image"] = pd.Index(frame["image_id"]).get_indexer(boxes["file"])
    boxes = boxes[boxes["image"] >= 0]
    labels = frame["label"].to_numpy(object)[boxes["image"]]
    return boxes.assign(wnid=labels, name=labels)


def _images_without_line(
    boxes: pd.DataFrame, frame: pd.DataFrame, localization: Path
) -> list[Finding]:
    """Findings of the kept images that localization.txt does not list."""
    unlisted = (np.bincount(boxes["image"], minlength=len(frame)) == 0) & frame["keep"]
    return findings_of(Kind.NO_ANNOTATION, frame["image_id"][unlisted], f"not in {localization}")


def _folder_of_split(metadata: Path) -> Path:
    """The folder, if it holds image_ids.txt; else DatasetError, which names the splits below it."""
    metadata = existing(metadata, "metadata")
    if not data_files.lexists(metadata / "image_ids.txt"):
        splits = [str(path.parent) for path in data_files.matching(metadata, "*/image_ids.txt")]
        raise DatasetError(
            f"{metadata}: expected the metadata of one split, such as metadata/ILSVRC/test, found "
            "no image_ids.txt" + (f"; is it one of {', '.join(splits)}?" if splits else "")
        )
    return metadata


def _read_labels(path: Path) -> pd.DataFrame:
    """The label of each image: file, label (a whole number from 0)."""
    table = read_columns(path, ("file", "label"), numbers=1, separator=",", key="file")
    _require_whole(path, table, f"the number of a class, from 0 to {_LAST_CLASS},", 0, _LAST_CLASS)
    return table.astype({"label": np.int64})


def _class_table(labels: pd.DataFrame, classes: Path | None, tables: TableCache) -> pd.DataFrame:
    """The table of classes in sorted-wnid order; row i is the class with the label i."""
    if classes is not None:
        classes = existing(classes, "classes")
        table = read_class_table([classes], tables, otherwise=())
        if numbered_order(table["wnid"]) is not None:
            raise DatasetError(
                f"{classes}: expected classes whose order as text is that of their numbers, found "
                f"{', '.join(table['wnid'][:3])}, ...; write them with leading zeros"
            )
        return table
    count = int(labels["label"].max()) + 1
    names = [f"{number:0{len(str(count - 1))}}" for number in range(count)]
    words = dict(zip(names, names, strict=True))
    # If every class has its folder, the folder's name says more to people than the number.
    folders = labels[["label"]].assign(folder=_folders(labels["file"])).drop_duplicates()
    if folders["folder"].all() and folders["label"].is_unique and folders["folder"].is_unique:
        for label, folder in zip(folders["label"], folders["folder"], strict=True):
            words[names[label]] = folder
    return class_table(words)


def _list_images(metadata: Path, labels: pd.DataFrame, classes: pd.DataFrame) -> pd.DataFrame:
    """The images in image_ids.txt, in its order, with the sizes in image_sizes.txt.

    Returns:
        One row an image: image_id, file, label (wnid), annotated_width, annotated_height (0 if
        unknown).
    """
    listed = read_columns(metadata / "image_ids.txt", ("file",), separator="\n", key="file")
    # A label beyond the classes stays a number, which is the wnid of no class.
    names = dict(enumerate(classes["wnid"]))
    wnids = [names.get(label, str(label)) for label in labels["label"]]
    label_of = pd.Series(wnids, index=labels["file"], dtype="str")
    listed["image_id"] = listed["file"]
    listed["label"] = label_of.reindex(listed["file"]).fillna("").to_numpy(object)
    path = metadata / "image_sizes.txt"
    columns = ("file", "width", "height")
    sizes = read_columns(path, columns, numbers=2, separator=",", key="file", optional=True)
    _require_whole(path, sizes, "a width and a height in pixels", 1, LARGEST)
    annotated = sizes.set_index("file").reindex(listed["file"]).fillna(0).to_numpy(np.int64)
    listed["annotated_width"], listed["annotated_height"] = annotated.T
    return listed.astype({"label": "str"})


def lists_masks(path: Path) -> bool:
    """Return whether a localization.txt lists masks: three columns in its first line, not five."""
    return has_content(path) and len(next((row for row in CsvRows(path) if any(row)), [])) == 3


def _read_masks(path: Path, masks: Path | None, images: Path | None) -> dict[str, MaskFiles]:
    """The masks of each listed image, whether or not their files exist."""
    if masks is None and images is None:
        raise DatasetError(
            f"{path} lists masks: expected the folder that their paths are relative to, found "
            "neither the option masks= nor images= (if the masks lie among the images)"
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


def _has_masks(
    frame: pd.DataFrame, masks_of: dict[str, MaskFiles], tables: TableCache
) -> tuple[Bool[np.ndarray, " n"], list[Finding]]:
    """Return whether each image is kept and its masks exist, upright; findings of other images.

    If one mask is missing, not even the image's background is known.
    """
    keep = frame["keep"].to_numpy(np.bool_, copy=True)
    findings = []
    for index in np.flatnonzero(keep):
        image_id = frame["image_id"].iloc[index]
        paths = masks_of.get(image_id, MaskFiles((), None)).paths
        missing = next((path for path in paths if not data_files.is_file(path)), None)
        if missing or not paths:
            detail = f"no such mask: {missing}; left out" if missing else "no mask listed; left out"
            findings.append(Finding(Kind.MISSING_FILE, image_id, detail))
            keep[index] = False
    keep, turned = upright_masks(frame.assign(keep=keep), masks_of, tables)
    return keep, findings + turned


def _require_whole(path: Path, table: pd.DataFrame, expected: str, low: int, high: int) -> None:
    """Raise DatasetError unless all values are whole numbers from ``low`` to ``high``."""
    values = table.drop(columns="file")
    wrong = ~((values >= low) & (values <= high) & (values % 1 == 0)).all(axis=1)
    if wrong.any():
        first = table[wrong].iloc[0]
        numbers = ", ".join(f"{value:g}" for value in first[values.columns])
        raise DatasetError(f"{path}: expected {expected} of {first['file']!r}, found {numbers}")
