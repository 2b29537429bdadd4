"""The rows of a table of boxes, checked cell by cell."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from wsol_bench.common import data_files
from wsol_bench.datasets.assembly import CORNERS
from wsol_bench.datasets.box_conventions import BoxConvention, to_corners
from wsol_bench.datasets.formats.columns import find_columns
from wsol_bench.datasets.formats.csv import read_csv_cells
from wsol_bench.datasets.formats.file_names import stays_below
from wsol_bench.datasets.formats.text import LARGEST
from wsol_bench.errors import DatasetError

__all__ = ["OPTIONAL", "is_parquet", "needed_columns", "read_rows"]

_SIZE = ["width", "height"]
_FLAGS = ["blacklisted", "held_out"]
# The columns that are read if they are there.
OPTIONAL = (*_SIZE, "box_label", "sample_id", *_FLAGS)


def needed_columns(convention: BoxConvention) -> tuple[str, ...]:
    """The columns that a table must have."""
    return ("image", "label", *convention.columns)


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet by its name."""
    return path.suffix.lower() == ".parquet"


def read_rows(
    path: Path, convention: BoxConvention, columns: Mapping[str, str | int]
) -> pd.DataFrame:
    """The rows of a file, each with the sample that it belongs to.

    Args:
        path: path of the file.
        convention: convention of the boxes.
        columns: name in the file or position of a column, by its name here.

    Returns:
        One row a row of the file: image, label, box_label, image_id (of the sample: the cell
        sample_id, or else the image, behind which stands ``/label`` if the image has several),
        several (whether it has), the ``CORNERS`` by the convention (NaN if the row has no box),
        width, height (0 if unknown), blacklisted, held_out.

    Raises:
        DatasetError: a column or cell is not as it should be; the message says where.
    """
    cells = _read_parquet(path, convention, columns)
    if cells is None:
        cells = _read_csv(path, convention, columns)
    names = set(cells.frame)
    for name in sorted(set(_SIZE) - names) if set(_SIZE) & names else ():
        raise DatasetError(
            f"{path}: expected one column {name!r} among width,height, found 0: a size has both"
        )
    ids = cells.frame["image"]
    safe = [name for name in ids.unique() if name and stays_below(name)]
    cells.require(ids.isin(safe), "image", "a path that stays in its folder")
    rows = cells.frame[["image", "label"]].copy()
    rows["box_label"] = cells.text("box_label").where(cells.text("box_label") != "", rows["label"])
    rows[CORNERS] = _corners(cells, convention)
    for name in _SIZE:
        size = cells.numbers(name).fillna(0) if name in names else pd.Series(0.0, rows.index)
        cells.require((size >= 0) & (size % 1 == 0), name, "a whole number of pixels")
        rows[name] = size.astype(np.int64)
    for name in _FLAGS:
        text = cells.text(name).str.lower()
        rows[name] = text.isin(["true", "1"])
        cells.require(rows[name] | text.isin(["", "false", "0"]), name, "true or false")
    return _with_samples(rows, cells)


def _corners(cells: "_Cells", convention: BoxConvention) -> np.ndarray:
    """The corners of each row by the convention."""
    boxes = pd.DataFrame({name: cells.numbers(name) for name in convention.columns})
    for name in convention.columns:
        complete = boxes[name].notna() | boxes.isna().all(axis=1)
        cells.require(complete, name, "a number, as in the row's other corners")
    return to_corners(boxes.to_numpy(np.float64), convention)


