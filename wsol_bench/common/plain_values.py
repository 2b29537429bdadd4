"""Plain values: those that YAML and JSON give back as they were written."""

import numbers
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from wsol_bench.common.validation_errors import CompleteError
from wsol_bench.errors import shown

__all__ = ["DEEPEST", "plain"]

# The most levels of a configuration: none comes near it, and a mapping may hold itself.
DEEPEST = 50
# No file of a run can hold these: NUL ends a text, and half a surrogate pair stands for a byte of
# an argument or a file name that is no UTF-8.
_NOT_STORED = re.compile("[\0\ud800-\udfff]")


def plain(value: Any, key: str = "", depth: int = 0) -> Any:
    """A value of a configuration as text, numbers, bools, None, lists and mappings alone.

    A run's manifest holds its configuration, and a resumed run compares the two. So a tuple becomes
    the list, and a path the text, that would be read back; numpy's numbers become Python's.

    Args:
        value: the value, as a file or a caller gives it.
        key: the dotted key of the value, for messages.
        depth: the number of lists and mappings around the value.

    Raises:
        CompleteError: the value is NaN, which equals nothing; or it would not be read back as it
            is: a date, bytes, a set, an object, text that UTF-8 cannot hold or with a NUL
            character, a key that is no text, a whole number of more than 64 bits, or more than 50
            nested levels.
    """
    place = f"'{key}': " if key else ""
    if depth > DEEPEST:
        raise CompleteError(f"{place}expected at most {DEEPEST} nested levels, found more")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (str, PurePath)):
        return _text(str(value), place)
    if isinstance(value, numbers.Integral):
        if int(value).bit_length() > 64:
            raise CompleteError(
                f"{place}expected a whole number of at most 64 bits, found {shown(value)}"
            )
        return int(value)
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Rational):
        if value != value:
            raise CompleteError(f"{place}expected a number, found NaN")
        return float(value)
    if isinstance(value, (list, tuple)):
        return [
            plain(item, f"{key}.{index}" if key else str(index), depth + 1)
            for index, item in enumerate(value)
        ]
    if isinstance(value, Mapping):
        return {
            _key(name, place): plain(item, f"{key}.{name}" if key else str(name), depth + 1)
            for name, item in value.items()
        }
    raise CompleteError(
        f"{place}expected text, a number, true, false, null, a list or a mapping, found "
        f"{type(value).__name__} {shown(value)}"
    )


def _key(name: object, place: str) -> str:
    if not isinstance(name, str):
        raise CompleteError(f"{place}expected keys that are text, found the key {shown(name)}")
    return _text(name, place)


def _text(text: str, place: str) -> str:
    if _NOT_STORED.search(text):
        raise CompleteError(
            f"{place}expected text that UTF-8 can hold, without a NUL character, found "
            f"{shown(text)}"
        )
    return text
