"""Pascal VOC, and photographs with XML files of its format: boxes of several classes an image.

``voc`` is longer than other functions because its docstring is its documentation.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from wsol_bench.common.files import existing
from wsol_bench.common.image_files import IMAGE_SUFFIXES
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, ImageFiles, assemble, measure
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.box_conventions import CONVENTIONS
from wsol_bench.datasets.class_masks import ClassMasks, read_class_masks
from wsol_bench.datasets.findings import Finding, Kind, missing_images
from wsol_bench.datasets.folders import scan
from wsol_bench.datasets.formats.xml import read_xml_folder, xml_findings
from wsol_bench.datasets.mask_frames import upright_masks, with_masks
from wsol_bench.datasets.masks import MaskFiles
from wsol_bench.datasets.per_class import per_class
from wsol_bench.datasets.synsets import read_class_table
from wsol_bench.datasets.voc_layout import (
    Place,
    Split,
    find_place,
    numbered_classes,
    read_split,
    recognize,
)
from wsol_bench.errors import DatasetError

__all__ = ["voc"]

# The corners that a file of no fixed origin may hold.
VocConvention = Literal["one_based_inclusive", "inclusive", "half_open"]


@dataset("voc", recognize=recognize)
def voc(
    *,
    root: Path,
    split: str | None = None,
    images: Path | None = None,
    annotations: Path | None = None,
    subset: Path | None = None,
    difficult: bool = False,
    masks: bool = False,
    convention: VocConvention = "one_based_inclusive",
    classes: Path | None = None,
    cache: bool = True,
) -> Dataset:
    """Pascal VOC, or photographs with XML files as LabelImg writes them: a sample for each class.

    One class of an image is the unit of CorLoc and of the pointing game. Samples are sorted by id,
    ``<image>/<class>``. A folder without JPEGImages is searched, with the folders in it, for images
    and XML files; a file and an image of one name belong together.

    VOC's corners are 1-based and inclusive: a box may end at the image's width. Other tools count
    from 0, which no file tells; a corner at 0 shows it, and is a finding.

    Args:
        root: folder with JPEGImages, Annotations and ImageSets (``VOCdevkit/VOC2012``), or with
            photographs and their XML files.
        split: name of a list in ImageSets/Main (with masks, in ImageSets/Segmentation); by default
            "val" if there are lists, else all images. One of VOC's lists of a class (``cat_val``)
            gives the samples of that class alone.
        images: folder of the images; JPEGImages or the root by default.
        annotations: folder of the XML files; Annotations or the root by default.
        subset: file of image ids, one a line: only these images. It takes the place of ``split``.
        difficult: whether objects marked as difficult count like the others. If not, they are left
            out, and so are samples that have no other object, as in VOC's own lists.
        masks: whether to read the masks in SegmentationClass, too, for protocols of pixels. Samples
            are then the classes in an image's mask; the value 255 is ignored. Of classes that are
            not VOC's twenty, ``labelmap.txt`` in the root tells the numbers, line by line from 0.
        convention: convention of the corners: "one_based_inclusive", "inclusive" (the first pixel
            is 0), or "half_open" (the first edge is 0, and an end lies behind the last pixel, as
            LabelImg's do).
        classes: file with a class and its words a line (or a file that ``imagenet`` takes); by
            default the classes are the names in all XML files, for every split.
        cache: whether to keep the parsed XML files and the sizes from image headers for the next
            load.

    Raises:
        DatasetError: a folder or list is missing, two files have one name, or every sample is left
            out.
    """
    place = find_place(existing(root, "root"), split, images, annotations, subset, masks=masks)
    tables = TableCache(enabled=cache)
    objects = read_xml_folder(place.annotations, place.nested, wanted=None, tables=tables)
    class_of = numbered_classes(place.root, objects["name"]) if masks else {}
    names = {*objects["name"], *class_of.values()} - {""}
    files = [] if classes is None else [existing(classes, "classes")]
    known_classes = read_class_table(files, tables, otherwise=names)
    names |= {*known_classes["wnid"]}
    chosen = read_split(place.listed, names)
    frame, findings = _read_images(place, objects, chosen.ids, tables)
    objects = objects[objects["image_id"].isin(frame["image_id"])]
    candidates = objects[objects["xmin"].notna() & objects["name"].isin(chosen.classes)]
    counted = candidates[difficult | ~candidates["difficult"]]
    findings += xml_findings(objects) + _counted_from_zero(counted, convention)
    frame, counted = _sorted(frame, counted)
    masks_of: dict[str, MaskFiles] = {}
    if masks:
        class_masks = _class_masks(place, frame, class_of, chosen, tables)
        samples, boxes, masks_of = class_masks.samples(frame, counted)
        samples["keep"], turned = upright_masks(samples, masks_of, tables)
        findings += class_masks.findings + turned
    else:
        findings += _images_without_sample(frame, objects, candidates, counted)
        samples, boxes = per_class(frame, counted)
    loaded = assemble(
        "voc",
        samples,
        boxes,
        known_classes,
        findings,
        convention=CONVENTIONS[convention].corners,
        source=place.source,
    )
    return with_masks(loaded, masks_of) if masks else loaded


def _counted_from_zero(objects: pd.DataFrame, convention: VocConvention) -> list[Finding]:
    """The finding that corners are 0 where the first pixel is 1, which no box can be."""
    first = CONVENTIONS[convention].corners.origin
    near = objects[["xmin", "ymin"]].to_numpy(np.float64).min(axis=1, initial=np.inf)
    n_zero = int((near < first).sum())
    if not n_zero or not first:
        return []
    ends = (objects["xmax"] == objects["width"]) | (objects["ymax"] == objects["height"])
    hint = "inclusive (or half_open, if ends lie behind the last pixel)"
    if ends.any():
        hint = "half_open, since some boxes end at the width or height of their images"
    text = (
        f"{n_zero} of {len(objects)} boxes begin at 0, but the first pixel of VOC's convention is "
        f"1: the files seem to count from 0. Their boxes were taken as VOC's, a pixel further up "
        f"and to the left; give convention: {hint}"
    )
    return [Finding(Kind.ODD_CONVENTION, "", text)]


def _class_masks(
    place: Place,
    images: pd.DataFrame,
    class_of: Mapping[int, str],
    chosen: Split,
    tables: TableCache,
) -> ClassMasks:
    """The masks in SegmentationClass, of the classes of a split."""
    folder = existing(place.root / "SegmentationClass", "masks")
    files = [f"{image_id}.png" for image_id in images["image_id"]]
    masks = read_class_masks(images, folder, files, class_of, tables, ignored=255)
    pairs = masks.pairs[masks.pairs["wnid"].isin(chosen.classes)].reset_index(drop=True)
    return masks._replace(pairs=pairs)


def _read_images(
    place: Place, objects: pd.DataFrame, listed: set[str] | None, tables: TableCache
) -> ImageFiles:
    """The listed images in a folder; findings of missing and unreadable files.

    Args:
        place: the folders.
        objects: rows of ``read_xml_folder``, whose files name the images if there is no list.
        listed: ids of the images; None for all.
        tables: cache of the headers.
    """
    try:
        files = scan(place.images, IMAGE_SUFFIXES, nested=place.nested, wanted=listed)
    except DatasetError as error:
        raise DatasetError(f"{error}, or name the folder of the images with images=") from error
    files = files[files["bytes"] >= 0].rename(columns={"stem": "image_id"})
    if listed is None and files.empty:
        raise DatasetError(
            f"{place.images}: expected images, found none in it or the folders in it; name their "
            "folder with images="
        )
    expected = set(objects["image_id"]) if listed is None else listed
    missing = sorted(expected.difference(files["image_id"]))
    measured = measure(place.images, files.reset_index(drop=True), tables)
    return ImageFiles(measured.table, missing_images(missing, place.images) + measured.findings)


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


def _sorted(images: pd.DataFrame, objects: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images in an order that sorts samples by id, and objects as ``per_class`` takes them.

    The images have the sizes on which their objects were drawn.

    Args:
        images: table of ``ImageFiles``.
        objects: objects that count, as ``read_xml_folder`` returns them.
    """
    sizes = objects.drop_duplicates("image_id").set_index("image_id")[["width", "height"]]
    images = images.sort_values("image_id", key=lambda ids: ids + "/", ignore_index=True)
    said = sizes.reindex(images["image_id"]).fillna(0).to_numpy(np.float64)
    images["annotated_width"], images["annotated_height"] = said.T
    place = pd.Index(images["image_id"]).get_indexer(objects["image_id"])
    corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), CORNERS, strict=True))
    objects = objects.assign(image=place, wnid=objects["name"])
    return images, objects.rename(columns=corners)
