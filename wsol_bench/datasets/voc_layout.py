"""Layouts of Pascal VOC and of photographs with XML files: folders, lists, numbers of classes."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wsol_bench.common import data_files
from wsol_bench.common.files import existing
from wsol_bench.common.image_files import IMAGE_SUFFIXES
from wsol_bench.common.text_files import read_lines
from wsol_bench.datasets.folders import has_content
from wsol_bench.datasets.formats.lists import read_image_list
from wsol_bench.datasets.formats.text import malformed
from wsol_bench.datasets.formats.xml import XML_SUFFIXES
from wsol_bench.datasets.recognition import Recognition, head, n_files, n_lines
from wsol_bench.errors import DatasetError

__all__ = ["Place", "Split", "find_place", "numbered_classes", "read_split", "recognize"]

# The splits that are looked for; a folder may have others.
_SPLITS = ("val", "test", "trainval", "train")
# The classes of the challenges from 2007 on: the i-th has the number i in SegmentationClass.
_TWENTY = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
# A class of ImageNet in an XML file, whose layouts are those of the data set imagenet.
_OF_IMAGENET = re.compile(r"<name>\s*n\d{8}\s*</name>")


def recognize(root: Path) -> Recognition:
    """See ``Recognition``: VOC's three folders and a list, or images with XML files."""
    if _is_voc(root):
        return _recognize_voc(root)
    example = next(_xml_files(root), None)
    text = head(example) if example is not None else ""
    needs = {
        "images in the folder, or in folders in it": n_files(root, IMAGE_SUFFIXES) != "0",
        "XML files beside them (LabelImg, Pascal VOC)": "<annotation" in text,
    }
    if _OF_IMAGENET.search(text):
        needs["XML files of other classes than ImageNet's"] = False
    if not all(needs.values()):
        return Recognition(needs, {})
    counts = f"{n_files(root, IMAGE_SUFFIXES)} images, {n_files(root, XML_SUFFIXES)} XML files"
    unsure = {"convention": "half_open  # for LabelImg; or inclusive, if pixels count from 0"}
    return Recognition(needs, {"root": str(root)}, (counts,), unsure)


def _is_voc(root: Path) -> bool:
    return any(data_files.exists(root / name) for name in ("JPEGImages", "ImageSets"))


def _recognize_voc(root: Path) -> Recognition:
    lists = root / "ImageSets" / "Main"
    found = data_files.matching(lists, "*.txt") if data_files.is_dir(lists) else []
    splits = [path.stem for path in found]
    split = next((name for name in (*_SPLITS, *splits) if name in splits), "")
    needs = {name: data_files.is_dir(root / name) for name in ("JPEGImages", "Annotations")}
    needs["ImageSets/Main/<split>.txt"] = bool(split)
    if not all(needs.values()):
        return Recognition(needs, {})
    images = n_files(root / "JPEGImages", IMAGE_SUFFIXES, nested=False)
    files = n_files(root / "Annotations", XML_SUFFIXES, nested=False)
    listed = n_lines(lists / f"{split}.txt")
    seen = (
        f"{listed} images in the list ImageSets/Main/{split}.txt",
        f"{images} images in JPEGImages, {files} XML files of boxes in Annotations",
    )
    unsure = {}
    if data_files.is_dir(root / "SegmentationClass"):
        unsure["masks"] = "true  # masks beside the boxes, of the list in ImageSets/Segmentation"
    return Recognition(needs, {"root": str(root), "split": split}, seen, unsure)


def _xml_files(folder: Path) -> Iterator[Path]:
    """The XML files in a folder and its direct subfolders."""
    for pattern in ("*.[xX][mM][lL]", "*/*.[xX][mM][lL]") if data_files.is_dir(folder) else ():
        found = data_files.matching(folder, pattern)
        yield from (path for path in found if not path.name.startswith("."))


