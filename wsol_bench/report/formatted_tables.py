"""Tables for papers and pages: one structure, which ``written_tables`` writes in every format.

A number is rounded in one place, so that it is the same in every format.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from wsol_bench.common.vocabulary import Better
from wsol_bench.report.tables import number_text

__all__ = [
    "ARROWS",
    "Cell",
    "FormattedTable",
    "Group",
    "Mark",
    "TableColumn",
    "TableLine",
    "Value",
    "marks_of",
]

Mark = Literal["best", "second"]
ARROWS: Mapping[Better, str] = {"higher": "↑", "lower": "↓"}


@dataclass(frozen=True)
class Value:
    """A number in a cell.

    Attributes:
        value: the number; shares are fractions.
        low, high: the ends of its interval; NaN without one.
        percent: whether it is a share, which is shown in percent.
        mark: whether it is the best or second best of those that it is compared with.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    percent: bool = True
    mark: Mark | None = None

    @property
    def text(self) -> str:
        """The number as every format shows it."""
        return number_text(self.value, is_share=self.percent)

    @property
    def interval(self) -> str:
        """The interval in brackets; "" without one."""
        if math.isnan(self.low):
            return ""
        low, high = (number_text(end, is_share=self.percent) for end in (self.low, self.high))
        return f"[{low}, {high}]"


# None is a number that is not there.
Cell: TypeAlias = str | Value | None


@dataclass(frozen=True)
class TableColumn:
    """A column.

    Attributes:
        name: its name in a CSV file.
        title: its title for people.
        better: of a column of numbers, in which direction they improve; None for text.
        percent: whether its numbers are shares, which are shown in percent.
    """

    name: str
    title: str
    better: Better | None = None
    percent: bool = False

    @property
    def unit(self) -> str:
        """The unit in parentheses behind a title; "" for none."""
        return " (%)" if self.percent else ""

    @property
    def heading(self) -> str:
        """The title with the unit, and an arrow in the direction that is better."""
        return f"{self.title}{self.unit}" + (f" {ARROWS[self.better]}" if self.better else "")


@dataclass(frozen=True)
class TableLine:
    """A line.

    Attributes:
        cells: one for each column.
        facts: further columns, which only a CSV file has.
        source: the run that its numbers come from, for a comment; "" if a column says it.
        space_above: whether some space sets it apart from the line above.
        muted: whether it is shown in a quiet color, since it is no result that is compared.
    """

    cells: tuple[Cell, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    space_above: bool = False
    muted: bool = False


@dataclass(frozen=True)
class Group:
    """Lines under one heading; "" for none."""

    heading: str
    lines: tuple[TableLine, ...]


@dataclass(frozen=True)
class FormattedTable:
    """A table.

    Attributes:
        title: what stands above it; "" for nothing.
        columns: the columns.
        groups: the lines.
        notes: sentences about the table.
        group_column: name and title of the groups' headings, where they stand in a column.
    """

    title: str
    columns: tuple[TableColumn, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()
    group_column: str = ""

    def lines(self) -> Iterator[tuple[Group, TableLine]]:
        """Each line with its group."""
        return ((group, line) for group in self.groups for line in group.lines)


def marks_of(values: Sequence[Value], better: Better) -> list[Mark | None]:
    """The marks of numbers that are compared with each other.

    Numbers that read the same are equal: all best ones are marked. If all are equal, none is best,
    and second is only what is better than some other.

    >>> marks_of([Value(0.31), Value(0.2), Value(0.200004), Value(0.25)], "lower")
    [None, 'best', 'best', 'second']
    """
    shown = [float(value.text) for value in values]
    first, *others = [*sorted(set(shown), reverse=better == "higher"), math.nan]
    if len(others) < 2:
        return [None] * len(values)
    marks: dict[float, Mark] = {first: "best"}
    if len(others) > 2:
        marks[others[0]] = "second"
    return [marks.get(value) for value in shown]
