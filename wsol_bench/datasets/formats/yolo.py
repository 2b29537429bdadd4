"""YOLO's text files: one an image, one object a line, in shares of the image; and its data.yaml."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wsol_bench.common.table_cache import TableCache
from wsol_bench.common.text_files import read_lines, read_text
from wsol_bench.common.yaml_files import parse_yaml
from wsol_bench.datasets.folders import stamp, with_progress
from wsol_bench.datasets.formats.text import malformed
from wsol_bench.errors import ConfigError, DatasetError

__all__ = ["read_description", "read_labels", "read_names"]

_BOX = 5  # columns: class, and center and sides of the box
# Shares may leave the image by this much, as YOLO's own check allows.
_TOLERANCE = 0.01
_LAST_CLASS = 99_999
_LONGEST_DESCRIPTION = 2**20


def read_labels(
    folder: Path, files: pd.DataFrame, tables: TableCache, *, n_classes: int, n_point_columns: int
) -> pd.DataFrame:
    """The objects in label files.

    Args:
        folder: folder of the files.
        files: rows of ``look_up`` of files that exist.
        tables: cache of the result.
        n_classes: the number of classes; 0 if it is not known.
        n_point_columns: the number of columns behind a box that hold its key points.

    Returns:
        One row an object: file (position in ``files``), number of its class, and center and sides
        of its box (cx, cy, w, h) in shares of the image; of an outline, the box around it.

    Raises:
        DatasetError: a line is not as described; the message names file and line.
    """

    def read() -> pd.DataFrame:
        rows: list[tuple[float, ...]] = []
        positions = list(range(len(files)))
        for position in with_progress(positions, "reading label files"):
            path = folder / files["file"].iloc[position]
            for line, text in enumerate(read_lines(path), start=1):
                if text.strip():
                    rows.append((position, *_object(path, line, text, n_classes, n_point_columns)))
        table = pd.DataFrame(rows, columns=["file", "number", "cx", "cy", "w", "h"])
        return table.astype({"file": np.int64, "number": np.int64} | dict.fromkeys(_SHARES, float))

    key = f"{stamp(folder, files)} {n_classes} {n_point_columns}"
    return tables.table("yolo", key, read)


_SHARES = ("cx", "cy", "w", "h")


def _object(
    path: Path, line: int, text: str, n_classes: int, n_point_columns: int
) -> tuple[float, float, float, float, float]:
    """The number of an object's class, and center and sides of its box."""
    cells = text.split()
    try:
        numbers = list(map(float, cells))
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)):
        raise malformed(path, line, "'class cx cy w h', five numbers", text.strip())
    number, shares = numbers[0], numbers[1:]
    if number % 1 or not 0 <= number <= _LAST_CLASS:
        raise malformed(path, line, "the number of a class, from 0, in the first column", cells[0])
    if n_classes and number >= n_classes:
        known = f"a class from 0 to {n_classes - 1}, as many as have names"
        raise malformed(path, line, known, cells[0])
    if n_point_columns:
        if len(cells) != _BOX + n_point_columns:
            expected = f"{_BOX + n_point_columns} columns, by kpt_shape"
            raise malformed(path, line, expected, f"{len(cells)} columns")
        shares = shares[:4]
    elif len(cells) == _BOX + 1:
        expected = "'class cx cy w h' (a sixth column makes it a prediction, no ground truth)"
        raise malformed(path, line, expected, text.strip())
    elif len(cells) != _BOX and (len(cells) < 7 or len(cells) % 2 == 0):
        expected = "'class cx cy w h', or the outline 'class x y x y x y ...'"
        raise malformed(path, line, expected, text.strip())
    if not all(-_TOLERANCE <= share <= 1 + _TOLERANCE for share in shares):
        raise malformed(path, line, "shares of the image's sides, from 0 to 1", text.strip())
    if len(shares) > 4:
        x, y = shares[::2], shares[1::2]
        x0, y0, x1, y1 = min(x), min(y), max(x), max(y)
        return number, (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
    cx, cy, width, height = shares
    return number, cx, cy, width, height


def read_description(path: Path) -> dict[str, Any]:
    """The content of a data.yaml.

    Raises:
        DatasetError: it is no YAML mapping, or too large to be one.
    """
    text = read_text(path)
    if len(text) > _LONGEST_DESCRIPTION:
        found = f"found {len(text)}"
        raise DatasetError(f"{path}: expected at most {_LONGEST_DESCRIPTION} characters, {found}")
    try:
        content = parse_yaml(text, str(path))
    except ConfigError as error:
        raise DatasetError(str(error)) from error
    if not isinstance(content, dict):
        raise DatasetError(
            f"{path}: expected a mapping with names, train and val, found a "
            f"{type(content).__name__}"
        )
    return content


def read_names(path: Path, names: Any) -> list[str]:
    """The names of the classes in their numbers' order, from a data.yaml.

    Args:
        path: path of the file, for errors.
        names: value of its key ``names``: a list, or a mapping from numbers.

    Raises:
        DatasetError: it is neither, or a number or a name is missing or there twice.
    """
    if isinstance(names, dict):
        numbers = sorted(names, key=str)
        if {*names} != {*range(len(names))} or bool in map(type, names):
            shown = ", ".join(map(str, numbers[:5]))
            raise DatasetError(
                f"{path}: expected the numbers of classes from 0 to {len(names) - 1} as keys of "
                f"'names', found {shown}"
            )
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        raise DatasetError(f"{path}: expected a list or a mapping of names, found {names!r:.80}")
    texts = [str(name).strip() for name in names]
    for number, name in enumerate(names):
        # YAML takes a bare no, yes or 1 for something else than text; a number is a name.
        if isinstance(name, bool | dict | list) or name is None or not texts[number]:
            raise DatasetError(
                f"{path}: expected text as the name of class {number}, found {name!r:.80}; put it "
                "in quotes"
            )
        if texts[number] in texts[:number]:
            raise DatasetError(
                f"{path}: expected each name once, found {texts[number]!r} for the classes "
                f"{texts.index(texts[number])} and {number}"
            )
    return texts
