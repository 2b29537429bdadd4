"""Any data set, written as a file that other tools and the loaders ``table`` and ``coco`` read."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from wsol_bench.common.files import require_writable, write_atomically
from wsol_bench.common.harmless import yaml_text
from wsol_bench.datasets.assembly import CORNERS, class_table
from wsol_bench.datasets.base import ROOT_SYNSET, Dataset
from wsol_bench.datasets.formats.file_names import stays_below
from wsol_bench.errors import ConfigError, DatasetError

__all__ = ["SUFFIXES", "require_target", "write_dataset"]

SUFFIXES = (".parquet", ".csv", ".json")
_FLAGS = ("blacklisted", "held_out")


class _Files(NamedTuple):
    """The names of a data set's images in a written file.

    Attributes:
        folder: folder that the names are relative to; "" if there are annotations only.
        names: name of the image of each sample: its path, or its id if it has no image file.
    """

    folder: str
    names: pd.Series


def require_target(path: Path, *, force: bool) -> None:
    """Raise ConfigError unless a data set can be written to a path.

    Args:
        path: the file, whose extension says the format.
        force: whether a file that is there is replaced.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{path}: expected a file that ends with .parquet or .csv (a table) or .json (COCO), "
            f"found {path.suffix or 'no extension'!r}; name another file with --to"
        )
    require_writable(path, "--to")
    if path.exists() and not force:
        raise ConfigError(f"{path} exists; name another file, or replace it with --force")


def write_dataset(loaded: Dataset, path: Path) -> Iterator[str]:
    """Write a data set, and yield lines about it: what the file does not hold, and how to read it.

    A table (.parquet, .csv) has a row a box, half-open corners in pixels of the stored image, and
    the images' sizes. Columns that only some data sets need are written if one needs them: the
    sample's id, the class of a box that is not the label, blacklisted and held_out. COCO JSON has
    ``bbox`` as x, y, width, height. Paths are relative to the folder that holds all images.

    Args:
        loaded: the data set.
        path: the file, which is replaced if it exists.

    Raises:
        DatasetError: the name of an image cannot stand in a file.
        OSError: the file cannot be written.
    """
    files = _files(loaded)
    if loaded.masks:
        yield f"Not written: the masks of {len(loaded)} images; the file holds boxes only."
    if path.suffix.lower() == ".json":
        yield from _unheld_by_coco(loaded, files)
        write_atomically(path, json.dumps(_coco(loaded, files), allow_nan=False).encode())
        yield from _how_to_read("coco", {"annotations": str(path), "images": files.folder})
        return
    table = _table(loaded, files)
    if path.suffix.lower() == ".csv":
        write_atomically(path, table.to_csv(index=False).encode())
    else:
        buffer = io.BytesIO()
        table.to_parquet(buffer, engine="pyarrow", index=False)
        write_atomically(path, buffer.getvalue())
    options = {"path": str(path), "convention": "half_open", "images": files.folder}
    if _has_own_classes(loaded):
        classes = path.with_name(f"{path.stem}.classes.csv")
        columns = loaded.classes.rename(columns={"ilsvrc_id": "ilsvrc2012_id"})
        text = columns[["ilsvrc2012_id", "wnid", "words"]].to_csv(index=False)
        write_atomically(classes, text.encode())
        yield f"The {len(columns)} classes with their words: {classes}"
        options["classes"] = str(classes)
    yield from _how_to_read("table", options)


def _how_to_read(name: str, options: dict[str, str]) -> Iterator[str]:
    """The line about the data set that reads the file."""
    told = [f"{key}: {yaml_text(value)}" for key, value in options.items() if value]
    yield f"To read it: dataset: {{{', '.join([f'name: {name}', *told])}}}"


def _files(loaded: Dataset) -> _Files:
    """The names of the images; DatasetError if one could not be read back."""
    images = loaded.images
    paths = images["path"]
    there = (paths != "").to_numpy()
    names = images["image_id"].copy()
    folder = ""
    if there.any():
        folder = os.path.commonpath({Path(path).parent for path in paths[there]})
        names[there] = [Path(path).relative_to(folder).as_posix() for path in paths[there]]
    wrong = ~names.map(stays_below).to_numpy() | (names == "").to_numpy()
    if wrong.any():
        raise DatasetError(
            f"{loaded.name}: expected image ids that can be the names of files, found "
            f"{names[wrong].iloc[0]!r}"
        )
    return _Files(folder, names.astype("str"))


def _has_own_classes(loaded: Dataset) -> bool:
    """Return whether the classes are others than the labels of a table would give."""
    names = {*loaded.images["label"], *loaded.box_labels.tolist()}
    of_labels = class_table({name: name for name in names - {ROOT_SYNSET}})
    columns = ["wnid", "words", "ilsvrc_id"]
    return loaded.classes[columns].to_numpy().tolist() != of_labels[columns].to_numpy().tolist()


