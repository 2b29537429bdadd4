"""Differences between two nested records, one line a value, for error messages."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from wsol_bench.common.versions import UNKNOWN

__all__ = [
    "Difference",
    "completed",
    "differences",
    "known_differences",
    "known_differing",
    "listed",
]

_SHOWN = 8
_NOTHING = "(nothing)"
# In these parts of an identity every word is a user's own, so none means that a fact is unknown.
_WORDS_OF_USERS = {"config", "protocol"}


class Difference(NamedTuple):
    """A value that differs between two records.

    Attributes:
        key: its dotted key.
        before, now: the value in each record.
    """

    key: str
    before: Any
    now: Any


def differences(
    before: BaseModel | Mapping[str, Any], now: BaseModel | Mapping[str, Any]
) -> list[str]:
    """The values that differ, one line each: its dotted key, and both values."""
    return [f"{key}: {first} -> {second}" for key, first, second in _differing(before, now)]


def known_differences(
    before: BaseModel | Mapping[str, Any], now: BaseModel | Mapping[str, Any]
) -> list[str]:
    """The differences of facts: one that is ``UNKNOWN`` in a record differs from no value."""
    return [f"{key}: {first} -> {second}" for key, first, second in known_differing(before, now)]


def known_differing(
    before: BaseModel | Mapping[str, Any], now: BaseModel | Mapping[str, Any]
) -> list[Difference]:
    """The facts that differ: one that is ``UNKNOWN`` in a record differs from no value."""
    return [
        difference
        for difference in _differing(before, now)
        if not any(_is_unknown(difference.key, value) for value in difference[1:])
    ]


def completed(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """A record of facts in which those that are ``UNKNOWN`` have the values of another record."""

    def known(key: str, value: Any, other: Any) -> Any:
        if isinstance(value, dict) and isinstance(other, dict):
            return {name: known(f"{key}.{name}", value[name], other.get(name)) for name in value}
        return other if other is not None and _is_unknown(key, value) else value

    return {key: known(key, value, now.get(key)) for key, value in before.items()}


def listed(lines: Sequence[str]) -> str:
    """The first differences, each on a line of its own, and the number of the others."""
    more = f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "".join(f"\n  {line}" for line in lines[:_SHOWN]) + more


def _differing(
    before: BaseModel | Mapping[str, Any], now: BaseModel | Mapping[str, Any]
) -> Iterator[Difference]:
    """Each value that differs."""
    first, second = (dict(_leaves(_as_stored(tree))) for tree in (before, now))
    for key in dict.fromkeys([*first, *second]):
        if not _equal(first.get(key, ...), second.get(key, ...)):
            yield Difference(key, first.get(key, _NOTHING), second.get(key, _NOTHING))


def _equal(before: object, now: object) -> bool:
    """Return whether two values are equal; NaN, which equals nothing, does not differ from NaN."""
    return before == now or (before != before and now != now)


def _is_unknown(key: str, value: Any) -> bool:
    return value == UNKNOWN and key.partition(".")[0] not in _WORDS_OF_USERS


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
