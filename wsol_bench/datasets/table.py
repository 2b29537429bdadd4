"""A user's data set in a CSV or Parquet file with one row a box."""

from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from wsol_bench.common import data_files
from wsol_bench.common.files import existing
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.assembly import CORNERS, ImageFiles, assemble, class_table, find_images
from wsol_bench.datasets.base import Dataset, dataset
from wsol_bench.datasets.box_frames import MOST_SHARE, all_are_shares
from wsol_bench.datasets.formats.csv import CsvRows, read_csv_table
from wsol_bench.datasets.formats.file_names import stays_below
from wsol_bench.datasets.formats.text import LARGEST
from wsol_bench.datasets.recognition import Recognition, n_lines
from wsol_bench.datasets.synsets import read_class_table
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import HALF_OPEN, INCLUSIVE, ONE_BASED_INCLUSIVE, Boxes

__all__ = ["table"]

ConventionName = Literal["half_open", "inclusive", "one_based_inclusive", "xywh", "normalized"]

_CONVENTIONS = {
    "half_open": HALF_OPEN,
    "inclusive": INCLUSIVE,
    "one_based_inclusive": ONE_BASED_INCLUSIVE,
    "xywh": HALF_OPEN,
    "normalized": HALF_OPEN,
}
# Shares are written with six digits or more, or by float32: this near to an edge they are at it.
_ROUNDING = 1e-6
_SIZE = ["width", "height"]


# The kinds of files that are taken for a table, how many of a folder's files are looked at, and
# how many rows of each.
_SUFFIXES, _MOST_FILES, _HEAD = (".csv", ".parquet"), 50, 200


def _recognize(root: Path) -> Recognition:
    """See ``Recognition``: a file with the columns of boxes, or a folder that holds one."""
    files = [root]
    if not data_files.is_file(root):
        files = [root / name for name in sorted(data_files.names_in(root))]
    files = [path for path in files if path.suffix.lower() in _SUFFIXES]
    tables = [path for path in files if data_files.is_file(path)]
    heads = {path: _head(path) for path in tables[:_MOST_FILES]}
    path, head = max(heads.items(), key=lambda item: _n_needed(item[1]), default=(root, None))
    columns = set() if head is None else set(head)
    is_xywh = columns >= {"x", "y", "w", "h"}
    needs = {
        "a .csv or .parquet file with the columns image, label": columns >= {"image", "label"},
        "its columns x0, y0, x1, y1 (or x, y, w, h)": is_xywh or columns >= set(CORNERS),
    }
    if head is None or not all(needs.values()):
        return Recognition(needs, {})
    seen, unsure = [f"the columns {', '.join(map(str, head))} in {path.name}"], {}
    if path.suffix.lower() == ".csv":
        seen += [f"{n_lines(path, header=1)} boxes in {path.name}"]
    options = {"path": str(path), "convention": "xywh"}
    if not is_xywh:
        corners = head[CORNERS].apply(pd.to_numeric, errors="coerce").dropna().to_numpy(np.float64)
        options["convention"] = "normalized" if all_are_shares(corners) else "half_open"
        unsure["convention"] = "inclusive  # or one_based_inclusive: no file tells, so look it up"
    image = str(head["image"].iloc[0]) if len(head) else ""
    places = [path.parent, path.parent / "images"] if image and stays_below(image) else []
    folder = next((place for place in places if data_files.is_file(place / image)), None)
    if folder is None:
        unsure["images"] = f"/path/to/images  # the folder that holds {image}, which was not found"
    else:
        options["images"] = str(folder)
    return Recognition(needs, options, tuple(seen), unsure, images=folder is not None)


def _n_needed(head: pd.DataFrame) -> int:
    """The number of a table's columns that are those of boxes."""
    return len({"image", "label", *CORNERS, "x", "y", "w", "h"} & set(head))


def _head(path: Path) -> pd.DataFrame:
    """The first rows of a file that may be a table, with names in lower case; empty for another."""
    try:
        if path.suffix.lower() == ".parquet":
            with data_files.opened(path) as file:
                batch = next(pq.ParquetFile(file).iter_batches(batch_size=_HEAD))
                head = batch.to_pandas()
        else:
            names, *rows = islice(filter(None, CsvRows(path)), _HEAD)
            head = pd.DataFrame([row for row in rows if len(row) == len(names)], columns=names)
    except Exception:  # a damaged file can make the readers raise any error
        return pd.DataFrame()
    head.columns = pd.Index([str(name).strip().lower() for name in head.columns])
    return head.loc[:, ~head.columns.duplicated()]


