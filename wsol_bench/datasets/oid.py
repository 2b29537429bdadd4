"""The data set Open Images: boxes in a CSV file, as shares of the images' sides."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from wsol_bench.common import data_files
from wsol_bench.common.files import existing
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, class_table, find_images
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.box_conventions import CONVENTIONS
from wsol_bench.datasets.findings import Finding, Kind
from wsol_bench.datasets.formats.csv import CsvRows
from wsol_bench.datasets.formats.file_names import stays_below
from wsol_bench.datasets.formats.text import malformed
from wsol_bench.datasets.listed_objects import assemble_objects
from wsol_bench.datasets.recognition import Recognition, n_lines
from wsol_bench.errors import DatasetError

__all__ = ["oid"]

_BOXES, _CLASSES = "*{}-annotations-bbox.csv", "*class-descriptions-boxable.csv"
_COLUMNS = ("imageid", "labelname", "xmin", "ymin", "xmax", "ymax", "isgroupof")
_SPLITS = ("validation", "test", "train")


def _recognize(root: Path) -> Recognition:
    """See ``Recognition``: the boxes of a split, and its images."""
    boxes = {split: _find(root, _BOXES.format(split)) for split in _SPLITS}
    split = next((split for split in _SPLITS if boxes[split]), "")
    images = _images_in(root, split) if split else None
    needs = {
        "<split>-annotations-bbox.csv": bool(split),
        "images in <split> or images/<split>": images is not None,
    }
    seen = []
    if path := boxes.get(split):
        seen = [f"{n_lines(path, header=1)} boxes in {path.name}"]
    if path := _find(root, _CLASSES):
        seen += [f"{n_lines(path)} classes in {path.name}"]
    return Recognition(needs, {"root": str(root), "split": split}, tuple(seen))


def _find(root: Path, pattern: str) -> Path | None:
    """The first file of a pattern in the root or its folder of annotations."""
    places = (root, root / "annotations")
    return next((path for place in places for path in data_files.matching(place, pattern)), None)


def _images_in(root: Path, split: str) -> Path | None:
    """The folder of a split's images."""
    places = (root / split, root / "images" / split, root / "images")
    return next((place for place in places if data_files.is_dir(place)), None)


@dataset("oid", recognize=_recognize)
def oid(
    *,
    root: Path,
    split: str = "validation",
    groups: bool = False,
    annotations: Path | None = None,
    images: Path | None = None,
    classes: Path | None = None,
    cache: bool = True,
) -> Dataset:
    """Open Images (Kuznetsova et al., IJCV 2020): one sample for each class of an image.

    Boxes are shares of the image's sides. Samples come in the order of the file's images, then of
    their classes; the id of a sample is ``<ImageID>/<LabelName>``, and LabelName begins with a
    slash. A class is its identifier (``/m/01g317``), with its words from the file of classes.

    A box of IsGroupOf is around five or more objects that touch. The official evaluation compares
    no detection with it by IoU: it ignores detections inside it, or counts one of them. So such
    boxes are left out, and with them samples that have no other box, unless ``groups`` is true.

    Args:
        root: folder of the files below.
        split: "validation", "test" or "train".
        groups: whether boxes of IsGroupOf count like the others.
        annotations: the boxes; ``<split>-annotations-bbox.csv`` in the root or in its folder
            annotations by default.
        images: folder of ``<ImageID>.jpg``; the root's ``<split>``, ``images/<split>`` or
            ``images`` by default.
        classes: lines of an identifier and words; ``class-descriptions-boxable.csv`` beside the
            boxes by default, and without it the identifiers in the boxes.
        cache: whether to keep the parsed boxes and the sizes from image headers for the next load.

    Raises:
        DatasetError: a file is missing or malformed, or every image is left out.
    """
    root = existing(root, "root")
    path = _given_or_found(annotations, "annotations", root, _BOXES.format(split))
    folder = _images_in(root, split) if images is None else existing(images, "images")
    if folder is None:
        raise DatasetError(
            f"{root}: expected the images in {split}, images/{split} or images, found none of "
            "these folders; name another with the option images"
        )
    tables = TableCache(enabled=cache)
    objects = tables.file("oid", path, _read_boxes)
    words = {name: name for name in objects["wnid"]}
    named = _find(root, _CLASSES) if classes is None else existing(classes, "classes")
    if named is not None:
        words = _read_words(named)
    ids = objects["image_id"].drop_duplicates()
    listed = pd.DataFrame({"image_id": ids, "file": ids + ".jpg"}).reset_index(drop=True)
    found = find_images(folder, listed, tables)
    here = objects[objects["image_id"].isin(found.table["image_id"][found.table["keep"]])]
    here, strays = _of_known_classes(here, words)
    return assemble_objects(
        "oid",
        found,
        here,
        class_table(words),
        strays,
        convention=CONVENTIONS["normalized"],
        source=str(path),
        left_out=None if groups else "group",
        reason="nothing but groups (IsGroupOf)",
    )


