"""Shards: the n runs that ``--shard i/n`` makes of one experiment, each with every n-th part."""

import re
from collections.abc import Sequence
from typing import TypeVar

from wsol_bench.errors import ConfigError

__all__ = ["canonical_shard", "parts_of_shard"]

T = TypeVar("T")


def canonical_shard(shard: str, where: str = "shard") -> str:
    """``i/n`` without leading zeros; ConfigError, with its place, unless i is from 1 to n."""
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    index, count = (int(number) for number in match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise ConfigError(f"{where}: expected i/n with i from 1 to n, such as 1/4, found {shard!r}")
    return f"{index}/{count}"


def parts_of_shard(parts: Sequence[T], shard: str | None) -> Sequence[T]:
    """Every n-th part from the i-th on, for the shard ``i/n``; all parts for None.

    Raises:
        ConfigError: ``shard`` is no i/n.
    """
    if shard is None:
        return parts
    index, count = (int(number) for number in canonical_shard(shard).split("/"))
    return parts[index - 1 :: count]