class Place(NamedTuple):
    """The folders of a data set.

    Attributes:
        root: the root.
        images, annotations: the folders of the images and of the XML files.
        nested: whether the folders in these count, too.
        listed: list of the images; None for all of them.
        source: what is read, for error messages.
    """

    root: Path
    images: Path
    annotations: Path
    nested: bool
    listed: Path | None
    source: str


def find_place(
    root: Path,
    split: str | None,
    images: Path | None,
    annotations: Path | None,
    subset: Path | None,
    *,
    masks: bool,
) -> Place:
    """The folders of a data set; see ``voc`` for the arguments.

    Raises:
        DatasetError: a folder or list is missing, or there are two lists.
    """
    if split is not None and subset is not None:
        raise DatasetError(f"expected split or subset, found both: {split!r} and {subset}")
    is_voc = _is_voc(root)
    lists = root / "ImageSets" / ("Segmentation" if masks else "Main")
    listed = None if subset is None else existing(subset, "subset")
    if listed is None and (split is not None or data_files.exists(lists)):
        split = split or "val"
        listed = existing(lists / f"{split}.txt", "split")
    folder = root / "JPEGImages" if is_voc else root
    xml = root / "Annotations" if is_voc else root
    return Place(
        root,
        existing(folder, "root") if images is None else existing(images, "images"),
        existing(xml, "root") if annotations is None else existing(annotations, "annotations"),
        not is_voc,
        listed,
        f"split {split!r} of {root}" if split and subset is None else str(root),
    )


class Split(NamedTuple):
    """The images of a split (None for all), and the classes of its samples."""

    ids: set[str] | None
    classes: set[str]


def read_split(path: Path | None, classes: set[str]) -> Split:
    """The images and classes of a list in ImageSets/Main; all of them without a list.

    A list with numbers is one of VOC's lists of a class, ``<class>_<set>.txt``: behind each image
    stands 1 (it has an object of the class), -1 (it has none: it is not in the split) or 0 (its
    objects of the class are all difficult).

    Args:
        path: path of the list.
        classes: all classes.

    Raises:
        DatasetError: the list is empty, or has numbers but no class, or other numbers.
    """
    if path is None:
        return Split(None, classes)
    listed = read_image_list(path)
    if not listed.ids:
        raise malformed(path, 1, "one image a line", "")
    if listed.numbers is None:
        return Split(set(listed.ids), classes)
    name = path.stem.rpartition("_")[0]
    if name not in classes or not set(listed.numbers) <= {-1, 0, 1}:
        odd = next((number for number in listed.numbers if number not in {-1, 0, 1}), None)
        raise DatasetError(
            f"{path}: expected 1, -1 or 0 behind each image, in a list of one class "
            "(<class>_<set>.txt), or no numbers, found "
            + (f"no class {name!r}" if odd is None else f"the number {odd}")
            + "; if the numbers belong to the names of the files, write the names with their "
            "extension (.jpg)"
        )
    pairs = zip(listed.ids, listed.numbers, strict=True)
    return Split({image_id for image_id, number in pairs if number >= 0}, {name})


def numbered_classes(root: Path, annotated: Iterable[str]) -> dict[int, str]:
    """The class of each number in SegmentationClass.

    Args:
        root: the root.
        annotated: names of the classes in the XML files.

    Raises:
        DatasetError: nothing tells the number of a class.
    """
    names: tuple[str, ...] = ("", *_TWENTY)
    if has_content(label_map := root / "labelmap.txt"):
        lines = (line.strip() for line in read_lines(label_map))
        names = tuple(line.partition(":")[0] for line in lines if line and line[0] != "#")
    unnumbered = sorted({*annotated} - {"", *names[1:]})
    if unnumbered:
        raise DatasetError(
            f"{label_map}: expected a line for each class in the order of its number in "
            f"SegmentationClass, the background first, found none for {unnumbered[0]!r}; without "
            "that file the numbers are those of Pascal VOC's twenty classes"
        )
    return dict(enumerate(names[1:], start=1))
