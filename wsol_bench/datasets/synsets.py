"""The classes of an ImageNet root, and the class that a name in an annotation means."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from wsol_bench.datasets.annotations import read_classes
from wsol_bench.datasets.index import TableCache

__all__ = ["read_class_table", "resolve_names"]

WNID = re.compile(r"n\d{8}")


def read_class_table(
    sources: Iterable[Path], tables: TableCache, *, otherwise: Iterable[str]
) -> pd.DataFrame:
    """All tables of classes merged by wnid: wnid (sorted), words, ilsvrc_id (0: no source says).

    Args:
        sources: files that ``annotations.read_classes`` reads; the words of the first one win.
        tables: where the answers are kept.
        otherwise: names that stand for the classes where there is no source.
    """
    # The extension is part of the kind: it decides how the same bytes are read.
    found = [tables.file(f"classes{path.suffix}", path, read_classes) for path in sources]
    if found:
        merged = pd.concat(found)
        # A source without words says the wnid instead, and then another one's words are better.
        merged = merged.iloc[np.argsort(merged["words"] == merged["wnid"], kind="stable")]
        table = merged.groupby("wnid", as_index=False).agg({"words": "first", "ilsvrc_id": "max"})
    else:
        named = {name for name in otherwise if name}
        # Where there are wnids, any other name is words.
        names = sorted(filter(WNID.fullmatch, named)) or sorted(named)
        table = pd.DataFrame({"wnid": names, "words": names, "ilsvrc_id": 0})
    table = table.astype({"wnid": "str", "words": "str", "ilsvrc_id": np.int64})
    return table.sort_values("wnid", ignore_index=True)


def resolve_names(names: pd.Series, labels: np.ndarray, classes: pd.DataFrame) -> np.ndarray:
    """The wnid of every object; "" where its name is neither a wnid nor the words of one class.

    Args:
        names: of the objects.
        labels: (n,) wnid of each object's image, "" where unknown.
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
    bearers: dict[str, list[str]] = {}
    for wnid, text in words.items():
        for name in {text, *text.split(", ")}:
            bearers.setdefault(name, []).append(wnid)
    for index in unresolved:
        name, label = _plain(names.iloc[index]), labels[index]
        # A "dog" is a Dalmatian where the image is labeled so; words are not unique ("crane").
        if re.search(rf"\b{re.escape(name)}\b", words.get(label, "")):
            wnids[index] = label
        elif len(bearers.get(name, ())) == 1:
            wnids[index] = bearers[name][0]
    return wnids


def _plain(words: str) -> str:
    return " ".join(words.casefold().replace("_", " ").split())
