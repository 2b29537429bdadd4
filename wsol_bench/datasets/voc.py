"""Pascal VOC, and any folder of that layout: images of several classes, boxes in XML files."""

from pathlib import Path

import pandas as pd

from wsol_bench.datasets.annotations import IMAGE_SUFFIXES, read_image_list
from wsol_bench.datasets.assembly import CORNERS, assemble, measure, note
from wsol_bench.datasets.base import Dataset, Finding, dataset
from wsol_bench.datasets.index import TableCache, existing, read_xml_folder, scan
from wsol_bench.datasets.synsets import read_class_table
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
    """Pascal VOC: one sample for each class of an image, ``<image>/<class>``, with its boxes.

    That is the unit of CorLoc and of the pointing game. Samples are sorted by id. Corners are
    1-based and inclusive: a box may end at the image's width.

    Args:
        root: folder with JPEGImages, Annotations and ImageSets (``VOCdevkit/VOC2012``).
        split: name of a list in ImageSets/Main.
        difficult: objects marked so count like all others; else they, and classes of which an image
            has no other object, are left out, as in VOC's own lists.
        classes: file with a class and its words a line (or as imagenet's); by default the classes
            are the names in all of Annotations, whatever the split.
        cache: keep what was read of the XML files and the images' headers, for the next load.

    Raises:
        DatasetError: a folder or list that is missing, or no sample left at all.
    """
    root = existing(root, "root")
    folder = existing(root / "JPEGImages", "root")
    annotations = existing(root / "Annotations", "root")
    wanted = set(read_image_list(existing(root / "ImageSets" / "Main" / f"{split}.txt", "split")))
    tables = TableCache(enabled=cache)
    findings: list[Finding] = []

    files = scan(folder, IMAGE_SUFFIXES, nested=False, wanted=wanted)
    files = files[files["bytes"] >= 0].rename(columns={"stem": "image_id"})
    missing = sorted(wanted.difference(files["image_id"]))
    note(findings, "missing_file", missing, f"listed, but no such image in {folder}; left out")
    images = measure(folder, files.reset_index(drop=True), tables, findings)

    objects = read_xml_folder(annotations, False, wanted=None, tables=tables)
    sources = [] if classes is None else [existing(classes, "classes")]
    known = read_class_table(sources, tables, otherwise=objects["name"])
    objects = objects[objects["image_id"].isin(images["image_id"])]
    broken = objects[objects["error"] != ""]
    for image_id, error in zip(broken["image_id"], broken["error"], strict=True):
        findings.append(Finding("bad_annotation", image_id, f"{error}; left out"))
    counted = objects[(objects["name"] != "") & (difficult | ~objects["difficult"])]
    idle = images["image_id"][images["keep"] & ~images["image_id"].isin(counted["image_id"])]
    idle = idle[~idle.isin(broken["image_id"])]
    annotated = idle.isin(objects["image_id"])
    note(findings, "no_label", idle[~annotated], "no annotation file; left out")
    note(findings, "no_label", idle[annotated], "no object but difficult ones; left out")

    samples, boxes = _per_class(images, counted)
    return assemble(
        "voc",
        samples,
        boxes,
        known,
        findings,
        convention=ONE_BASED_INCLUSIVE,
        source=f"split {split!r} of {root}",
    )


def _per_class(images: pd.DataFrame, objects: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images and objects that ``assemble`` takes, where an image is one class of a file."""
    sample = objects["image_id"] + "/" + objects["name"]
    objects = objects.assign(sample=sample, wnid=objects["name"])
    labels = objects.drop_duplicates("sample")[["image_id", "sample", "name", "width", "height"]]
    columns = {"name": "label", "width": "said_width", "height": "said_height"}
    samples = images.merge(labels.rename(columns=columns), on="image_id").drop(columns="image_id")
    samples = samples.rename(columns={"sample": "image_id"})
    samples = samples.sort_values("image_id", ignore_index=True)
    image = pd.Index(samples["image_id"]).get_indexer(objects["sample"])
    corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), CORNERS, strict=True))
    return samples, objects.assign(image=image).rename(columns=corners)
