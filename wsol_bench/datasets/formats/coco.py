"""COCO's instances JSON: images, categories, boxes, and segmentations as run lengths.

The file is untrusted: every value that is read is checked, and an error names its entry.
"""

import json
import math
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wsol_bench.common.table_cache import TableCache
from wsol_bench.common.text_files import read_text
from wsol_bench.datasets.folders import look_up, stamp, with_progress
from wsol_bench.datasets.formats.file_names import stays_below
from wsol_bench.datasets.formats.segmentations import Segmentations
from wsol_bench.datasets.formats.text import LARGEST
from wsol_bench.errors import DatasetError, ImageError

__all__ = ["CocoFile"]

# Greater numbers are not exact as floats, which some tools write them by.
_LARGEST_ID = 2**53
_CORNERS = ["x0", "y0", "x1", "y1"]


class CocoFile:
    """A JSON file in the format of COCO's ``instances_val2017.json``.

    Its tables are read from the cache if the file was read before.

    Args:
        path: path of the file.
        tables: cache of the tables.
    """

    def __init__(self, path: Path, tables: TableCache) -> None:
        self.path = path
        self._tables = tables
        # Not by its content: that of COCO's training set are 450 MB.
        self._key = stamp(path.parent, look_up(path.parent, [path.name]))

    @cached_property
    def images(self) -> pd.DataFrame:
        """One row an image: id, file (path below the images' folder), width, height (0 for none).

        Raises:
            DatasetError: the file is no such JSON, or a value is not as expected; the message names
                the entry.
        """
        return self._tables.table("coco-images", self._key, self._read_images)

    @cached_property
    def categories(self) -> pd.DataFrame:
        """One row a category: id, name.

        Raises:
            DatasetError: a value is not as expected; the message names the entry.
        """
        return self._tables.table("coco-categories", self._key, self._read_categories)

    @cached_property
    def objects(self) -> pd.DataFrame:
        """One row an annotation: its place in the file, image and category, crowd, and corners.

        Image and category are positions in their tables, -1 if they have no such id. Corners are
        half-open x0, y0, x1, y1, NaN without a ``bbox``.

        Raises:
            DatasetError: a value is not as expected; the message names the entry.
        """
        return self._tables.table("coco-objects", self._key, self._read_objects)

    def masks(self) -> pd.DataFrame:
        """One row for each category of an image: its objects' pixels, and its crowds', as one mask.

        Returns:
            image, category (positions), counts and ignore (run lengths as ``masks.RunLengths`` has
            them, "" for none), and problem: why the objects' pixels are not known, or "".

        Raises:
            DatasetError: a segmentation is not as expected; the message names the entry.
        """
        return self._tables.table("coco-masks", self._key, self._read_masks)

    def _where(self, key: str, index: int) -> str:
        entry = self._content[key][index]
        name = (
            f" (id {str(entry['id'])[:40]!r})" if isinstance(entry, dict) and "id" in entry else ""
        )
        return f"{self.path}, {key}[{index}]{name}"

    @cached_property
    def _content(self) -> dict[str, list[dict[str, Any]]]:
        """The three lists of the file, whose entries are mappings."""
        text = read_text(self.path)
        try:
            content = json.loads(text, parse_constant=_refused)
        except RecursionError as error:
            raise DatasetError(f"{self.path}: JSON nested too deeply to be read") from error
        except ValueError as error:
            raise DatasetError(f"{self.path}: expected JSON, found: {error}") from error
        if not isinstance(content, dict):
            raise DatasetError(
                f"{self.path}: expected COCO's JSON object with images, annotations and "
                f"categories, found a {type(content).__name__}"
                + ("; is it a file of results (predictions)?" if isinstance(content, list) else "")
            )
        lists = {}
        for key in ("images", "annotations", "categories"):
            entries = content.get(key)
            if not isinstance(entries, list):
                found = "none" if entries is None else f"a {type(entries).__name__}"
                keys = ", ".join(map(str, list(content)[:8]))
                raise DatasetError(
                    f"{self.path}: expected a list {key!r}, found {found} among the keys {keys}"
                )
            for index, entry in enumerate(entries):
                if not isinstance(entry, dict):
                    raise DatasetError(
                        f"{self.path}, {key}[{index}]: expected an object with keys, found a "
                        f"{type(entry).__name__}"
                    )
            lists[key] = entries
        return lists

    def _column(
        self,
        key: str,
        field: str,
        is_right: Callable[[Any], bool],
        expected: str,
        default: Any = None,
    ) -> list[Any]:
        """The values of a field in all entries of a list.

        Args:
            key: name of the list.
            field: name of the field.
            is_right: whether a value is as expected.
            expected: what is expected, for the error.
            default: value of entries without the field.
        """
        values = [entry.get(field, default) for entry in self._content[key]]
        for index, value in enumerate(values):
            if not is_right(value):
                found = "none" if value is None else repr(value)[:80]
                raise DatasetError(
                    f"{self._where(key, index)}: expected {field!r} to be {expected}, found {found}"
                )
        return values

    def _ids(self, key: str, field: str = "id", *, unique: bool = True) -> list[int]:
        ids = self._column(key, field, _is_id, "a whole number")
        if unique:
            self._require_unique(key, field, ids)
        return ids

    def _require_unique(self, key: str, field: str, values: list[Any]) -> None:
        if len(set(values)) == len(values):
            return
        seen = set()
        for index, value in enumerate(values):
            if value in seen:
                where = self._where(key, index)
                raise DatasetError(f"{where}: expected each {field!r} once, found {value!r} again")
            seen.add(value)

    def _read_images(self) -> pd.DataFrame:
        files = self._column(
            "images", "file_name", _is_file, "a path that stays below the folder of the images"
        )
        self._require_unique("images", "file_name", files)
        sizes = {
            side: self._column("images", side, _is_size, "a whole number of pixels", 0)
            for side in ("width", "height")
        }
        table = pd.DataFrame({"id": self._ids("images"), "file": files, **sizes})
        whole = dict.fromkeys(("id", "width", "height"), np.int64)
        return table.astype({"file": "str", **whole})

    def _read_categories(self) -> pd.DataFrame:
        names = self._column("categories", "name", _is_name, "the name of a class")
        names = [name.strip() for name in names]
        self._require_unique("categories", "name", names)
        table = pd.DataFrame({"id": self._ids("categories"), "name": names})
        return table.astype({"id": np.int64, "name": "str"})

    def _read_objects(self) -> pd.DataFrame:
        # "bbox" and "category_id" are what files of captions lack.
        numbers = "four numbers of pixels, [x, y, width, height]"
        boxes = self._column("annotations", "bbox", _is_box, numbers, [])
        crowd = self._column("annotations", "iscrowd", _is_flag, "0 or 1", 0)
        places = {
            field: pd.Index(table["id"]).get_indexer(
                pd.Index(self._ids("annotations", f"{field}_id", unique=False), dtype=np.int64)
            )
            for field, table in (("image", self.images), ("category", self.categories))
        }
        corners = np.array([box or [math.nan] * 4 for box in boxes], np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        return pd.DataFrame({"entry": np.arange(len(boxes)), **places, "crowd": crowd}).assign(
            crowd=np.array(crowd, np.bool_),
            **dict(zip(_CORNERS, corners.T, strict=True)),
        )

    def _read_masks(self) -> pd.DataFrame:
        segmentations = Segmentations()
        objects = self.objects[(self.objects["image"] >= 0) & (self.objects["category"] >= 0)]
        objects = objects.sort_values(["image", "category"], kind="stable")
        entries: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
        columns = objects[["image", "category", "crowd", "entry"]].itertuples(index=False)
        for image, category, crowd, entry in columns:
            entries.setdefault((image, category), ([], []))[crowd].append(entry)
        sizes = self.images[["height", "width"]].to_numpy(np.int64).tolist()
        rows = []
        for pair in with_progress(list(entries), "drawing masks", "masks"):
            size = sizes[pair[0]]
            counts, lacking = self._union(segmentations, entries[pair][False], *size)
            ignore, more = self._union(segmentations, entries[pair][True], *size)
            lacking += more
            problem = f"no segmentation of annotation {lacking[0]}" if lacking else ""
            rows.append((*pair, counts, ignore, problem))
        table = pd.DataFrame(rows, columns=["image", "category", "counts", "ignore", "problem"])
        texts = dict.fromkeys(("counts", "ignore", "problem"), "str")
        return table.astype({"image": np.int64, "category": np.int64, **texts})

    def _union(
        self, segmentations: Segmentations, entries: Iterable[int], height: int, width: int
    ) -> tuple[str, list[str]]:
        """The pixels of annotations as run lengths, "" for none; ids of those without pixels."""
        masks, lacking = [], []
        for index in entries:
            entry = self._content["annotations"][index]
            try:
                mask = segmentations.encode(entry.get("segmentation"), height, width)
            except ImageError as error:
                where = self._where("annotations", index)
                raise DatasetError(f"{where}: 'segmentation': {error}") from error
            if mask is None:
                lacking.append(str(entry.get("id", index))[:40])
            else:
                masks.append(mask)
        return segmentations.union(masks) if masks else "", lacking


def _refused(constant: str) -> float:
    raise ValueError(f"the number {constant}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST


def _is_id(value: Any) -> bool:
    return type(value) is int and abs(value) <= _LARGEST_ID


def _is_size(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value % 1 == 0


def _is_flag(value: Any) -> bool:
    return type(value) is int and value in (0, 1)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_file(value: Any) -> bool:
    return _is_name(value) and stays_below(value)


def _is_box(value: Any) -> bool:
    return value is None or (
        type(value) is list and len(value) in (0, 4) and all(map(_is_number, value))
    )
