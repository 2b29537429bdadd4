"""The classes of a network's outputs: wnids in their order, and where that order comes from."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wsol_bench.errors import ModelError

__all__ = ["ClassOrder", "distinct_wnids", "read_class_order"]


class ClassOrder(NamedTuple):
    """The wnid of each output of a network, in order.

    Attributes:
        wnids: one for each output, all different.
        origin: a text for people that says where the order comes from.
    """

    wnids: tuple[str, ...]
    origin: str


def read_class_order(path: Path) -> ClassOrder:
    """The classes that a text file lists: a wnid at the beginning of each line, words may follow.

    Raises:
        ModelError: the file cannot be read, lists no class, or lists one twice.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"classes file {path}: {error}") from error
    wnids = [line.split()[0] for line in lines if line.strip()]
    return ClassOrder(distinct_wnids(wnids, f"classes file {path}"), str(path))


def distinct_wnids(wnids: Sequence[str], where: str) -> tuple[str, ...]:
    """The wnids as a tuple, after a check that they are distinct.

    Args:
        wnids: wnids in the order of the outputs.
        where: the file that lists them, for errors.

    Raises:
        ModelError: no wnid is listed, or a wnid is listed twice.
    """
    repeated = next((wnid for wnid, count in Counter(wnids).items() if count > 1), None)
    if repeated is not None:
        raise ModelError(f"{where} lists class {repeated!r} twice; list each output's class once")
    if not wnids:
        raise ModelError(f"{where} lists no classes; list the wnid of each output, in order")
    return tuple(wnids)
