"""The data set ILSVRC CLS-LOC, in every layout in which it is found.

All layouts are loaded in the same steps: ``layout`` finds the pieces, ``listing`` lists the images,
``formats`` reads the annotations, ``labels`` and ``devkit`` give the classes.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, assemble
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.findings import Finding, Kind, findings_of
from wsol_bench.datasets.formats.csv import read_solution
from wsol_bench.datasets.formats.lists import read_image_list, read_numbers
from wsol_bench.datasets.formats.xml import read_xml_folder, xml_findings
from wsol_bench.datasets.imagenet.devkit import devkit_labels, official_numbers
from wsol_bench.datasets.imagenet.labels import labels_of, labels_with_xml
from wsol_bench.datasets.imagenet.layout import Pieces, find_pieces
from wsol_bench.datasets.imagenet.listing import Listing, list_images
from wsol_bench.datasets.imagenet.recognition import recognize
from wsol_bench.datasets.synsets import read_class_table, resolve_names
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import INCLUSIVE

__all__ = ["imagenet"]

BoxSource = Literal["auto", "xml", "csv"]
_TAGS = ("xmin", "ymin", "xmax", "ymax")


@dataset("imagenet", recognize=recognize)
def imagenet(
    *,
    root: Path,
    split: str = "val",
    images: Path | None = None,
    annotations: Path | None = None,
    boxes: BoxSource = "auto",
    devkit: Path | None = None,
    classes: Path | None = None,
    subset: Path | None = None,
    cache: bool = True,
) -> Dataset:
    """ILSVRC CLS-LOC in Kaggle's, the official tars' or torchvision's layout, or annotations only.

    Images are sorted by id (the file's stem). Without image files the data set consists of
    annotations only and can score prediction files. Oddities of single files are repaired or left
    out, with a finding; a problem of the whole data set is an error.

    Args:
        root: folder that holds the pieces, in any of the layouts. Relative paths start from the
            working directory.
        split: "val", "train", or the name of another split's folders.
        images: image folder (flat, or one folder a class); found under the root by default.
        annotations: folder of XML files, or a solution CSV; found under the root by default.
        boxes: "xml" or "csv"; "auto" takes XML files if there are any.
        devkit: folder with meta.mat or synsets.csv, the validation ground truth and the blacklist;
            found under the root by default.
        classes: file like LOC_synset_mapping.txt; found in the root by default.
        subset: text file of image ids, one a line: only these images, in this order.
        cache: whether to keep the parsed files for the next load.

    Raises:
        DatasetError: a root, option or list does not hold what it should, a CSV is malformed, or
            every image is left out.
    """
    pieces = find_pieces(
        Path(root), split, images=images, annotations=annotations, devkit=devkit, classes=classes
    )
    boxes = _box_source(pieces, boxes, root)
    tables = TableCache(enabled=cache)
    subset_ids = None if subset is None else read_image_list(Path(subset).expanduser()).ids
    solution = _solution(pieces, tables)
    listing = list_images(pieces, solution, subset_ids, tables)
    if listing.complete.empty:
        raise DatasetError(f"{root}: expected images in the list of split {split!r}, found none")
    if subset_ids is not None:
        _require_listed(subset_ids, listing.complete, f"{subset}")
    loaded = _assemble(pieces, listing, solution, root, split, boxes, tables)
    if subset_ids is None:
        return loaded
    remaining = set(loaded.images["image_id"])
    return loaded.select([name for name in subset_ids if name in remaining])


def _assemble(
    pieces: Pieces,
    listing: Listing,
    solution: pd.DataFrame,
    root: Path,
    split: str,
    boxes: BoxSource,
    tables: TableCache,
) -> Dataset:
    """The data set of the listed images with their boxes, labels and blacklist.

    Args:
        pieces: places of the split's pieces.
        listing: images of the split.
        solution: objects of the solution CSV.
        root: root, for the error message.
        split: name of the split.
        boxes: "xml" or "csv".
        tables: cache of what is read.
    """
    images, objects, findings = _read_objects(pieces, listing, solution, boxes, tables)
    names = listing.folders or set(solution["name"].unique()) or set(objects["name"].unique())
    files = [path for path in (pieces.mapping, pieces.meta, pieces.synsets) if path]
    classes = read_class_table(files, tables, otherwise=names)
    numbers = official_numbers(pieces, images["image_id"], listing.complete, split)
    labels, mismatches = labels_of(images, devkit_labels(pieces, classes, numbers), solution)
    image_labels = labels[objects["image"]]
    objects = objects.assign(wnid=resolve_names(objects["name"], image_labels, classes))
    images = images.assign(label=labels)
    images["label"] = labels_with_xml(images, objects, classes)
    images["blacklisted"] = False
    if pieces.blacklist:
        images["blacklisted"] = np.isin(numbers, read_numbers(pieces.blacklist))
    usable = (objects["name"] != "") & objects["xmin"].notna()
    objects = objects[usable].rename(columns=dict(zip(_TAGS, CORNERS, strict=True)))
    return assemble(
        "imagenet",
        images,
        objects,
        classes,
        [*findings, *mismatches],
        convention=INCLUSIVE,
        source=f"split {split!r} of {root}",
    )


class _Annotated(NamedTuple):
    """The listed images with their objects.

    Attributes:
        images: table of the listing, and the sizes and subfolders in XML files.
        objects: one row an object: image (position in ``images``), name and corners.
        findings: findings so far.
    """

    images: pd.DataFrame
    objects: pd.DataFrame
    findings: list[Finding]


def _read_objects(
    pieces: Pieces, listing: Listing, solution: pd.DataFrame, boxes: BoxSource, tables: TableCache
) -> _Annotated:
    """The objects of the listed images, from XML files or from the solution CSV."""
    images, objects = listing.images, solution
    if boxes == "xml" and pieces.xml:
        wanted = set(images["image_id"].tolist())
        objects = read_xml_folder(*pieces.xml, wanted=wanted, tables=tables)
    objects = objects.assign(image=pd.Index(images["image_id"]).get_indexer(objects["image_id"]))
    objects = objects[objects["image"] >= 0]
    unannotated = np.bincount(objects["image"], minlength=len(images)) == 0
    findings = listing.findings + findings_of(
        Kind.NO_ANNOTATION, images["image_id"][unannotated], f"no {boxes.upper()} annotation"
    )
    if boxes == "xml":
        images = _with_xml(images, objects)
        findings += xml_findings(objects)
    return _Annotated(images, objects, findings)


def _with_xml(images: pd.DataFrame, objects: pd.DataFrame) -> pd.DataFrame:
    """The images with the sizes and subfolders of their XML files.

    Adds xml_folder, and fills in unknown widths and heights. The size in an XML file is that which
    its boxes were drawn on; if it has none, the CSV of sizes tells it. Images whose file cannot be
    used are not kept.
    """
    files = objects.drop_duplicates("image")
    position = files["image"].to_numpy(np.int64)
    sizes = images[["annotated_width", "annotated_height"]].to_numpy(np.float64, copy=True)
    in_xml = files[["width", "height"]].to_numpy(np.float64)
    said = np.asarray((in_xml > 0).all(axis=1))
    sizes[position[said]] = in_xml[said]
    unsized = (images["width"] == 0).to_numpy()
    images = images.assign(annotated_width=sizes[:, 0], annotated_height=sizes[:, 1])
    for axis, column in enumerate(("width", "height")):
        rounded = np.rint(sizes[:, axis]).astype(np.int64)
        images[column] = np.where(unsized, rounded, images[column])
    folders = np.full(len(images), "", dtype=object)
    folders[position] = files["folder"]
    images["xml_folder"] = folders
    images.loc[files.loc[files["error"] != "", "image"], "keep"] = False
    return images


def _box_source(pieces: Pieces, boxes: BoxSource, root: Path) -> BoxSource:
    """The kind of file that boxes are read from: "xml" or "csv".

    Raises:
        DatasetError: ``boxes`` asks for a kind of file that the root does not hold.
    """
    if boxes == "auto":
        return "xml" if pieces.xml else "csv"
    if (pieces.xml if boxes == "xml" else pieces.solution) is None:
        raise DatasetError(
            f"{root}: boxes={boxes!r} expected a "
            f"{'folder of XML files' if boxes == 'xml' else 'solution CSV'}, found none; if "
            "it lies elsewhere, name it with the option annotations="
        )
    return boxes


def _require_listed(subset_ids: list[str], complete: pd.Index, subset: str) -> None:
    """Raise DatasetError if the subset is empty or names images that the split does not have."""
    positions = complete.get_indexer(pd.Index(subset_ids, dtype="str"))
    unknown = [name for name, position in zip(subset_ids, positions, strict=True) if position < 0]
    if unknown:
        raise DatasetError(
            f"{subset}: {len(unknown)} of {len(subset_ids)} listed images are not in the data set, "
            f"the first is {unknown[0]!r}; image ids look like {complete[0]!r}"
        )
    if not subset_ids:
        raise DatasetError(f"{subset}: expected one image id a line, found none")


def _solution(pieces: Pieces, tables: TableCache) -> pd.DataFrame:
    """The objects of the solution CSV; none if there is no such file."""
    if pieces.solution:
        return tables.file("solution", pieces.solution, read_solution)
    empty = {column: np.empty(0) for column in _TAGS}
    return pd.DataFrame(
        {"image_id": pd.Series(dtype="str"), "name": pd.Series(dtype="str"), **empty}
    )
