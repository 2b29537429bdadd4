"""Annotation files, parsed: boxes as XML and CSV, lists of images, tables of classes.

Nothing here knows where a file lies or which conventions a box follows past its own format:
coordinates come out as they stand in the file (ILSVRC's are 0-based, inclusive).
"""

import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, ParseError

import defusedxml
import defusedxml.ElementTree
import numpy as np
import pandas as pd
from jaxtyping import Int64

from wsol_bench.errors import DatasetError

__all__ = [
    "IMAGE_SUFFIXES",
    "LARGEST",
    "XML_SUFFIXES",
    "CsvRows",
    "XmlAnnotation",
    "XmlObject",
    "image_id_of",
    "malformed",
    "parse_xml",
    "read_classes",
    "read_columns",
    "read_image_list",
    "read_image_sizes",
    "read_meta_mat",
    "read_numbers",
    "read_solution",
    "read_synset_mapping",
    "read_synsets_csv",
    "stays_below",
]

IMAGE_SUFFIXES = frozenset({"jpeg", "jpg", "png"})
XML_SUFFIXES = frozenset({"xml"})
# Leaves of the devkit's hierarchy have the IDs 1 to 1000; 1001 is its root, the rest is inside.
LAST_LEAF = 1000
# No list counts and no image reaches further; a greater number is a damaged file, not a reason to
# reserve memory.
LARGEST = 10_000_000
# Absolute, on a drive, through a parent folder, or no path at all.
_OUTSIDE = re.compile(r"^[\\/]|^[A-Za-z]:|(?:^|[\\/])\.\.(?:[\\/]|$)|\0")


class XmlObject(NamedTuple):
    """One ``<object>``: its name (a wnid, rarely words), its corners, and Pascal VOC's flag."""

    name: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: bool = False


class XmlAnnotation(NamedTuple):
    """One annotation file; width and height of the displayed image, 0 where it does not say."""

    width: float
    height: float
    objects: tuple[XmlObject, ...]


def parse_xml(data: bytes) -> XmlAnnotation:
    """The boxes of one annotation file, every element found by its name, whatever the order.

    Raises:
        DatasetError: not well-formed (truncated), entities or external references, an object
            without name or corners, a coordinate that is not a finite number.
    """
    try:
        root = defusedxml.ElementTree.fromstring(data)
    except ParseError as error:
        raise DatasetError(f"not well-formed XML: {error}") from error
    except defusedxml.DefusedXmlException as error:
        raise DatasetError(f"refused for safety: {error!r}") from error
    except (ValueError, LookupError) as error:
        raise DatasetError(f"unreadable XML: {error}") from error
    if root.tag != "annotation":
        raise DatasetError(f"expected the element <annotation>, found <{root.tag}>")
    size = root.find("size")
    width, height = 0.0, 0.0
    if size is not None:
        width, height = _number(size, "width", "0"), _number(size, "height", "0")
    return XmlAnnotation(width, height, tuple(map(_xml_object, root.findall("object"))))


