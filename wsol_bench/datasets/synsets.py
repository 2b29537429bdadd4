"""The classes of a data set by wnid, their order, and the class that a name means."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.formats.class_tables import read_classes, read_meta_mat

__all__ = ["numbered_order", "read_class_table", "resolve_names"]

WNID = re.compile(r"n\d{8}")
# A word with one number. Words of several (0k4j) are codes, and leading zeros make a code, too.
_NUMBERED_WORD = re.compile(r"(?<![^\W_])([^\W\d_]*)([1-9][0-9]*)(?=[^\W\d_]*(?![^\W_]))")


def numbered_order(names: Iterable[str]) -> list[str] | None:
    """Class names by the numbers in them, if that is another order than that of text; else None.

    As text 10 comes before 2. Names whose numbers have leading zeros, and wnids, have one order.

    >>> numbered_order(["1", "10", "2"])
    ['1', '2', '10']
    >>> numbered_order(["01", "02", "10"])
    """
    as_text = sorted(names)
    by_number = sorted(
        as_text,
        # A longer number is greater: its length goes before it.
        key=lambda name: _NUMBERED_WORD.sub(
            lambda word: f"{word[1]}{min(len(word[2]), 9)}{word[2]}", name
        ),
    )
    return None if by_number == as_text else by_number


def read_class_table(
    files: Iterable[Path], tables: TableCache, *, otherwise: Iterable[str]
) -> pd.DataFrame:
    """The classes of several files, merged by wnid.

    Args:
        files: files that ``formats.class_tables.read_classes`` reads; the first file's words win.
        tables: cache of the files' tables.
        otherwise: class names in the data set: they are the classes if ``files`` is empty, and a
            line of a file that is one of them as a whole ("polar bear") is that class.

    Returns:
        One row a class: wnid (sorted), words, ilsvrc_id (0 if no file has it).
    """
    named = {name for name in otherwise if name}
    # Only meta.mat takes long to read.
    read = [
        tables.file("classes.mat", path, read_meta_mat)
        if path.suffix.lower() == ".mat"
        else read_classes(path, named)
        for path in files
    ]
    if read:
        merged = pd.concat(read)
        # A file without words has the wnid in place of words: another file's words are better.
        merged = merged.iloc[np.argsort(merged["words"] == merged["wnid"], kind="stable")]
        table = merged.groupby("wnid", as_index=False).agg({"words": "first", "ilsvrc_id": "max"})
    else:
        # If any name is a wnid, the other names are words.
        names = sorted(filter(WNID.fullmatch, named)) or sorted(named)
        table = pd.DataFrame({"wnid": names, "words": names, "ilsvrc_id": 0})
    table = table.astype({"wnid": "str", "words": "str", "ilsvrc_id": np.int64})
    return table.sort_values("wnid", ignore_index=True)


def resolve_names(names: pd.Series, labels: np.ndarray, classes: pd.DataFrame) -> np.ndarray:
    """The wnid of every object; "" if its name is neither a wnid nor the words of one class.

    Args:
        names: name of each object.
        labels: (n,) wnid of each object's image, "" if unknown.
        classes: table of ``read_class_table``.
    """
    codes, distinct = pd.factorize(names)
    wnids = np.where(distinct.isin(classes["wnid"]), distinct, "").astype(object)[codes]
    unresolved = np.flatnonzero((wnids == "") & (names != "").to_numpy())
    if not len(unresolved):
        return wnids
    words = {
        wnid: _plain(text) for wnid, text in zip(classes["wnid"], classes["words"], strict=True)
    }
    wnids_of: dict[str, list[str]] = {}
    for wnid, text in words.items():
        for name in {text, *text.split(", ")}:
            wnids_of.setdefault(name, []).append(wnid)
    for index in unresolved:
        name, label = _plain(names.iloc[index]), labels[index]
        # A "dog" is a Dalmatian if that is the image's label; words are not unique ("crane").
        if re.search(rf"\b{re.escape(name)}\b", words.get(label, "")):
            wnids[index] = label
        elif len(wnids_of.get(name, ())) == 1:
            wnids[index] = wnids_of[name][0]
    return wnids


def _plain(words: str) -> str:
    """Words in lower case, with single spaces and no underscores."""
    return " ".join(words.casefold().replace("_", " ").split())
