"""CSV files: Kaggle's solution of ILSVRC, image sizes, and the rows of any CSV file."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from wsol_bench.common.text_files import read_lines
from wsol_bench.datasets.formats.file_names import image_id_of
from wsol_bench.datasets.formats.text import LARGEST, malformed

__all__ = [
    "CsvRows",
    "delimiter_of",
    "read_csv_cells",
    "read_csv_table",
    "read_image_sizes",
    "read_solution",
]

_DELIMITERS = ",\t;"


class CsvRows:
    """The rows of a CSV file, one after the other; errors name the file and the line.

    Args:
        path: path of the file.
        delimiter: the character between cells.
    """

    def __init__(self, path: Path, delimiter: str = ",") -> None:
        self._path = path
        self._rows = csv.reader(read_lines(path), delimiter=delimiter)

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        try:
            return next(self._rows)
        except csv.Error as error:
            raise malformed(self._path, self.line_num, "a CSV row", str(error)) from error

    @property
    def line_num(self) -> int:
        """The line at which the last row ended, from 1."""
        return self._rows.line_num


def delimiter_of(path: Path) -> str:
    """The delimiter of a file of cells: the comma, tab or semicolon that its first row has most of.

    Delimiters in quotes do not count.

    Raises:
        DatasetError: the file cannot be read as text.
    """
    line = next((line for line in read_lines(path) if line.strip()), "")
    try:
        n_cells = {mark: len(next(csv.reader([line], delimiter=mark))) for mark in _DELIMITERS}
    except csv.Error:  # the reader of all rows says what is wrong, and where
        return ","
    return max(n_cells, key=lambda mark: n_cells[mark])


def read_csv_cells(path: Path) -> pd.DataFrame:
    """The cells of a CSV file, its first row among them, as strings without blanks around them.

    Cells are divided by commas, tabs or semicolons (``delimiter_of``). Columns are numbered from 0.
    The index is the line in the file, from 1; blank lines do not count.

    Raises:
        DatasetError: the file cannot be read, or a line has another number of cells than the first.
    """
    rows = CsvRows(path, delimiter_of(path))
    cells: dict[int, list[str]] = {}
    n_cells = 0
    for row in rows:
        if not row:
            continue
        n_cells = n_cells or len(row)
        if len(row) != n_cells:
            raise malformed(path, rows.line_num, f"{n_cells} columns", ",".join(row))
        cells[rows.line_num] = [cell.strip() for cell in row]
    return pd.DataFrame(cells.values(), list(cells), range(n_cells), dtype="str")


def read_csv_table(path: Path, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """The table in a CSV file with a header, every cell a string without blanks around it.

    Column names are in lower case. The index is the line in the file, from 1; blank lines do not
    count.

    Raises:
        DatasetError: the file cannot be read, lacks one of ``columns`` or has it twice, or a line
            has another number of cells than the header.
    """
    rows = CsvRows(path)
    header = [name.strip().lower() for name in next(rows, [])]
    if any(header.count(name) != 1 for name in columns):
        raise malformed(path, 1, f"the columns {','.join(columns)}", ",".join(header))
    cells = {}
    for row in rows:
        if row and len(row) != len(header):
            raise malformed(path, rows.line_num, f"{len(header)} columns", ",".join(row))
        if row:
            cells[rows.line_num] = [cell.strip() for cell in row]
    return pd.DataFrame(cells.values(), list(cells), header, dtype="str")


def read_solution(path: Path) -> pd.DataFrame:
    """The boxes in a solution CSV as Kaggle has it (``ImageId,PredictionString``).

    Returns:
        One row a box, in the file's order: image_id, name (wnid), xmin, ymin, xmax, ymax (0-based
        inclusive). An image without a box has one row with an empty name and NaN for corners.

    Raises:
        DatasetError: a row cannot be parsed, or an image stands in two rows; the message names file
            and line.
    """
    rows = CsvRows(path)
    header = [cell.strip() for cell in next(rows, [])]
    if header != ["ImageId", "PredictionString"]:
        raise malformed(path, 1, "the header 'ImageId,PredictionString'", ",".join(header))
    ids: list[str] = []
    names: list[str] = []
    corners: list[list[float]] = []
    seen: set[str] = set()
    for row in rows:
        if not row:
            continue
        if len(row) != 2 or not row[0].strip():
            raise malformed(path, rows.line_num, "an image id and its boxes", ",".join(row))
        image_id, tokens = image_id_of(row[0]), row[1].split()
        if image_id in seen:
            raise malformed(path, rows.line_num, "each image once", f"{image_id} again")
        seen.add(image_id)
        if len(tokens) % 5:
            count = f"{len(tokens)} words"
            raise malformed(path, rows.line_num, "groups of 5 'wnid x1 y1 x2 y2'", count)
        for start in range(0, len(tokens), 5):
            try:
                box = [float(token) for token in tokens[start + 1 : start + 5]]
            except ValueError:
                box = [math.nan]
            if not all(map(math.isfinite, box)):
                group = " ".join(tokens[start : start + 5])
                raise malformed(path, rows.line_num, "4 numbers after the wnid", group)
            ids.append(image_id)
            names.append(tokens[start])
            corners.append(box)
        if not tokens:
            ids.append(image_id)
            names.append("")
            corners.append([math.nan] * 4)
    table = pd.DataFrame({"image_id": pd.Series(ids, dtype="str"), "name": names})
    table["name"] = table["name"].astype("str")
    values = np.array(corners, dtype=np.float64).reshape(-1, 4)
    for column, tag in enumerate(("xmin", "ymin", "xmax", "ymax")):
        table[tag] = values[:, column]
    return table


def read_image_sizes(path: Path) -> pd.DataFrame:
    """The sizes of images in a CSV file with the columns ``file,width,height``.

    Returns:
        One row an image: image_id, width, height in pixels; none if there is only the header.

    Raises:
        DatasetError: a column is missing, or a size is no whole number from 1 to ``LARGEST``; the
            message names file and line.
    """
    table = read_csv_table(path, ("file", "width", "height"))
    sizes = table[["width", "height"]].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    wrong = ~((sizes >= 1) & (sizes <= LARGEST) & (sizes % 1 == 0)).all(axis=1).to_numpy()
    if wrong.any():
        first = int(wrong.argmax())
        row = ",".join(map(str, table.iloc[first]))
        raise malformed(path, int(table.index[first]), "a width and a height in pixels", row)
    ids = pd.Series(list(map(image_id_of, table["file"])), dtype="str")
    return pd.DataFrame({"image_id": ids}).join(sizes.astype(np.int64).reset_index(drop=True))
