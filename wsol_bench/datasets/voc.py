"""The data set Pascal VOC, and any folder of its layout: boxes of several classes in XML files."""

from pathlib import Path

import pandas as pd

from wsol_bench.datasets.assembly import CORNERS, ImageFiles, assemble, measure
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.findings import Finding, Kind, findings_of
from wsol_bench.datasets.folders import existing, scan
from wsol_bench.datasets.formats.file_names import IMAGE_SUFFIXES
from wsol_bench.datasets.formats.lists import read_image_list
from wsol_bench.datasets.formats.xml import read_xml_folder
from wsol_bench.datasets.synsets import read_class_table
from wsol_bench.datasets.table_cache import TableCache
from wsol_bench.geometry import ONE_BASED_INCLUSIVE

__all__ = ["voc"]


@dataset("voc")
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
        split: name of a list in ImageSets/Main.
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
    listed = set(read_image_list(existing(root / "ImageSets" / "Main" / f"{split}.txt", "split")))
    tables = TableCache(enabled=cache)
    images, findings = _read_images(folder, listed, tables)
    objects = read_xml_folder(annotations, False, wanted=None, tables=tables)
    files = [] if classes is None else [existing(classes, "classes")]
    known_classes = read_class_table(files, tables, otherwise=objects["name"])
    objects = objects[objects["image_id"].isin(images["image_id"])]
    counted = objects[(objects["name"] != "") & (difficult | ~objects["difficult"])]
    samples, boxes = _per_class(images, counted)
    return assemble(
        "voc",
        samples,
        boxes,
        known_classes,
        findings + _images_without_sample(images, objects, counted),
        convention=ONE_BASED_INCLUSIVE,
        source=f"split {split!r} of {root}",
    )


def _read_images(folder: Path, listed: set[str], tables: TableCache) -> ImageFiles:
    """The listed images in a folder; findings of missing and unreadable files."""
    files = scan(folder, IMAGE_SUFFIXES, nested=False, wanted=listed)
    files = files[files["bytes"] >= 0].rename(columns={"stem": "image_id"})
    missing = sorted(listed.difference(files["image_id"]))
    detail = f"listed, but no such image in {folder}; left out"
    measured = measure(folder, files.reset_index(drop=True), tables)
    return ImageFiles(
        measured.table, findings_of(Kind.MISSING_FILE, missing, detail) + measured.findings
    )


def _images_without_sample(
    images: pd.DataFrame, objects: pd.DataFrame, counted: pd.DataFrame
) -> list[Finding]:
    """Findings of the images that are left out because none of their objects counts.

    Args:
        images: table of ``ImageFiles``.
        objects: objects of these images, as ``read_xml_folder`` returns them.
        counted: the objects that count.
    """
    broken = objects[objects["error"] != ""]
    findings = [
        Finding(Kind.BAD_ANNOTATION, image_id, f"{error}; left out")
        for image_id, error in zip(broken["image_id"], broken["error"], strict=True)
    ]
    idle = images["image_id"][images["keep"] & ~images["image_id"].isin(counted["image_id"])]
    idle = idle[~idle.isin(broken["image_id"])]
    annotated = idle.isin(objects["image_id"])
    findings += findings_of(Kind.NO_LABEL, idle[~annotated], "no annotation file; left out")
    return findings + findings_of(
        Kind.NO_LABEL, idle[annotated], "no object but difficult ones; left out"
    )


def _per_class(images: pd.DataFrame, objects: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images and objects that ``assemble`` takes, with one image for each class of a file."""
    sample = objects["image_id"] + "/" + objects["name"]
    objects = objects.assign(sample=sample, wnid=objects["name"])
    labels = objects.drop_duplicates("sample")[["image_id", "sample", "name", "width", "height"]]
    columns = {"name": "label", "width": "annotated_width", "height": "annotated_height"}
    samples = images.merge(labels.rename(columns=columns), on="image_id").drop(columns="image_id")
    samples = samples.rename(columns={"sample": "image_id"})
    samples = samples.sort_values("image_id", ignore_index=True)
    image = pd.Index(samples["image_id"]).get_indexer(objects["sample"])
    corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), CORNERS, strict=True))
    return samples, objects.assign(image=image).rename(columns=corners)