@dataset("table", recognize=_recognize)
def table(
    *,
    path: Path,
    convention: ConventionName,
    images: Path | None = None,
    classes: Path | None = None,
    cache: bool = True,
) -> Dataset:
    """A CSV or Parquet file of your own with one row a box: image, label, x0, y0, x1, y1.

    Images come in the order of their first rows; ``image`` is the id, and the path in ``images``. A
    row without corners names an image that has no box. The columns width and height, if any, are
    the size of the image that the boxes were drawn on; other columns do not count.

    Args:
        path: path of the file: Parquet if its name ends with ``.parquet``, else CSV with a header.
        convention: convention of the corners: "half_open" (x1 is the end behind the last pixel),
            "inclusive" (x1 is the last pixel, the first pixel of an image is 0),
            "one_based_inclusive" (the first is 1, as in Pascal VOC), "xywh": columns x, y, w, h,
            of half-open boxes, or "normalized": shares of the image's width and height, from 0 to
            1, which need the sizes of the images.
        images: folder that the images' paths are relative to; without it there are annotations
            only, which can score predictions.
        classes: file with a class and its words a line (or a file that ``imagenet`` takes); by
            default the labels. Classes are sorted as text.
        cache: whether to keep the parsed file and the sizes from image headers for the next load.

    Raises:
        DatasetError: the file, a column or a cell is not as described, an image has two labels or
            sizes, a path leaves the folder, all images are left out, or boxes are no pixels.
    """
    path = existing(path, "path")
    tables = TableCache(enabled=cache)
    columns = ["x", "y", "w", "h"] if convention == "xywh" else CORNERS
    rows = tables.file(f"table-{''.join(columns)}", path, lambda file: _read(file, columns))
    if convention == "xywh":
        rows[["x1", "y1"]] += rows[["x0", "y0"]].to_numpy()

    listed = rows.drop_duplicates("image").assign(image_id=rows["image"], file=rows["image"])
    listed = listed[["image_id", "file", "label", *_SIZE]].reset_index(drop=True)
    frame, findings = _find_images(listed, images, tables)
    place = pd.Index(frame["image_id"]).get_indexer(rows["image"])
    objects = rows.assign(image=place, wnid=rows["label"])[(place >= 0) & rows["x0"].notna()]
    if convention == "normalized":
        objects[CORNERS] = _in_pixels(objects, frame, path)
    known_classes = class_table({label: label for label in listed["label"] if label})
    if classes is not None:
        files = [existing(classes, "classes")]
        known_classes = read_class_table(files, tables, otherwise=listed["label"])
    return assemble(
        "table",
        frame,
        objects,
        known_classes,
        findings,
        convention=_CONVENTIONS[convention],
        source=f"{path}",
    )


def _find_images(listed: pd.DataFrame, folder: Path | None, tables: TableCache) -> ImageFiles:
    """The listed images that exist; all of them if there are annotations only."""
    if folder is None:
        return ImageFiles(listed.assign(path="", keep=True), [])
    annotated = listed.rename(columns={side: f"annotated_{side}" for side in _SIZE})
    return find_images(existing(folder, "images"), annotated, tables)


