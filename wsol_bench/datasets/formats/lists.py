"""Lists in text files: image ids, numbers, and columns between separators."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int64

from wsol_bench.common.text_files import read_lines
from wsol_bench.datasets.folders import has_content
from wsol_bench.datasets.formats.file_names import image_id_of, stays_below
from wsol_bench.datasets.formats.text import LARGEST, malformed

__all__ = ["ImageList", "read_columns", "read_image_list", "read_numbers"]

_NUMBERED = re.compile(r"(.*\S)\s+([+-]?[0-9]{1,9})")


class ImageList(NamedTuple):
    """The images in a list.

    Attributes:
        ids: image ids in the list's order.
        numbers: number behind each id; None if the list has no column of numbers.
    """

    ids: list[str]
    numbers: list[int] | None


def read_image_list(path: Path) -> ImageList:
    """The image ids in a list, one a line.

    Folders before the name and an image extension after it are dropped
    (``n01440764/n01440764_10026.JPEG 1`` is ``n01440764_10026``). A name may hold blanks. The list
    has a column of numbers (as those of ILSVRC and Pascal VOC) if every line ends with one, and
    the names before the numbers are as distinct as the lines; otherwise a number belongs to the
    name.

    Raises:
        DatasetError: the file cannot be read as text.
    """
    lines = [line.strip() for line in read_lines(path) if line.strip()]
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    columns = [(match[1], int(match[2])) for match in numbered if match]
    if lines and len(columns) == len(lines) and len(dict(columns)) == len(set(columns)):
        return ImageList([image_id_of(name) for name, _ in columns], [n for _, n in columns])
    return ImageList([image_id_of(line) for line in lines], None)


def read_numbers(path: Path) -> Int64[np.ndarray, " n"]:
    """The whole numbers in a file, one a line: the devkit's ground-truth IDs, or its blacklist.

    Raises:
        DatasetError: a line is no whole number from 1 to ``LARGEST``; the message names file and
            line.
    """
    lines = [line.strip() for line in read_lines(path)]
    while lines and not lines[-1]:
        lines.pop()
    try:
        numbers = np.array(list(map(int, lines)), dtype=np.int64)
    except (ValueError, OverflowError):
        is_whole = (line.isdecimal() and len(line) < 18 for line in lines)
        numbers = np.array(
            [int(line) if whole else 0 for line, whole in zip(lines, is_whole, strict=True)]
        )
    wrong = (numbers < 1) | (numbers > LARGEST)
    if wrong.any():
        line = int(wrong.argmax())
        expected = f"a whole number from 1 to {LARGEST}"
        raise malformed(path, line + 1, expected, lines[line])
    return numbers


def read_columns(
    path: Path,
    columns: Sequence[str],
    *,
    numbers: int = 0,
    separator: str | None = None,
    key: str | None = None,
    optional: bool = False,
) -> pd.DataFrame:
    """The table in a text file without a header: columns of text, then columns of numbers.

    Args:
        path: path of the file, whose blank lines do not count.
        columns: names of the columns, in the file's order; "file" must be a path that stays in its
            folder.
        numbers: how many of the last columns hold finite numbers.
        separator: text between columns; None is any white space, which the last column may hold.
        key: name of a column in which no value may occur twice.
        optional: whether the table is empty, instead of an error, if the file is missing or empty.

    Raises:
        DatasetError: the file has no line, or a line does not fit; the message names file and
            line.
    """
    present = not optional or has_content(path)
    form = f"'{' '.join(columns)}'" + (f" with {numbers} numbers" if numbers else "")
    first_number = len(columns) - numbers
    rows: list[list[str]] = []
    keys: set[str] = set()
    for line, text in enumerate(read_lines(path) if present else (), start=1):
        if not text.strip():
            continue
        row = [cell.strip() for cell in text.split(separator, len(columns) - 1)]
        record = dict(zip(columns, row, strict=False))
        expected = ""
        if (
            len(row) != len(columns)
            or not all(row)
            or not all(map(_is_coordinate, row[first_number:]))
        ):
            expected = form
        elif not stays_below(record.get("file", "file")):
            expected = "a file that lies below its folder"
        elif key is not None and record[key] in keys:
            expected = f"each {key} once"
        if expected:
            raise malformed(path, line, expected, text.strip())
        if key is not None:
            keys.add(record[key])
        rows.append(row)
    if not rows and not optional:
        raise malformed(path, 1, f"lines of {form}", "")
    table = pd.DataFrame(rows, columns=list(columns), dtype="str")
    return table.astype(dict.fromkeys(columns[first_number:], np.float64))


def _is_coordinate(text: str) -> bool:
    """Return whether a text is a number that a file may hold: finite, and not above ``LARGEST``."""
    try:
        return abs(float(text)) <= LARGEST
    except ValueError:
        return False
