"""Recognition of a table of boxes, also of one whose header is its author's own."""

from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from wsol_bench.common import data_files
from wsol_bench.common.image_files import IMAGE_SUFFIXES
from wsol_bench.datasets.box_conventions import CONVENTIONS, ConventionName, to_corners
from wsol_bench.datasets.box_frames import all_are_shares
from wsol_bench.datasets.formats.columns import find_columns, suggested
from wsol_bench.datasets.formats.csv import CsvRows, delimiter_of
from wsol_bench.datasets.formats.file_names import stays_below
from wsol_bench.datasets.recognition import Recognition, n_lines
from wsol_bench.datasets.table_rows import OPTIONAL, is_parquet, needed_columns
from wsol_bench.errors import DatasetError

__all__ = ["recognize"]

# The kinds of files that are taken for a table, how many of a folder's files are looked at, and
# how many rows of each.
_SUFFIXES, _MOST_FILES, _HEAD = (".csv", ".tsv", ".parquet"), 50, 200
# The forms of boxes, each by the first of its conventions, that of shares, and the others.
_FORMS: tuple[tuple[ConventionName, ConventionName, str], ...] = (
    ("half_open", "normalized", "inclusive  # or one_based_inclusive"),
    ("xywh", "normalized_xywh", ""),
    ("cxcywh", "normalized_cxcywh", ""),
)


class _Look(NamedTuple):
    """The first rows of a file that may be a table of boxes.

    Attributes:
        path: path of the file.
        head: the rows, with the columns' names in this package; None if the file has not got them.
        columns: the option ``columns``, by which they are read.
        convention: the first of the conventions of its form of boxes.
        names: names in the header; empty without one.
    """

    path: Path
    head: pd.DataFrame | None
    columns: dict[str, str]
    convention: ConventionName
    names: list[str]


def recognize(root: Path) -> Recognition:
    """See ``Recognition``: a file with the columns of boxes, or a folder that holds one."""
    files = (
        [root]
        if data_files.is_file(root)
        else [root / name for name in sorted(data_files.names_in(root))]
    )
    tables = [
        path for path in files if path.suffix.lower() in _SUFFIXES and data_files.is_file(path)
    ]
    looks = [_look(path) for path in tables[:_MOST_FILES]]
    look = max(looks, key=_rank, default=_Look(root, None, {}, "half_open", []))
    needs = {
        "a .csv or .parquet file with the columns image, label": look.head is not None
        or {"image", "label"} <= set(look.names),
        "its columns x0, y0, x1, y1 (or x, y, w, h)": look.head is not None
        or any({*CONVENTIONS[form[0]].columns} <= set(look.names) for form in _FORMS),
    }
    path, head = look.path, look.head
    if head is None or not all(needs.values()):
        return Recognition(needs, {})
    header = f"the columns {', '.join(look.names)}" if look.names else "no header"
    seen, unsure = [f"{header} in {path.name}"], {}
    if not is_parquet(path):
        seen += [f"{n_lines(path, header=bool(look.names))} boxes in {path.name}"]
    options: dict[str, str | dict[str, str]] = {"path": str(path), "convention": look.convention}
    _, of_shares, others = next(form for form in _FORMS if form[0] == look.convention)
    form = CONVENTIONS[look.convention]
    numbers = head[list(form.columns)].apply(pd.to_numeric, errors="coerce").dropna()
    if all_are_shares(to_corners(numbers.to_numpy(np.float64), form)):
        options["convention"] = of_shares
    if others:
        unsure["convention"] = f"{others}: no file tells, so look it up"
    if look.columns:
        options["columns"] = look.columns
    image = str(head["image"].iloc[0]) if len(head) else ""
    places = [path.parent, path.parent / "images"] if image and stays_below(image) else []
    folder = next((place for place in places if data_files.is_file(place / image)), None)
    if folder is None:
        unsure["images"] = f"/path/to/images  # the folder that holds {image}, which was not found"
    else:
        options["images"] = str(folder)
    return Recognition(needs, options, tuple(seen), unsure, images=folder is not None)


def _rank(look: _Look) -> tuple[bool, int]:
    """The rank of a file: whether it has all columns, and how many have their names here."""
    known = {"image", "label"}.union(*(CONVENTIONS[form[0]].columns for form in _FORMS))
    return look.head is not None, len(known & set(look.names))


def _look(path: Path) -> _Look:
    """Look at the first rows of a file, which may be damaged."""
    try:
        if is_parquet(path):
            with data_files.opened(path) as file:
                batch = next(pq.ParquetFile(file).iter_batches(batch_size=_HEAD)).to_pandas()
            cells = batch.astype("string").fillna("").to_numpy(object).tolist()
            rows = [list(map(str, batch.columns)), *cells]
        else:
            rows = list(islice(filter(None, CsvRows(path, delimiter_of(path))), _HEAD))
        names = [str(name).strip().lower() for name in rows[0]]
        looks = [_in_form(path, rows, names, form) for form, *_ in _FORMS]
    except Exception:  # a damaged file can make the readers raise any error
        return _Look(path, None, {}, "half_open", [])
    fitting = [look for look in looks if look.head is not None]
    # The form whose names need no translation comes first.
    return min(fitting, key=lambda look: len(look.columns), default=looks[0])


def _in_form(
    path: Path, rows: list[list[str]], names: list[str], convention: ConventionName
) -> _Look:
    """The look of a file if its boxes have the form of a convention."""
    needed = needed_columns(CONVENTIONS[convention])
    columns = {key: name for key, name in suggested(names, needed).items() if key != name}
    try:
        found = find_columns(
            rows[0], needed, OPTIONAL, columns, where="", always_header=is_parquet(path)
        )
    except DatasetError:
        return _Look(path, None, {}, convention, names)
    body = [row for row in rows[int(found.has_header) :] if len(row) == len(names)]
    places = [found.places[name] for name in needed]
    head = pd.DataFrame([[row[place] for place in places] for row in body], columns=list(needed))
    if not found.has_header and not _are_images(head["image"]):
        return _Look(path, None, {}, convention, [])
    return _Look(path, head, columns, convention, names if found.has_header else [])


def _are_images(cells: pd.Series) -> bool:
    """Return whether all cells name image files, as nothing else in a table without a header."""
    return all(str(cell).rpartition(".")[2].lower() in IMAGE_SUFFIXES for cell in cells)
