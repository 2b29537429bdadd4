"""The data set Pascal VOC, and any folder of its layout: boxes of several classes in XML files."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from wsol_bench.common import data_files
from wsol_bench.common.files import existing
from wsol_bench.common.image_files import IMAGE_SUFFIXES
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, ImageFiles, assemble, measure
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.findings import Finding, Kind, missing_images
from wsol_bench.datasets.folders import scan
from wsol_bench.datasets.formats.lists import ImageList, read_image_list
from wsol_bench.datasets.formats.text import malformed
from wsol_bench.datasets.formats.xml import XML_SUFFIXES, read_xml_folder, xml_findings
from wsol_bench.datasets.per_class import per_class
from wsol_bench.datasets.recognition import Recognition, n_files, n_lines
from wsol_bench.datasets.synsets import read_class_table
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import ONE_BASED_INCLUSIVE

__all__ = ["voc"]


# The splits that are looked for; a folder may have others.
_SPLITS = ("val", "test", "trainval", "train")


def _recognize(root: Path) -> Recognition:
    """See ``Recognition``: the three folders, and a list of a split."""
    lists = root / "ImageSets" / "Main"
    found = data_files.matching(lists, "*.txt") if data_files.is_dir(lists) else []
    splits = [path.stem for path in found]
    split = next((name for name in (*_SPLITS, *splits) if name in splits), "")
    needs = {name: data_files.is_dir(root / name) for name in ("JPEGImages", "Annotations")}
    needs["ImageSets/Main/<split>.txt"] = bool(split)
    seen = []
    if all(needs.values()):
        images = n_files(root / "JPEGImages", IMAGE_SUFFIXES, nested=False)
        files = n_files(root / "Annotations", XML_SUFFIXES, nested=False)
        listed = n_lines(lists / f"{split}.txt")
        seen = [
            f"{listed} images in the list ImageSets/Main/{split}.txt",
            f"{images} images in JPEGImages, {files} XML files of boxes in Annotations",
        ]
    return Recognition(needs, {"root": str(root), "split": split}, tuple(seen))


@dataset("voc", recognize=_recognize)
def voc(
    *,
    root: Path,
    split: str = "val",
    difficult: bool = False,
    classes: Path | None = None,
    cache: bool = True,
) -> Dataset:
    """Pascal VOC: one sample for each class of an image, with the boxes of that class.

    That is the unit of CorLoc and of the pointing game. Samples are sorted by id,
    ``<image>/<class>``. Corners are 1-based and inclusive: a box may end at the image's width.

    Args:
        root: folder with JPEGImages, Annotations and ImageSets (``VOCdevkit/VOC2012``).
        split: name of a list in ImageSets/Main. One of VOC's lists of a class (``cat_val``) gives
            the samples of that class alone.
        difficult: whether objects marked as difficult count like the others. If not, they are left
            out, and so are samples that have no other object, as in VOC's own lists.
        classes: file with a class and its words a line (or a file that ``imagenet`` takes); by
            default the classes are the names in all of Annotations, for every split.
        cache: whether to keep the parsed XML files and the sizes from image headers for the next
            load.

    Raises:
        DatasetError: a folder or list is missing, or every sample is left out.
    """
    root = existing(root, "root")
    folder = existing(root / "JPEGImages", "root")
    annotations = existing(root / "Annotations", "root")
    split_list = existing(root / "ImageSets" / "Main" / f"{split}.txt", "split")
    listed = read_image_list(split_list)
    tables = TableCache(enabled=cache)
    objects = read_xml_folder(annotations, False, wanted=None, tables=tables)
    files = [] if classes is None else [existing(classes, "classes")]
    known_classes = read_class_table(files, tables, otherwise=objects["name"])
    chosen = _of_split(split_list, listed, {*objects["name"], *known_classes["wnid"]} - {""})
    images, findings = _read_images(folder, chosen.ids, tables)
    objects = objects[objects["image_id"].isin(images["image_id"])]
    candidates = objects[objects["xmin"].notna() & objects["name"].isin(chosen.classes)]
    counted = candidates[difficult | ~candidates["difficult"]]
    samples, boxes = _samples(images, counted)
    return assemble(
        "voc",
        samples,
        boxes,
        known_classes,
        [
            *findings,
            *xml_findings(objects),
            *_images_without_sample(images, objects, candidates, counted),
        ],
        convention=ONE_BASED_INCLUSIVE,
        source=f"split {split!r} of {root}",
    )


class _Split(NamedTuple):
    """The images of a split, and the classes of its samples."""

    ids: set[str]
    classes: set[str]


def _of_split(path: Path, listed: ImageList, classes: set[str]) -> _Split:
    """The images and classes of a list in ImageSets/Main.

    A list with numbers is one of VOC's lists of a class, ``<class>_<set>.txt``: behind each image
    stands 1 (it has an object of the class), -1 (it has none: it is not in the split) or 0 (its
    objects of the class are all difficult).

    Args:
        path: path of the list.
        listed: content of the list.
        classes: all classes.

    Raises:
        DatasetError: the list is empty, or has numbers but no class, or other numbers.
    """
    if not listed.ids:
        raise malformed(path, 1, "one image a line", "")
    if listed.numbers is None:
        return _Split(set(listed.ids), classes)
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
    return _Split({image_id for image_id, number in pairs if number >= 0}, {name})


def _read_images(folder: Path, listed: set[str], tables: TableCache) -> ImageFiles:
    """The listed images in a folder; findings of missing and unreadable files."""
    files = scan(folder, IMAGE_SUFFIXES, nested=False, wanted=listed)
    files = files[files["bytes"] >= 0].rename(columns={"stem": "image_id"})
    missing = sorted(listed.difference(files["image_id"]))
    measured = measure(folder, files.reset_index(drop=True), tables)
    return ImageFiles(measured.table, missing_images(missing, folder) + measured.findings)


def _images_without_sample(
    images: pd.DataFrame, objects: pd.DataFrame, candidates: pd.DataFrame, counted: pd.DataFrame
) -> list[Finding]:
    """Findings of the images that are left out because none of their objects counts.

    Args:
        images: table of ``ImageFiles``.
        objects: objects of these images, as ``read_xml_folder`` returns them.
        candidates: the objects of the split's classes that have a box.
        counted: the objects that count.
    """
    broken = objects["image_id"][objects["error"] != ""]
    idle = images["keep"] & ~images["image_id"].isin([*counted["image_id"], *broken])
    has_file, has_candidate = set(objects["image_id"]), set(candidates["image_id"])
    findings = []
    for image_id in images["image_id"][idle]:
        reason = "no annotation file"
        if image_id in has_candidate:
            reason = "no object but difficult ones"
        elif image_id in has_file:
            reason = "no object with a box"
        findings.append(Finding(Kind.NO_LABEL, image_id, f"{reason}; left out"))
    return findings


def _samples(images: pd.DataFrame, objects: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The samples and objects that ``assemble`` takes, sorted by id.

    Args:
        images: table of ``ImageFiles``.
        objects: objects that count, as ``read_xml_folder`` returns them.
    """
    sizes = objects.drop_duplicates("image_id")[["image_id", "width", "height"]]
    columns = {"width": "annotated_width", "height": "annotated_height"}
    images = images.merge(sizes.rename(columns=columns), on="image_id")
    images = images.sort_values("image_id", key=lambda ids: ids + "/", ignore_index=True)
    place = pd.Index(images["image_id"]).get_indexer(objects["image_id"])
    corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), CORNERS, strict=True))
    objects = objects.assign(image=place, wnid=objects["name"])
    return per_class(images, objects.rename(columns=corners))