def _given_or_found(given: Path | None, option: str, root: Path, pattern: str) -> Path:
    """A file that an option names or that is found in the root."""
    if given is not None:
        return existing(given, option)
    found = _find(root, pattern)
    if found is None:
        raise DatasetError(
            f"{root}: expected a file {pattern}, found none; name it with the option {option}"
        )
    return found


def _read_boxes(path: Path) -> pd.DataFrame:
    """The boxes in the file's order: image_id, wnid, ``CORNERS`` as shares, group."""
    rows = CsvRows(path)
    header = [name.strip().lower() for name in next(rows, [])]
    if any(header.count(name) != 1 for name in _COLUMNS):
        expected = "the columns ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf"
        raise malformed(path, 1, expected, ",".join(header))
    image, label, *corners, group = (header.index(name) for name in _COLUMNS)
    ids, wnids, boxes, is_group = [], [], [], []
    for row in filter(None, rows):
        if len(row) != len(header) or not row[image] or not row[label]:
            raise malformed(path, rows.line_num, f"{len(header)} columns", ",".join(row))
        try:
            box = [float(row[place]) for place in corners]
        except ValueError:
            box = [math.nan]
        # -1 stands for unknown.
        if not all(map(math.isfinite, box)) or row[group].strip() not in {"0", "1", "-1"}:
            expected = "four numbers, and 0, 1 or -1 for IsGroupOf"
            raise malformed(path, rows.line_num, expected, ",".join(row))
        if "/" in row[image] or not stays_below(row[image]):
            raise malformed(path, rows.line_num, "an image id", row[image])
        ids.append(row[image])
        wnids.append(row[label])
        boxes.append(box)
        is_group.append(row[group].strip() == "1")
    table = pd.DataFrame({"image_id": ids, "wnid": wnids}, dtype="str")
    table[CORNERS] = np.array(boxes, np.float64).reshape(-1, 4)
    return table.assign(group=np.array(is_group, np.bool_))


def _read_words(path: Path) -> dict[str, str]:
    """The words of the classes by their identifiers, in a file with or without a header."""
    rows = CsvRows(path)
    words = {}
    for row in filter(None, rows):
        if len(row) != 2 or not all(cell.strip() for cell in row):
            raise malformed(path, rows.line_num, "an identifier and words", ",".join(row))
        if row[0].strip().lower() != "labelname":
            words[row[0].strip()] = row[1].strip()
    return words


def _of_known_classes(
    objects: pd.DataFrame, words: dict[str, str]
) -> tuple[pd.DataFrame, list[Finding]]:
    """The objects of classes that have words, and findings of the others."""
    known = objects["wnid"].isin(list(words))
    findings = [
        Finding(
            Kind.UNKNOWN_CLASS, image_id, f"object {wnid!r} is of no known class; object left out"
        )
        for image_id, wnid in objects.loc[~known, ["image_id", "wnid"]].itertuples(index=False)
    ]
    return objects[known], findings
