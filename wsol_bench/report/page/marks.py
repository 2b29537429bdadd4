"""The best method of a model, and the methods that do not differ from it."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from wsol_bench.common.progress import progress
from wsol_bench.report.comparisons import pair_of, paired_test
from wsol_bench.report.page.collection import Collection
from wsol_bench.statistics.correction import holm

__all__ = ["Mark", "Marks", "marks_of"]

_LEVEL = 0.05


class Mark(NamedTuple):
    """The result of a comparison of a number with that of the best method.

    Attributes:
        mark: ``best`` (equal methods all are), ``tied`` (the corrected p is 0.05 or more), or None.
        p: the corrected p; None for the best, and where too few images are there for a test.
    """

    mark: Literal["best", "tied"] | None = None
    p: float | None = None


# By the position of a line and the name of a number.
Marks: TypeAlias = Mapping[tuple[int, str], Mark]


def marks_of(collection: Collection) -> Marks:
    """The marks of the numbers of all lines.

    For each model and number, the best of its methods is compared with each other one, on the
    images that count for both (paired test, Holm's correction over these comparisons). Baselines
    and sanity checks are neither marked nor compared. A number that is the same for all methods has
    no best.
    """
    marks: dict[tuple[int, str], Mark] = {}
    methods = [
        [n for n in collection.lines_of(model) if collection.lines[n].kind == "method"]
        for model in range(len(collection.models))
    ]
    with progress("comparing", sum(map(len, methods)), "methods") as advance:
        for lines in methods:
            names = dict.fromkeys(
                name for line in lines for name in collection.lines[line].numbers.numbers
            )
            for name in names:
                having = [n for n in lines if name in collection.lines[n].numbers.numbers]
                marks |= _marks_of_number(collection, having, name)
            advance(len(lines))
    return marks


def _marks_of_number(
    collection: Collection, lines: Sequence[int], name: str
) -> dict[tuple[int, str], Mark]:
    numbers = {line: collection.lines[line].numbers.numbers[name] for line in lines}
    values = {line: number.value() for line, number in numbers.items()}
    # One method alone is no best one, and neither is any if all are equal, as they are in the
    # classification error.
    if len(set(values.values())) < 2:
        return {}
    better = max if numbers[lines[0]].better == "higher" else min
    best = better(lines, key=lambda line: values[line])
    others = [line for line in lines if line != best]
    raw = np.full(len(others), np.nan)
    for place, line in enumerate(others):
        pair = pair_of(numbers[best], numbers[line])
        if len(pair.number):
            raw[place] = paired_test(pair, collection.seed)["p"]
    marks = {(best, name): Mark("best")}
    for line, p in zip(others, holm(raw).tolist(), strict=True):
        if values[line] == values[best]:
            marks[line, name] = Mark("best")
        elif not np.isnan(p):
            marks[line, name] = Mark("tied" if p >= _LEVEL else None, p)
    return marks
