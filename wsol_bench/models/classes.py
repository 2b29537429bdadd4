"""The classes of a network's outputs in their order, and where that order comes from."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from wsol_bench.common.harmless import printable_lines
from wsol_bench.common.text_files import read_lines
from wsol_bench.datasets.formats.class_tables import class_on_line
from wsol_bench.datasets.synsets import WNID, numbered_order
from wsol_bench.errors import ModelError

__all__ = [
    "ClassOrder",
    "dataset_order",
    "distinct_wnids",
    "few",
    "labeled_order",
    "read_class_order",
]

# The names that are listed in a message.
_FEW = 4


class ClassOrder(NamedTuple):
    """The wnid of each output of a network, in order.

    Attributes:
        wnids: one for each output, all different.
        origin: a text for people that says where the order comes from.
    """

    wnids: tuple[str, ...]
    origin: str


def read_class_order(path: Path, names: Collection[str] = ()) -> ClassOrder:
    """The classes that a text file lists: one at the beginning of each line, words may follow.

    Args:
        path: path of the file.
        names: names of classes that may hold blanks; see ``class_on_line``.

    Raises:
        ModelError: the file cannot be read, lists no class, or lists one twice.
    """
    try:
        lines = [line for line in read_lines(path, ModelError) if line.strip()]
    except ModelError as error:
        raise ModelError(f"classes file {error}; correct the model's 'classes:'") from error
    wnids = [class_on_line(line, names)[0] for line in lines]
    return ClassOrder(distinct_wnids(wnids, f"classes file {path}"), str(path))


def labeled_order(labels: Sequence[str], classes: Mapping[str, str], name: str) -> ClassOrder:
    """The classes of a network's outputs by the names that the network gives them.

    The names must be wnids, or exactly the data set's names or words; nothing else is guessed. A
    network may know more classes than the data set, or fewer. Words that several classes share
    ("crane") tell a class only if the names are the data set's words in the order of its wnids.

    Args:
        labels: the network's name of each output.
        classes: the data set's classes: words by wnid, in the order of the wnids.
        name: name of the network, for errors.

    Raises:
        ModelError: the names are not the data set's, or do not tell its classes apart.
    """
    named, words = set(labels), list(classes.values())
    within = named <= {*classes} or named >= {*classes}
    if len(named) == len(labels) and (within or all(map(WNID.fullmatch, labels))):
        return ClassOrder(tuple(labels), "the network's own names of its outputs")
    if list(labels) == words:
        return ClassOrder(tuple(classes), "the network's own names of its outputs, in words")
    if named <= {*words} or named >= {*words}:
        shared = sorted(word for word in named & {*words} if [*labels, *words].count(word) > 2)
        if not shared:
            wnid_of = {word: wnid for wnid, word in classes.items()}
            wnids = [
                wnid_of.get(label, label if labels.count(label) == 1 else f"{label} ({index})")
                for index, label in enumerate(labels)
            ]
            return ClassOrder(tuple(wnids), "the network's own names of its outputs, in words")
        problem = f"several classes have the name {shared[0]!r}"
    else:
        problem = "these are not the data set's names of its classes, nor its words"
    known = (f"{wnid} {word}" if word != wnid else wnid for wnid, word in classes.items())
    raise ModelError(
        f"{name} names its {len(labels)} outputs {_few(labels)}, and the data set has "
        f"{len(classes)} classes, {_few(known)}: {problem}. List the data set's class of each "
        "output in a file, one a line, and name it with the model's 'classes:'"
    )


def _few(names: Iterable[str]) -> str:
    """The first names of several, for errors."""
    listed = [repr(printable_lines(name)) for name in islice(names, 4)]
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")


def dataset_order(wnids: Sequence[str]) -> ClassOrder:
    """The data set's classes as the order of a network's outputs that no file lists.

    Raises:
        ModelError: the classes have numbers without leading zeros, whose order a training may have
            taken either as text (as torchvision's ImageFolder does) or by number.
    """
    by_number = numbered_order(wnids)
    if by_number is not None:
        as_text = sorted(wnids)
        raise ModelError(
            "the order of the network's outputs is not known: as text (torchvision's ImageFolder) "
            f"the data set's {len(wnids)} classes are {_beginning(as_text, by_number)}, by number "
            f"{_beginning(by_number, as_text)}; list one class a line, in the order of the "
            "outputs, in a file and name it with the model's 'classes:', or store the list under "
            "'wnids' in the weights file"
        )
    return ClassOrder(tuple(wnids), "the data set's classes, sorted as text")


def few(names: Sequence[str]) -> str:
    """The number of classes and the first of them, for a message: ``2 classes: cat, dog``."""
    shown = ", ".join([*names[:_FEW], *(["..."] if len(names) > _FEW else [])])
    return f"{len(names)} class{'' if len(names) == 1 else 'es'}: {shown}"


def _beginning(names: Sequence[str], other: Sequence[str]) -> str:
    """The first names of an order, up to where the other order differs, and a little further."""
    differs = next(i for i, pair in enumerate(zip(names, other, strict=True)) if len({*pair}) > 1)
    first = max(0, differs - 2)
    shown = ", ".join(names[first : first + 5])
    return f"{'..., ' if first else ''}{shown}{', ...' if len(names) > first + 5 else ''}"


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
        raise ModelError(f"{where} lists no classes; list the class of each output, in order")
    return tuple(wnids)
