"""The columns of a table whose header is its author's own: which one holds what."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from wsol_bench.common.harmless import yaml_text
from wsol_bench.errors import DatasetError, did_you_mean

__all__ = ["Columns", "columns_option", "find_columns", "suggested"]

# Names that headers often have, without punctuation and in lower case, the usual ones first.
_IMAGES = (
    "image", "filename", "file", "filepath", "path", "imagepath", "imagefile", "imagename",
    "imageid", "img", "imgpath", "imgname", "imgid",
)  # fmt: skip
_LABELS = (
    "label", "class", "classname", "category", "categoryname", "labelname", "target", "species",
    "classid", "categoryid", "name",
)  # fmt: skip
_BOXES: Mapping[tuple[str, ...], tuple[tuple[str, ...], ...]] = {
    ("x0", "y0", "x1", "y1"): (
        ("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"),
        ("left", "top", "right", "bottom"), ("minx", "miny", "maxx", "maxy"),
        ("startx", "starty", "endx", "endy"), ("roix1", "roiy1", "roix2", "roiy2"),
    ),
    ("x", "y", "w", "h"): (
        ("x", "y", "w", "h"), ("x", "y", "width", "height"), ("xmin", "ymin", "w", "h"),
        ("xmin", "ymin", "width", "height"), ("left", "top", "width", "height"),
    ),
    ("cx", "cy", "w", "h"): (
        ("cx", "cy", "w", "h"), ("xcenter", "ycenter", "width", "height"),
        ("xcenter", "ycenter", "w", "h"), ("centerx", "centery", "width", "height"),
        ("cx", "cy", "width", "height"),
    ),
}  # fmt: skip
_LONGEST = 80


class Columns(NamedTuple):
    """The columns of a table.

    Attributes:
        places: position of each column that is read, by its name in this package.
        has_header: whether the first row holds names.
    """

    places: Mapping[str, int]
    has_header: bool


def find_columns(
    first: Sequence[str],
    needed: Sequence[str],
    optional: Iterable[str],
    given: Mapping[str, str | int],
    *,
    where: str,
    always_header: bool = False,
) -> Columns:
    """Find the columns of a table by its first row, which may be a header.

    It is a header if it holds the needed names, or the given ones, or if no cell of it is a number
    and at most one (the index of a spreadsheet) is empty.

    Args:
        first: cells of the first row.
        needed: names of the columns that must be there.
        optional: names of the columns that are read if they are there. In a table without a header
            they come behind the needed ones, if there are as many columns as that.
        given: the name in the file (in any case) or the position (from 0) of a column, by its name
            here.
        where: the file, for errors.
        always_header: whether the first row is always a header.

    Raises:
        DatasetError: a needed or given column is not there, or is there twice; the message says
            which columns there are, and what to write.
    """
    optional = list(optional)
    for name in given:
        if name not in (*needed, *optional):
            known = did_you_mean(name, (*needed, *optional))
            raise DatasetError(f"columns: unknown column {name!r}; {known}")
    names = [cell.strip().lower() for cell in first]
    in_file = {
        name: told.strip().lower() if isinstance(told, str) else told
        for name, told in ({name: name for name in needed} | dict(given)).items()
    }
    by_name = [told for told in in_file.values() if isinstance(told, str)]
    is_header = (
        always_header
        or any(isinstance(told, str) for told in given.values())
        or (bool(by_name) and set(by_name) <= set(names))
        or not (any(map(_is_number, names)) or names.count("") > 1)
    )
    if not is_header and by_name:
        return Columns(_standard_order(names, needed, optional, given, where), False)
    places = {}
    for name, told in in_file.items():
        if isinstance(told, int):
            places[name] = _in_range(told, len(names), name, where)
        elif names.count(told) == 1:
            places[name] = names.index(told)
        else:
            raise _missing(name, told, names, needed, given, where)
    for name, place in places.items():
        twin = next(other for other, there in places.items() if there == place)
        if twin != name:
            raise DatasetError(
                f"{where}: columns: expected a column of its own for {name}, found that of {twin}, "
                f"{first[place][:_LONGEST]!r}"
            )
    for name in optional:
        # A column that is something else by the user's word is not this one, too.
        if name not in places and names.count(name) == 1 and is_header:
            place = names.index(name)
            places |= {} if place in places.values() else {name: place}
    return Columns(places, is_header)


def _standard_order(
    names: Sequence[str],
    needed: Sequence[str],
    optional: Sequence[str],
    given: Mapping[str, str | int],
    where: str,
) -> dict[str, int]:
    """The places of columns in a table without a header: those needed, and maybe width, height."""
    sized = [*needed, *(name for name in ("width", "height") if name in optional)]
    for order in (needed, sized):
        if len(names) == len(order) and not given:
            return {name: place for place, name in enumerate(order)}
    example = {name: place for place, name in enumerate(needed)}
    raise DatasetError(
        f"{where}: expected a header, or the {len(needed)} columns {','.join(needed)} without one, "
        f"found no header and {len(names)} columns, first {','.join(names)[:_LONGEST]!r}; say the "
        f"position of each, from 0, for example {columns_option(example)}"
    )


def _in_range(place: int, n_columns: int, name: str, where: str) -> int:
    """A position; DatasetError if the table has no such column."""
    if not 0 <= place < n_columns:
        raise DatasetError(
            f"{where}: columns: {name}: expected a position from 0 to {n_columns - 1}, found "
            f"{place}; the table has {n_columns} columns"
        )
    return place


def _missing(
    name: str,
    told: str,
    names: Sequence[str],
    needed: Sequence[str],
    given: Mapping[str, str | int],
    where: str,
) -> DatasetError:
    """The error of a column that is not there, or is there twice."""
    of = ",".join(str(given.get(one, one)) for one in (*needed, *(set(given) - set(needed))))
    text = (
        f"{where}: expected one column {told!r} among {of}, found {names.count(told)} among "
        f"{','.join(names)[:_LONGEST]!r}"
    )
    if name in given:
        return DatasetError(f"{text}; {did_you_mean(told, names)}")
    likely = suggested(names, needed) | dict(given)
    other_form = next(
        (form for form in _BOXES if form != tuple(needed[2:]) and set(form) <= set(names)), None
    )
    if other_form:
        text += f"; columns {','.join(other_form)} are read by other conventions"
    if names.count(told) == 0:
        lines = {one: likely.get(one, "...") for one in needed if likely.get(one, "...") != one}
        text += f"; if your columns have other names, add: {columns_option(lines)}"
    return DatasetError(text)


def suggested(names: Sequence[str], needed: Sequence[str]) -> dict[str, str]:
    """The columns of a header that are likely those needed, by their name here.

    Args:
        names: names in the header, in lower case.
        needed: ``image``, ``label``, and the four of a box.
    """
    plain = {_plain(name): name for name in reversed(names)}
    likely = {name: name for name in needed if name in names}
    for key, known in (("image", _IMAGES), ("label", _LABELS)):
        found = next((plain[name] for name in known if name in plain), None)
        if key in needed and found is not None:
            likely.setdefault(key, found)
    box = tuple(needed[2:])
    for quadruple in _BOXES.get(box, ()):
        if set(quadruple) <= set(plain):
            return likely | {key: plain[name] for key, name in zip(box, quadruple, strict=True)}
    return likely


def columns_option(columns: Mapping[str, str | int]) -> str:
    """The line ``columns: {...}`` of an experiment."""
    told = (
        f"{name}: {value if isinstance(value, int) or value == '...' else yaml_text(value)}"
        for name, value in columns.items()
    )
    return f"columns: {{{', '.join(told)}}}"


def _plain(name: str) -> str:
    """A name without punctuation, and without a prefix that says that it is of a box."""
    plain = re.sub(r"[\W_]+", "", name)
    return re.sub(r"^(?:bndbox|bbox|box|bb)(?=.)", "", plain)


def _is_number(cell: str) -> bool:
    """Return whether a cell of a first row is a number, as no name is."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