def _in_pixels(objects: pd.DataFrame, frame: pd.DataFrame, path: Path) -> Boxes:
    """The corners in pixels of boxes that are written as shares of their images.

    They are in pixels of the size that the file gives to an image, or else of the image itself.

    Raises:
        DatasetError: a corner is no share, or the size of an image is not known.
    """
    shares = objects[CORNERS].to_numpy(np.float64)
    ids = frame["image_id"].to_numpy(object)[objects["image"]]
    wrong = (np.abs(shares) > MOST_SHARE).any(axis=1)
    if wrong.any():
        first = int(wrong.argmax())
        box = ", ".join(f"{value:g}" for value in shares[first])
        raise DatasetError(
            f"{path}: expected shares of the image's sides, from 0 to 1, under convention: "
            f"normalized, found ({box}) for image {ids[first]!r}; the other conventions are for "
            "pixels"
        )
    sizes = frame[_SIZE].to_numpy(np.float64)
    if "annotated_width" in frame:
        said = frame[[f"annotated_{side}" for side in _SIZE]].to_numpy(np.float64)
        sizes = np.where((said > 0).all(axis=1, keepdims=True), said, sizes)
    sizes = sizes[objects["image"]]
    unknown = (sizes == 0).any(axis=1) & frame["keep"].to_numpy(np.bool_)[objects["image"]]
    if unknown.any():
        raise DatasetError(
            f"{path}: expected the sizes of the images, which convention: normalized needs, found "
            f"none of {ids[int(unknown.argmax())]!r}; name the folder of the images with images=, "
            "or add the columns width and height"
        )
    edges = np.rint(shares)
    shares = np.where(np.abs(shares - edges) <= _ROUNDING, edges, shares)
    return np.asarray(shares * np.tile(sizes, 2))


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    """The rows of a file: image, label, x0, y0, x1, y1, width, height.

    The corners are as they stand in the file, NaN if the row has no box.

    Args:
        path: path of the file.
        columns: names of the four columns of a box.
    """
    is_parquet = path.suffix.lower() == ".parquet"
    cells = _read_parquet(path) if is_parquet else _Cells(path, "line", read_csv_table(path))
    names = cells.frame.columns.tolist()
    sides = _SIZE if set(_SIZE) & set(names) else []
    for name in (needed := ["image", "label", *columns, *sides]):
        if names.count(name) != 1:
            raise DatasetError(
                f"{path}: expected one column {name!r} among {','.join(needed)}, found "
                f"{names.count(name)} among {','.join(names)[:80]!r}"
            )
    ids = cells.frame["image"]
    safe = [name for name in ids.unique() if name and stays_below(name)]
    cells.require(ids.isin(safe), "image", "a path that stays in its folder")
    rows = cells.frame[["image", "label"]].copy()
    boxes = pd.DataFrame({name: cells.numbers(name) for name in columns})
    for name in columns:
        complete = boxes[name].notna() | boxes.isna().all(axis=1)
        cells.require(complete, name, "a number, as in the row's other corners")
    rows[CORNERS] = boxes
    rows[_SIZE] = 0
    for name in sides:
        size = cells.numbers(name).fillna(0)
        cells.require((size >= 0) & (size % 1 == 0), name, "a whole number of pixels")
        rows[name] = size.astype(np.int64)
    for name in ("label", *sides):
        first = rows.groupby("image")[name].transform("first")
        cells.require(rows[name] == first, name, "the same as in the image's first row")
    return rows.reset_index(drop=True)


class _Cells(NamedTuple):
    """The cells of a file as text.

    Attributes:
        path: path of the file.
        unit: what the index of ``frame`` counts, "line" or "row", from 1.
        frame: cells, with column names in lower case; an empty cell is "".
    """

    path: Path
    unit: str
    frame: pd.DataFrame

    def require(self, right: pd.Series, column: str, expected: str) -> None:
        """Raise DatasetError, which names the first cell of the column where ``right`` is False."""
        if not right.all():
            line = right.index[int((~right).to_numpy().argmax())]
            raise DatasetError(
                f"{self.path}, {self.unit} {line}, column {column}: expected {expected}, found "
                f"{str(self.frame.at[line, column])[:80]!r}"
            )

    def numbers(self, column: str) -> pd.Series:
        """The column as numbers, NaN for an empty cell."""
        text = self.frame[column]
        values = pd.to_numeric(text, errors="coerce").astype(np.float64)
        self.require((text == "") | (values.abs() <= LARGEST), column, "a number of pixels")
        return values


def _read_parquet(path: Path) -> _Cells:
    """The cells of a Parquet file."""
    try:
        with data_files.opened(path) as file:
            frame = pd.read_parquet(file, engine="pyarrow", dtype_backend="numpy_nullable")
        # As Python's objects: only then text that is not UTF-8 is an error.
        frame = frame.reset_index(drop=True).astype("string").fillna("").astype(object)
    except Exception as error:  # a damaged file can make the reader raise any error
        reason = " ".join(str(error).split())
        raise DatasetError(f"{path}: expected a Parquet file, found: {reason}") from error
    frame = frame.astype("str")
    frame.columns = pd.Index([str(name).strip().lower() for name in frame.columns])
    return _Cells(path, "row", frame.set_index(np.arange(1, len(frame) + 1)))
