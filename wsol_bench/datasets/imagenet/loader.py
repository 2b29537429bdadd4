"""ILSVRC CLS-LOC, in every layout it is found in.

One path for all layouts: ``imagenet_layout`` says where the pieces lie, ``annotations`` parses
them, ``index`` keeps what was parsed, and here they become a table of images and one of boxes.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from wsol_bench.datasets.annotations import (
    IMAGE_SUFFIXES,
    XML_SUFFIXES,
    read_image_list,
    read_image_sizes,
    read_numbers,
    read_solution,
)
from wsol_bench.datasets.assembly import CORNERS, assemble, measure, note
from wsol_bench.datasets.base import Dataset, Finding, dataset
from wsol_bench.datasets.imagenet.devkit import devkit_labels, official_numbers
from wsol_bench.datasets.imagenet.layout import Pieces, find_pieces
from wsol_bench.datasets.index import TableCache, read_xml_folder, scan
from wsol_bench.datasets.synsets import read_class_table, resolve_names
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import INCLUSIVE

__all__ = ["imagenet"]

BoxSource = Literal["auto", "xml", "csv"]
_TAGS = ("xmin", "ymin", "xmax", "ymax")


@dataset("imagenet")
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
    """ILSVRC CLS-LOC: Kaggle, official tars, torchvision folders, or annotations only.

    Images are sorted by id (the file's stem). Without image files the data set is made of
    annotations only and can score predictions. What is odd about single files is repaired or left
    out and said in ``findings``; what is wrong with the whole is an error.

    Args:
        root: folder that holds the pieces, in any of the layouts. Paths are relative to the
            working directory.
        split: "val", "train", or the name of another one's folders.
        images: image folder (flat, or one folder a class), where it is not under the root.
        annotations: folder of XML files, or a solution CSV, where it is not under the root.
        boxes: read from XML files or from the solution CSV; "auto" takes XML where there is any.
        devkit: folder with meta.mat or synsets.csv, the validation ground truth and the blacklist,
            where they are not under the root.
        classes: file like LOC_synset_mapping.txt, where it is not in the root.
        subset: text file of image ids, one a line: only these images, in this order.
        cache: keep what was parsed in the cache folder, for the next load.

    Raises:
        DatasetError: a root, option or list that does not hold what it should, a malformed CSV, or
            no image left at all.
    """
    pieces = find_pieces(
        Path(root), split, images=images, annotations=annotations, devkit=devkit, classes=classes
    )
    boxes = _box_source(pieces, boxes, root)
    tables = TableCache(enabled=cache)
    findings: list[Finding] = []
    chosen = None if subset is None else read_image_list(Path(subset).expanduser())

    solution = _solution(pieces, tables)
    listing = _list_images(pieces, solution, chosen, tables, findings)
    frame = listing.frame
    if listing.ids.empty:
        raise DatasetError(f"{root}: the list of images of split {split!r} is empty")
    if chosen is not None:
        _require_listed(chosen, listing.ids, f"{subset}")
    objects = solution
    if boxes == "xml" and pieces.xml:
        wanted = set(frame["image_id"].tolist())
        objects = read_xml_folder(*pieces.xml, wanted=wanted, tables=tables)
    objects = objects.assign(image=pd.Index(frame["image_id"]).get_indexer(objects["image_id"]))
    objects = objects[objects["image"] >= 0]
    note(
        findings,
        "no_annotation",
        frame["image_id"][np.bincount(objects["image"], minlength=len(frame)) == 0],
        f"no {boxes.upper()} annotation",
    )
    if boxes == "xml":
        _apply_xml(frame, objects, findings)

    named = listing.folders or set(solution["name"].unique()) or set(objects["name"].unique())
    sources = [path for path in (pieces.mapping, pieces.meta, pieces.synsets) if path]
    known = read_class_table(sources, tables, otherwise=named)
    numbers = official_numbers(pieces, frame["image_id"], listing.ids, split)
    _label(frame, devkit_labels(pieces, known, numbers), solution, findings)
    owners = frame["label"].to_numpy(object)[objects["image"]]
    objects = objects.assign(wnid=resolve_names(objects["name"], owners, known))
    _finish_labels(frame, objects, known)
    objects = objects[objects["name"] != ""].rename(columns=dict(zip(_TAGS, CORNERS, strict=True)))

    frame["blacklisted"] = False
    if pieces.blacklist:
        frame["blacklisted"] = np.isin(numbers, read_numbers(pieces.blacklist))
    result = assemble(
        "imagenet",
        frame,
        objects,
        known,
        findings,
        convention=INCLUSIVE,
        source=f"split {split!r} of {root}",
    )
    if chosen is None:
        return result
    remaining = set(result.images["image_id"])
    return result.select([name for name in chosen if name in remaining])


def _box_source(pieces: Pieces, boxes: BoxSource, root: Path) -> BoxSource:
    if boxes == "auto":
        return "xml" if pieces.xml else "csv"
    if (pieces.xml if boxes == "xml" else pieces.solution) is None:
        raise DatasetError(
            f"{root}: boxes={boxes!r} was asked for, but there is no "
            f"{'folder of XML files' if boxes == 'xml' else 'solution CSV'}; the option "
            "annotations= names one elsewhere"
        )
    return boxes


def _require_listed(chosen: list[str], ids: pd.Index, subset: str) -> None:
    places = ids.get_indexer(pd.Index(chosen, dtype="str"))
    unknown = [name for name, place in zip(chosen, places, strict=True) if place < 0]
    if unknown:
        raise DatasetError(
            f"{subset}: {len(unknown)} of {len(chosen)} listed images are not in the data set, the "
            f"first is {unknown[0]!r}; image ids look like {ids[0]!r}"
        )
    if not chosen:
        raise DatasetError(f"{subset}: expected an image id a line, found none")


def _solution(pieces: Pieces, tables: TableCache) -> pd.DataFrame:
    """The solution CSV's objects; none where there is no such file."""
    if pieces.solution:
        return tables.file("solution", pieces.solution, read_solution)
    empty = {column: np.empty(0) for column in _TAGS}
    return pd.DataFrame(
        {"image_id": pd.Series(dtype="str"), "name": pd.Series(dtype="str"), **empty}
    )


class _Listing(NamedTuple):
    """The images asked for, and what there is in all.

    Attributes:
        frame: one row an image asked for and found, sorted: image_id, path, folder (its subfolder,
            "" where flat), width, height (0 where nothing says), keep.
        ids: of all images, sorted, whether asked for or not, found or missing.
        folders: names of all subfolders with images.
    """

    frame: pd.DataFrame
    ids: pd.Index
    folders: set[str]


def _list_images(
    pieces: Pieces,
    solution: pd.DataFrame,
    chosen: list[str] | None,
    tables: TableCache,
    findings: list[Finding],
) -> _Listing:
    sizes = pd.DataFrame({"image_id": pd.Series(dtype="str"), "width": [], "height": []})
    if pieces.sizes and not pieces.images:
        sizes = tables.file("sizes", pieces.sizes, read_image_sizes)
    listed = read_image_list(pieces.image_list) if pieces.image_list else None
    wanted = None if chosen is None else set(chosen)
    if listed is not None:
        wanted = set(listed) if wanted is None else wanted & set(listed)

    if not pieces.images:
        if listed is None and len(solution):
            listed = solution["image_id"].unique().tolist()
        elif listed is None and len(sizes):
            listed = sizes["image_id"].tolist()
        elif listed is None and pieces.xml:
            listed = scan(pieces.xml.path, XML_SUFFIXES, nested=pieces.xml.nested, wanted=())[
                "stem"
            ].tolist()
        complete = pd.Index(sorted(set(listed or ())), dtype="str")
        ids = _among(complete, chosen)
        frame = pd.DataFrame({"image_id": ids, "path": "", "folder": ""})
        frame = frame.merge(sizes, on="image_id", how="left")
        frame[["width", "height"]] = frame[["width", "height"]].fillna(0).astype(np.int64)
        return _Listing(frame.assign(keep=True), complete, set())

    folder = pieces.images.path
    files = scan(folder, IMAGE_SUFFIXES, nested=pieces.images.nested, wanted=wanted)
    folders = set(files["folder"].unique()) - {""}
    complete = pd.Index(files["stem"] if listed is None else sorted(set(listed)), dtype="str")
    files = files[files["bytes"] >= 0].reset_index(drop=True)
    asked = _among(complete, chosen)
    missing = asked[pd.Index(files["stem"]).get_indexer(asked) < 0]
    note(findings, "missing_file", missing, f"listed, but no such image in {folder}; left out")
    frame = measure(folder, files.rename(columns={"stem": "image_id"}), tables, findings)
    return _Listing(frame, complete, folders)


def _among(ids: pd.Index, chosen: list[str] | None) -> pd.Index:
    """Those of ``ids`` that were chosen; all if there is no choice."""
    return ids if chosen is None else ids[ids.isin(chosen)]


def _apply_xml(frame: pd.DataFrame, objects: pd.DataFrame, findings: list[Finding]) -> None:
    """Add to ``frame`` what the XML files say of whole images: errors, sizes, folders."""
    files = objects.drop_duplicates("image")
    place = files["image"].to_numpy(np.int64)
    sizes = np.zeros((len(frame), 2))
    sizes[place] = files[["width", "height"]]
    unsized = (frame["width"] == 0).to_numpy()
    frame["said_width"], frame["said_height"] = sizes.T
    for axis, column in enumerate(("width", "height")):
        rounded = np.rint(sizes[:, axis]).astype(np.int64)
        frame[column] = np.where(unsized, rounded, frame[column])
    folders = np.full(len(frame), "", dtype=object)
    folders[place] = files["folder"]
    frame["xml_folder"] = folders
    broken = files[files["error"] != ""]
    frame.loc[broken["image"], "keep"] = False
    for image_id, error in zip(broken["image_id"], broken["error"], strict=True):
        findings.append(Finding("bad_annotation", image_id, f"{error}; left out"))


def _label(
    frame: pd.DataFrame, devkit: np.ndarray, solution: pd.DataFrame, findings: list[Finding]
) -> None:
    """Set ``label`` to the first that knows it: folder, devkit, CSV; "" where none does."""
    labels = frame["folder"].to_numpy(object)
    for index in np.flatnonzero((labels != "") & (devkit != "") & (labels != devkit)):
        detail = f"in folder {labels[index]}, but the devkit's ground truth says {devkit[index]}"
        findings.append(Finding("label_mismatch", frame["image_id"].iloc[index], detail))
    labels = np.where(labels == "", devkit, labels)
    first = solution.drop_duplicates("image_id")
    row = pd.Index(first["image_id"]).get_indexer(frame["image_id"])
    names = np.append(first["name"].to_numpy(object), "")  # row -1: not in the CSV
    frame["label"] = np.where(labels == "", names[row], labels)


def _finish_labels(frame: pd.DataFrame, objects: pd.DataFrame, known: pd.DataFrame) -> None:
    """Labels that only the XML gives."""
    labels = frame["label"].to_numpy(object, copy=True)
    if "xml_folder" in frame and (labels == "").any():
        folders = frame["xml_folder"].to_numpy(object)
        named = pd.Series(folders).isin(known["wnid"])
        labels = np.where((labels == "") & named, folders, labels)
        classes = objects[objects["wnid"] != ""].groupby("image")["wnid"].agg(["first", "nunique"])
        only = classes[(classes["nunique"] == 1) & (labels[classes.index] == "")]
        labels[only.index] = only["first"]
    frame["label"] = pd.Series(labels, dtype="str")