def _with_samples(rows: pd.DataFrame, cells: "_Cells") -> pd.DataFrame:
    """The rows with image_id and several; DatasetError if a sample or an image contradicts itself.

    Args:
        rows: rows of ``read_rows`` without these two columns.
        cells: the cells that they come from.
    """
    by_image = rows.groupby("image", sort=False)
    for name in _SIZE:
        same = rows[name] == by_image[name].transform("first")
        cells.require(same, name, "the same as in the image's first row")
    given = cells.text("sample_id")
    if (given != "").any():
        cells.require(given != "", "sample_id", "an id, as in other rows")
        by_sample = rows.assign(id=given).groupby("id", sort=False)
        for name in ("image", "label", *_FLAGS):
            same = rows[name] == by_sample[name].transform("first")
            cells.require(same, name, "the same as in the first row of the sample_id")
        return rows.assign(image_id=given, several=False).reset_index(drop=True)
    several = by_image["label"].transform("nunique") > 1
    cells.require(
        ~several | (rows["label"] != ""), "label", "a label, as in the image's other rows"
    )
    image_id = rows["image"].where(~several, rows["image"] + "/" + rows["label"])
    by_sample = rows.assign(id=image_id).groupby("id", sort=False)
    for name in _FLAGS:
        same = rows[name] == by_sample[name].transform("first")
        cells.require(same, name, "the same as in the first row of the image's label")
    return rows.assign(image_id=image_id, several=several).reset_index(drop=True)


class _Cells(NamedTuple):
    """The cells of a file as text, by the names that columns have in this package.

    Attributes:
        path: path of the file.
        unit: what the index of ``frame`` counts, "line" or "row", from 1.
        frame: cells; an empty cell is "".
        in_file: name of each column in the file, or its position.
    """

    path: Path
    unit: str
    frame: pd.DataFrame
    in_file: Mapping[str, str]

    def require(self, right: pd.Series, column: str, expected: str) -> None:
        """Raise DatasetError, which names the first cell of the column where ``right`` is False."""
        if not right.all():
            line = right.index[int((~right).to_numpy().argmax())]
            raise DatasetError(
                f"{self.path}, {self.unit} {line}, column {self.in_file[column]}: expected "
                f"{expected}, found {str(self.frame.at[line, column])[:80]!r}"
            )

    def text(self, column: str) -> pd.Series:
        """The column as text, all empty if the file does not have it."""
        if column in self.frame:
            return self.frame[column]
        return pd.Series("", self.frame.index, dtype="str")

    def numbers(self, column: str) -> pd.Series:
        """The column as numbers, NaN for an empty cell."""
        text = self.frame[column]
        values = pd.to_numeric(text, errors="coerce").astype(np.float64)
        self.require((text == "") | (values.abs() <= LARGEST), column, "a number of pixels")
        return values


def _read_csv(path: Path, convention: BoxConvention, columns: Mapping[str, str | int]) -> _Cells:
    """The cells of a CSV file."""
    cells = read_csv_cells(path)
    first = cells.iloc[0].tolist() if len(cells) else []
    found = find_columns(first, needed_columns(convention), OPTIONAL, columns, where=str(path))
    frame = cells.iloc[int(found.has_header) :, list(found.places.values())]
    named = {
        name: first[place].lower() if found.has_header else f"{name} (at {place})"
        for name, place in found.places.items()
    }
    return _Cells(path, "line", frame.set_axis(list(found.places), axis=1), named)


def _read_parquet(
    path: Path, convention: BoxConvention, columns: Mapping[str, str | int]
) -> _Cells | None:
    """The cells of a Parquet file; None for a file that is none by its name."""
    if not is_parquet(path):
        return None
    try:
        with data_files.opened(path) as file:
            frame = pd.read_parquet(file, engine="pyarrow", dtype_backend="numpy_nullable")
        # As Python's objects: only then text that is not UTF-8 is an error.
        frame = frame.reset_index(drop=True).astype("string").fillna("").astype(object)
    except Exception as error:  # a damaged file can make the reader raise any error
        reason = " ".join(str(error).split())
        raise DatasetError(f"{path}: expected a Parquet file, found: {reason}") from error
    names = [str(name) for name in frame.columns]
    found = find_columns(
        names, needed_columns(convention), OPTIONAL, columns, where=str(path), always_header=True
    )
    frame = frame.iloc[:, list(found.places.values())].astype("str")
    frame = frame.set_axis(list(found.places), axis=1).set_axis(np.arange(1, len(frame) + 1))
    return _Cells(path, "row", frame, {name: names[i].lower() for name, i in found.places.items()})