def _xml_object(element: Element) -> XmlObject:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise DatasetError("an <object> has no <name>")
    box = element.find("bndbox")
    if box is None:
        raise DatasetError(f"the <object> {name!r} has no <bndbox>")
    xmin, ymin, xmax, ymax = (_number(box, tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
    difficult = (element.findtext("difficult") or "").strip() == "1"
    return XmlObject(name, xmin, ymin, xmax, ymax, difficult)


def _number(parent: Element, tag: str, default: str | None = None) -> float:
    text = parent.findtext(tag, default)
    if text is None:
        raise DatasetError(f"<{parent.tag}> has no <{tag}>")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DatasetError(f"<{tag}> is not a number: {text.strip()!r}")
    return value


def read_solution(path: Path) -> pd.DataFrame:
    """The boxes of a Kaggle solution file (``ImageId,PredictionString``).

    Returns:
        One row a box, in the file's order: image_id, name (wnid), xmin, ymin, xmax, ymax (0-based
        inclusive). An image without a box has one row with an empty name and no numbers.

    Raises:
        DatasetError: a row that cannot be parsed or an image that stands twice; file and line.
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
            found = f"{len(tokens)} words"
            raise malformed(path, rows.line_num, "groups of 5 'wnid x1 y1 x2 y2'", found)
        for start in range(0, len(tokens), 5):
            try:
                box = [float(token) for token in tokens[start + 1 : start + 5]]
            except ValueError:
                box = [math.nan]
            if not all(map(math.isfinite, box)):
                found = " ".join(tokens[start : start + 5])
                raise malformed(path, rows.line_num, "4 numbers after the wnid", found)
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
    """The sizes of images (``file,width,height``): image_id, width, height in pixels.

    Raises:
        DatasetError: a missing column or a size that is no positive whole number; file and line.
    """
    table = _table(path, ("file", "width", "height"))
    sizes = table[["width", "height"]].apply(pd.to_numeric, errors="coerce")
    wrong = ~((sizes >= 1) & (sizes % 1 == 0)).all(axis=1).to_numpy()
    if wrong.any():
        line = int(wrong.argmax())
        found = ",".join(map(str, table.iloc[line]))
        raise malformed(path, line + 2, "a width and a height in pixels", found)
    ids = pd.Series(list(map(image_id_of, table["file"])), dtype="str")
    return pd.DataFrame({"image_id": ids}).join(sizes.astype(np.int64))


def read_numbers(path: Path) -> Int64[np.ndarray, " n"]:
    """A file of whole numbers, one a line: ground-truth IDs, or the blacklist's 1-based indices.

    Raises:
        DatasetError: a line that is no whole number above zero, or a huge one; file and line.
    """
    lines = "".join(_lines(path)).rstrip().splitlines()
    try:
        numbers = np.array(list(map(int, lines)), dtype=np.int64)
    except (ValueError, OverflowError):
        whole = (line.strip().isdecimal() and len(line) < 18 for line in lines)
        numbers = np.array([int(line) if ok else 0 for line, ok in zip(lines, whole, strict=True)])
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
) -> pd.DataFrame:
    """A text file without a header, one record a line: columns of text, then columns of numbers.

    Args:
        path: of the file; blank lines do not count.
        columns: their names, in the file's order; "file" is a path that must stay in its folder.
        numbers: how many of the columns, the last ones, hold finite numbers.
        separator: between columns; None is any white space, and the last column may hold some.
        key: a column in which no value may stand twice.

    Raises:
        DatasetError: no line, or one that is not so; file and line.
    """
    form = f"'{' '.join(columns)}'" + (f" with {numbers} numbers" if numbers else "")
    first_number = len(columns) - numbers
    rows: list[list[str]] = []
    keys: set[str] = set()
    for line, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        row = [cell.strip() for cell in text.split(separator, len(columns) - 1)]
        named = dict(zip(columns, row, strict=False))
        expected = ""
        if len(row) != len(columns) or not all(row) or not all(map(_is_near, row[first_number:])):
            expected = form
        elif not stays_below(named.get("file", "file")):
            expected = "a file that lies below its folder"
        elif key is not None and named[key] in keys:
            expected = f"each {key} once"
        if expected:
            raise malformed(path, line, expected, text.strip())
        if key is not None:
            keys.add(named[key])
        rows.append(row)
    if not rows:
        raise malformed(path, 1, f"lines of {form}", "")
    table = pd.DataFrame(rows, columns=list(columns), dtype="str")
    return table.astype(dict.fromkeys(columns[first_number:], np.float64))


def _is_near(coordinate: str) -> bool:
    try:
        return abs(float(coordinate)) <= LARGEST
    except ValueError:
        return False


def stays_below(name: str) -> bool:
    """Whether a path that a file names, joined to a folder, cannot lead out of it."""
    return not _OUTSIDE.search(name)


def read_image_list(path: Path) -> list[str]:
    """The image ids of a list, one a line, in order.

    Only the first word of a line counts; folders before the name and an image extension after it
    are dropped (``n01440764/n01440764_10026.JPEG 1`` is ``n01440764_10026``).
    """
    return [image_id_of(words[0]) for words in map(str.split, _lines(path)) if words]


def image_id_of(name: str) -> str:
    """The image id in a file name or path: its stem."""
    name = name.strip().rpartition("/")[2]
    stem, _, suffix = name.rpartition(".")
    return stem if stem and suffix.lower() in IMAGE_SUFFIXES else name


def read_classes(path: Path) -> pd.DataFrame:
    """A table of classes in any of its formats, told by the extension: .mat, .csv, else text."""
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".mat": read_meta_mat,
        ".csv": read_synsets_csv,
    }
    return readers.get(path.suffix.lower(), read_synset_mapping)(path)


def read_synset_mapping(path: Path) -> pd.DataFrame:
    """``LOC_synset_mapping.txt``, lines of ``wnid words``: wnid, words, ilsvrc_id (0: not said)."""
    rows = [line.split(maxsplit=1) for line in _lines(path)]
    return _classes(path, [(row[0], row[-1].strip(), 0) for row in rows if row])


def read_synsets_csv(path: Path) -> pd.DataFrame:
    """Columns ``ilsvrc2012_id,wnid,words`` (others are ignored): wnid, words, ilsvrc_id.

    Raises:
        DatasetError: a missing column or an ID that is no whole number; file and line.
    """
    table = _table(path, ("ilsvrc2012_id", "wnid", "words"))
    rows = []
    for line, (number, wnid, words) in enumerate(
        zip(table["ilsvrc2012_id"], table["wnid"], table["words"], strict=True), start=2
    ):
        if not number.strip().isdecimal() or not wnid:
            raise malformed(path, line, "a whole number and a wnid", f"{number},{wnid}")
        rows.append((wnid, words or wnid, int(number)))
    return _classes(path, [row for row in rows if row[2] <= LAST_LEAF])


def read_meta_mat(path: Path) -> pd.DataFrame:
    """The devkit's ``meta.mat``: wnid, words, ilsvrc_id of its leaves (internal nodes left out).

    Raises:
        DatasetError: not a MATLAB file, or one without the devkit's struct array ``synsets``.
    """
    # Slow to import, and needed once: the result is cached.
    from scipy.io import loadmat

    try:
        synsets = loadmat(path)["synsets"]
        rows = [
            (
                str(_scalar(synset["WNID"])).strip(),
                str(_scalar(synset["words"])).strip(),
                int(_scalar(synset["ILSVRC2012_ID"])),
            )
            for synset in np.asarray(synsets).reshape(-1)
            if int(_scalar(synset["num_children"])) == 0
        ]
    except Exception as error:  # scipy raises whatever its struct parsing runs into
        raise DatasetError(
            f"{path}: expected the devkit's struct array 'synsets' with WNID, words, "
            f"ILSVRC2012_ID and num_children, found {type(error).__name__}: {error}"
        ) from error
    return _classes(path, [row for row in rows if row[2] <= LAST_LEAF])


def _scalar(value: Any) -> Any:
    """What a MATLAB cell holds, however many singleton dimensions are around it."""
    while isinstance(value, np.ndarray):
        value = value.reshape(-1)[0]
    return value


def _classes(path: Path, rows: list[tuple[str, str, int]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["wnid", "words", "ilsvrc_id"])
    table = table.astype({"wnid": "str", "words": "str", "ilsvrc_id": np.int64})
    if table.empty:
        raise DatasetError(f"{path}: expected a class a line, found none")
    for column in ("wnid", "ilsvrc_id"):
        said = table.loc[table[column] != 0, column]
        repeated = said[said.duplicated()]
        if len(repeated):
            raise DatasetError(f"{path}: {column} {repeated.tolist()[0]!r} stands for two classes")
    return table


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A CSV with at least ``columns`` (any case), every cell a string."""
    try:
        # Blank lines are kept, or the line numbers in errors would be off.
        table = pd.read_csv(path, dtype="str", keep_default_na=False, skip_blank_lines=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: expected a table, found: {error}") from error
    table.columns = pd.Index([str(column).strip().lower() for column in table.columns])
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise malformed(path, 1, f"the columns {','.join(columns)}", ",".join(table.columns))
    return table


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as text: {error}") from error


class CsvRows:
    """The rows of a CSV and the line where the last one ended; its errors name file and line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = csv.reader(_lines(path))

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        try:
            return next(self._rows)
        except csv.Error as error:
            raise malformed(self._path, self.line_num, "a CSV row", str(error)) from error

    @property
    def line_num(self) -> int:
        """The line where the last row ended, from 1."""
        return self._rows.line_num


def malformed(path: Path, line: int, expected: str, found: str) -> DatasetError:
    """The error of a line that is not what was expected."""
    return DatasetError(f"{path}, line {line}: expected {expected}, found {found[:80]!r}")
