"""Differences between two nested records, one line a value, for error messages."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

__all__ = ["differences", "listed"]

_SHOWN = 8


def differences(
    before: BaseModel | Mapping[str, Any], now: BaseModel | Mapping[str, Any]
) -> list[str]:
    """The values that differ, one line each: its dotted key, and both values."""
    first, second = (dict(_leaves(_as_stored(tree))) for tree in (before, now))
    return [
        f"{key}: {first.get(key, '(nothing)')} -> {second.get(key, '(nothing)')}"
        for key in dict.fromkeys([*first, *second])
        if not _equal(first.get(key, ...), second.get(key, ...))
    ]


def _equal(before: object, now: object) -> bool:
    """Return whether two values are equal; NaN, which equals nothing, does not differ from NaN."""
    return before == now or (before != before and now != now)


def listed(lines: Sequence[str]) -> str:
    """The first differences, each on a line of its own, and the number of the others."""
    more = f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "".join(f"\n  {line}" for line in lines[:_SHOWN]) + more


def _as_stored(tree: BaseModel | Mapping[str, Any]) -> Any:
    """The tree as JSON gives it back: numbers are compared as they are read from a file."""
    text = tree.model_dump_json() if isinstance(tree, BaseModel) else json.dumps(dict(tree))
    return json.loads(text)


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings and lists, each with its dotted key."""
    if isinstance(value, dict) and value:
        items = list(value.items())
    elif isinstance(value, list) and value:
        items = list(enumerate(value))
    else:
        yield key, value
        return
    for name, item in items:
        yield from _leaves(item, f"{key}.{name}" if key else str(name))
