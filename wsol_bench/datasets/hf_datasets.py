"""Data sets of the library ``datasets`` of Hugging Face: images in columns, boxes beside them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, class_table, find_images
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.box_conventions import CONVENTIONS, ConventionName, to_corners
from wsol_bench.datasets.embedded_images import image_files
from wsol_bench.datasets.formats.text import LARGEST
from wsol_bench.datasets.listed_objects import assemble_objects
from wsol_bench.errors import DatasetError, did_you_mean

__all__ = ["hf_datasets"]

_ROWS = 1000  # that are looked at in one go


@dataset("hf_datasets")
def hf_datasets(
    *,
    path: str,
    convention: ConventionName,
    split: str | None = None,
    configuration: str | None = None,
    image: str = "image",
    objects: str | None = "objects",
    bbox: str = "bbox",
    category: str = "category",
    id: str | None = None,
    cache: bool = True,
) -> Dataset:
    """A data set of Hugging Face's library ``datasets``: one sample for each class of an image.

    Images that are embedded as bytes are written once, as they are, to the cache folder, whatever
    ``cache`` says. The columns width and height, if any, are the size of the image that the boxes
    were drawn on. An image's id is its row with eight digits, unless ``id`` names a column of ids;
    a sample's id is ``<image>/<class>``. It needs the extra ``hf``.

    Args:
        path: folder of ``save_to_disk``, or what ``load_dataset`` takes: a folder or a name of the
            hub, which is downloaded.
        convention: convention of the four numbers of a box, as in ``table``. No file tells it:
            "xywh" is usual, as in COCO, but look it up in the data set's card.
        split: name of the split; needed if there are several.
        configuration: name of the configuration, if the data set has several.
        image: column of the images.
        objects: column of the objects, each with a box and a category; null if the boxes and the
            categories are columns of their own.
        bbox: name of the boxes in it.
        category: name of the classes in it.
        id: column of the images' ids.
        cache: whether to keep the sizes read from image headers for the next load.

    Raises:
        DatasetError: the library is missing or cannot load the data set, a column is not there, or
            a box or a class is not as described.
    """
    rows = _loaded(path, configuration, split)
    names = [image, *([bbox, category] if objects is None else [objects]), *([id] if id else [])]
    for name in names:
        if name not in rows.column_names:
            known = did_you_mean(name, rows.column_names)
            raise DatasetError(f"{path}: expected a column {name!r}, found none; {known}")
    files = image_files(rows, image, path)
    ids = [f"{number:08}" for number in range(len(rows))] if id is None else _texts(rows, id)
    listed = pd.DataFrame({"image_id": ids, "file": files.names}, dtype="str")
    if {"width", "height"} <= set(rows.column_names):
        for side in ("width", "height"):
            listed[f"annotated_{side}"] = _sizes(rows, side)
    tables = TableCache(enabled=cache)
    found = find_images(files.folder, listed, tables)
    table, known_names = _objects(rows, ids, objects, bbox, category, path)
    form = CONVENTIONS[convention]
    table[CORNERS] = to_corners(table[CORNERS].to_numpy(np.float64), form)
    source = f"split {split!r} of {path}" if split else path
    classes = class_table({name: name for name in {*known_names, *table["wnid"]} - {""}})
    return assemble_objects("hf_datasets", found, table, classes, convention=form, source=source)


def _loaded(path: str, configuration: str | None, split: str | None) -> Any:
    """The split of a data set as the library has it."""
    try:
        import datasets as library
    except ImportError as error:
        raise DatasetError(
            "the data set hf_datasets needs the library datasets: pip install 'wsol-bench[hf]'"
        ) from error
    folder = Path(path).expanduser()
    saved = any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))
    try:
        if saved:
            loaded = library.load_from_disk(str(folder))
        else:
            where = str(folder.absolute()) if folder.exists() else path
            loaded = library.load_dataset(where, name=configuration)
    except Exception as error:  # files of any kind, a network: any error can come of it
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DatasetError(f"{path}: the library datasets cannot load it: {reason}") from error
    if isinstance(loaded, library.Dataset):
        return loaded
    splits = [str(name) for name in loaded]
    if split is None and len(splits) == 1:
        split = splits[0]
    if split is None or split not in splits:
        raise DatasetError(
            f"{path}: expected the option 'split', one of {', '.join(splits)}, found {split!r}"
        )
    return loaded[split]


def _texts(rows: Any, name: str) -> list[str]:
    """A column as text."""
    return [str(value) for value in rows.select_columns([name]).with_format("python")[:][name]]


def _sizes(rows: Any, name: str) -> np.ndarray:
    """A column of sizes in pixels, 0 where it holds none."""
    values = pd.to_numeric(pd.Series(_texts(rows, name)), errors="coerce").to_numpy(np.float64)
    good = (values >= 1) & (values <= LARGEST) & (values % 1 == 0)
    return np.where(good, values, 0).astype(np.int64)


def _objects(
    rows: Any, ids: list[str], objects: str | None, bbox: str, category: str, path: str
) -> tuple[pd.DataFrame, list[str]]:
    """The objects of all images: image_id, wnid, four numbers; and the names of all classes.

    Raises:
        DatasetError: the objects have no such fields, a box is not four numbers, or there are more
            boxes than classes.
    """
    features = rows.features if objects is None else _inner(rows.features[objects])
    if not isinstance(features, dict) or not {bbox, category} <= set(features):
        fields = ", ".join(map(str, features)) if isinstance(features, dict) else str(features)
        raise DatasetError(
            f"{path}: expected {bbox!r} and {category!r} in {objects or 'its columns'!r}, found "
            f"{fields[:200]}; the options bbox and category name them"
        )
    names = getattr(_innermost(features[category]), "names", None)
    columns = [bbox, category] if objects is None else [objects]
    found: list[tuple[str, str, float, float, float, float]] = []
    plain = rows.select_columns(columns).with_format("python")
    for start in range(0, len(rows), _ROWS):
        batch = plain[start : start + _ROWS]
        for offset in range(len(batch[columns[0]])):
            row = start + offset
            where = f"{path}, row {row}"
            cell = (
                {key: batch[key][offset] for key in columns}
                if objects is None
                else batch[objects][offset]
            )
            for box, value in _pairs(cell, bbox, category, where):
                wnid = _class_name(value, names, where)
                found.append((ids[row], wnid, *_four_numbers(box, where)))
    table = pd.DataFrame(found, columns=["image_id", "wnid", *CORNERS])
    kinds = {"image_id": "str", "wnid": "str"} | dict.fromkeys(CORNERS, np.float64)
    return table.astype(kinds), list(names or ())


def _inner(feature: Any) -> Any:
    """The fields of a feature that is a mapping, or a list of mappings."""
    if isinstance(feature, list):
        return feature[0] if feature else None
    return getattr(feature, "feature", feature)


def _innermost(feature: Any) -> Any:
    """The feature of the elements of lists in lists."""
    while (inner := _inner(feature)) is not feature:
        feature = inner
    return feature


def _pairs(cell: Any, bbox: str, category: str, where: str) -> list[tuple[Any, Any]]:
    """The box and the class of each object of an image: lists of each, or a list of objects."""
    if cell is None:
        return []
    if isinstance(cell, list):
        return [(one[bbox], one[category]) for one in cell]
    boxes, kinds = cell[bbox] or [], cell[category]
    if not isinstance(kinds, list):  # one class of the whole image
        kinds = [kinds] * len(boxes)
    if len(boxes) != len(kinds):
        raise DatasetError(
            f"{where}: expected as many classes as boxes, found {len(kinds)} classes and "
            f"{len(boxes)} boxes"
        )
    return list(zip(boxes, kinds, strict=True))


def _class_name(value: Any, names: list[str] | None, where: str) -> str:
    """The name of an object's class; "" if it has none."""
    if value is None or (names is not None and value == -1):  # as hidden test labels are
        return ""
    if names is None:
        return str(value)
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise DatasetError(
            f"{where}: expected a class from 0 to {len(names) - 1}, found {str(value)[:80]!r}"
        )
    return names[value]


def _four_numbers(box: Any, where: str) -> tuple[float, float, float, float]:
    """The numbers of a box; NaN for all if one is missing."""
    numbers = list(box) if isinstance(box, list | tuple) else []
    if len(numbers) != 4 or not all(one is None or isinstance(one, int | float) for one in numbers):
        raise DatasetError(f"{where}: expected a box of four numbers, found {str(box)[:80]!r}")
    if any(one is None or not abs(one) <= LARGEST for one in numbers):
        return (np.nan,) * 4
    x, y, z, w = map(float, numbers)
    return x, y, z, w