def _table(loaded: Dataset, files: _Files) -> pd.DataFrame:
    """The rows of a table: one a box, and one for each sample without a box."""
    images = loaded.images.assign(image=files.names.to_numpy())
    n_boxes = images["n_boxes"].to_numpy(np.int64)
    sample = np.repeat(np.arange(len(images)), np.maximum(n_boxes, 1))
    has_box = np.repeat(n_boxes > 0, np.maximum(n_boxes, 1))
    rows = images.iloc[sample].reset_index(drop=True)
    corners = np.full((len(rows), 4), np.nan)
    corners[has_box] = loaded.boxes
    columns: dict[str, Any] = {"image": rows["image"], "label": rows["label"]}
    columns |= dict(zip(CORNERS, corners.T, strict=True))
    known = (rows["width"] > 0) & (rows["height"] > 0)
    for side in ("width", "height"):
        columns[side] = rows[side].astype("Int64").where(known)
    box_labels = rows["label"].to_numpy(object, copy=True)
    box_labels[has_box] = loaded.box_labels
    if (box_labels != rows["label"].to_numpy(object)).any():
        columns["box_label"] = box_labels
    if not _ids_of_table(images).equals(images["image_id"].astype("str")):
        columns["sample_id"] = rows["image_id"]
    columns |= {flag: rows[flag] for flag in _FLAGS if flag in rows and rows[flag].any()}
    return pd.DataFrame(columns)


def _ids_of_table(images: pd.DataFrame) -> pd.Series:
    """The ids that the loader ``table`` gives samples on its own."""
    several = images.groupby("image")["label"].transform("nunique") > 1
    ids = images["image"].where(~several, images["image"] + "/" + images["label"])
    return ids.astype("str").rename("image_id")


def _coco(loaded: Dataset, files: _Files) -> dict[str, Any]:
    """The content of COCO's instances JSON; ids count from 1, in the data set's order."""
    images = loaded.images.assign(file_name=files.names.to_numpy())
    distinct = images.drop_duplicates("file_name")
    known = loaded.classes["wnid"].tolist()
    wnids = [*known, *sorted(set(loaded.box_labels.tolist()) - {*known})]
    categories = [
        {"id": number, "name": wnid, "supercategory": ""}
        for number, wnid in enumerate(wnids, start=1)
    ]
    category_of = {wnid: number for number, wnid in enumerate(wnids, start=1)}
    number_of = {name: number for number, name in enumerate(distinct["file_name"], start=1)}
    names = images["file_name"].to_numpy(object)
    sample_of_box = np.repeat(np.arange(len(images)), images["n_boxes"])
    annotations: list[dict[str, Any]] = []
    sample_of: dict[tuple[object, ...], int] = {}
    boxes = zip(sample_of_box.tolist(), loaded.box_labels, loaded.boxes.tolist(), strict=True)
    for sample, wnid, (x0, y0, x1, y1) in boxes:
        name = names[sample]
        # A box may stand in several samples of one image.
        if sample_of.setdefault((name, wnid, x0, y0, x1, y1), sample) != sample:
            continue
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": number_of[name],
                "category_id": category_of[wnid],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
            }
        )
    records = distinct[["file_name", "width", "height"]].itertuples(index=False)
    return {
        "info": {"description": f"{loaded.name}, written by wsol_bench"},
        "images": [
            {"id": number, "file_name": name, "width": int(width), "height": int(height)}
            for number, (name, width, height) in enumerate(records, start=1)
        ],
        "annotations": annotations,
        "categories": categories,
    }


def _unheld_by_coco(loaded: Dataset, files: _Files) -> Iterator[str]:
    """Lines about what COCO's format has no place for, each with its number."""
    images = loaded.images
    label_of_box = np.repeat(images["label"].to_numpy(object), images["n_boxes"])
    has_root = images["label"] == ROOT_SYNSET
    facts = (
        ((images["n_boxes"] == 0).sum(), "the labels of images without a box"),
        (has_root.sum(), "labels that stand for every class (root)"),
        (
            (loaded.box_labels != label_of_box).sum() if not has_root.all() else 0,
            "labels of images with boxes of other classes, which become samples of these classes",
        ),
        (images["blacklisted"].sum(), "marks of the blacklist"),
        (images.get("held_out", pd.Series(dtype=bool)).sum(), "marks of held-out images"),
        (((images["width"] == 0) | (images["height"] == 0)).sum(), "sizes, which are not known"),
        ((loaded.classes["ilsvrc_id"] > 0).sum(), "ILSVRC2012_IDs of classes"),
        ((loaded.classes["words"] != loaded.classes["wnid"]).sum(), "words of classes"),
        (
            (images["image_id"] != files.names + "/" + images["label"]).sum(),
            "image ids, in whose place stands <file_name>/<class>",
        ),
    )
    for count, what in facts:
        if count:
            yield f"Not written, since COCO has no place for it: {count} {what}."
