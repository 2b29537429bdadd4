"""Tables of classes: LOC_synset_mapping.txt, synsets.csv, and the devkit's meta.mat.

Each reader returns one row a class, in the file's order: wnid, words, ilsvrc_id (0 if the file has
no IDs).
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wsol_bench.common import data_files
from wsol_bench.common.text_files import read_lines
from wsol_bench.datasets.formats.csv import read_csv_table
from wsol_bench.datasets.formats.text import malformed
from wsol_bench.errors import DatasetError

__all__ = [
    "class_on_line",
    "read_classes",
    "read_meta_mat",
    "read_synset_mapping",
    "read_synsets_csv",
]

# Leaves of the devkit's hierarchy have the IDs 1 to 1000; 1001 is its root, the rest is inside.
LAST_LEAF = 1000


def read_classes(path: Path, names: Collection[str] = ()) -> pd.DataFrame:
    """The table of classes in a file, whose format follows from its extension.

    ``read_meta_mat`` reads .mat, ``read_synsets_csv`` .csv, and ``read_synset_mapping`` all others.

    Args:
        path: path of the file.
        names: names of classes; see ``class_on_line``.
    """
    suffix = path.suffix.lower()
    if suffix == ".mat":
        return read_meta_mat(path)
    return read_synsets_csv(path) if suffix == ".csv" else read_synset_mapping(path, names)


def class_on_line(line: str, names: Collection[str]) -> tuple[str, str]:
    """The class on a line that is not blank, and its words (the class again if it has none).

    A tab ends the class. Without a tab, the class is the whole line if that is one of ``names``,
    and otherwise the first word.
    """
    line = line.strip()
    if line in names:
        return line, line
    parts = line.split("\t", 1) if "\t" in line else line.split(maxsplit=1)
    return parts[0].strip(), parts[-1].strip()


def read_synset_mapping(path: Path, names: Collection[str] = ()) -> pd.DataFrame:
    """The classes of a file like ``LOC_synset_mapping.txt``: a class and its words a line."""
    lines = (line for line in read_lines(path) if line.strip())
    return _classes(path, [(*class_on_line(line, names), 0) for line in lines])


def read_synsets_csv(path: Path) -> pd.DataFrame:
    """The classes of a CSV file with the columns ``ilsvrc2012_id,wnid,words``, and maybe others.

    Raises:
        DatasetError: a column is missing, or an ID is no whole number; the message names file and
            line.
    """
    table = read_csv_table(path, ("ilsvrc2012_id", "wnid", "words"))
    rows = []
    columns = table[["ilsvrc2012_id", "wnid", "words"]]
    for line, number, wnid, words in columns.itertuples(name=None):
        number = number.strip()
        if not number.isdecimal() or len(number) > 18 or not wnid:
            raise malformed(path, line, "a whole number and a wnid", f"{number},{wnid}")
        rows.append((wnid, words or wnid, int(number)))
    return _classes(path, [row for row in rows if row[2] <= LAST_LEAF])


def read_meta_mat(path: Path) -> pd.DataFrame:
    """The classes of the devkit's ``meta.mat``: its leaves, without the internal nodes.

    Raises:
        DatasetError: the file is no MATLAB file, or has no struct array ``synsets`` like the
            devkit's.
    """
    # Slow to import, and needed once: the result is cached.
    from scipy.io import loadmat

    try:
        with data_files.opened(path) as file:
            synsets = loadmat(file)["synsets"]  # type: ignore[arg-type]  # takes files, too
        rows = [
            (
                str(_scalar(synset["WNID"])).strip(),
                str(_scalar(synset["words"])).strip(),
                int(_scalar(synset["ILSVRC2012_ID"])),
            )
            for synset in np.asarray(synsets).reshape(-1)
            if int(_scalar(synset["num_children"])) == 0
        ]
    except Exception as error:  # a damaged file can make scipy raise any error
        raise DatasetError(
            f"{path}: expected the devkit's struct array 'synsets' with WNID, words, "
            f"ILSVRC2012_ID and num_children, found {type(error).__name__}: {error}"
        ) from error
    return _classes(path, [row for row in rows if row[2] <= LAST_LEAF])


def _scalar(value: Any) -> Any:
    """The value in a MATLAB cell, however many singleton dimensions are around it."""
    while isinstance(value, np.ndarray):
        value = value.reshape(-1)[0]
    return value


def _classes(path: Path, rows: list[tuple[str, str, int]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["wnid", "words", "ilsvrc_id"])
    table = table.astype({"wnid": "str", "words": "str", "ilsvrc_id": np.int64})
    if table.empty:
        raise DatasetError(f"{path}: expected one class a line, found none")
    for column in ("wnid", "ilsvrc_id"):
        values = table.loc[table[column] != 0, column]
        repeated = values[values.duplicated()]
        if len(repeated):
            raise DatasetError(
                f"{path}: expected each {column} once, found {repeated.tolist()[0]!r} twice"
            )
    return table
