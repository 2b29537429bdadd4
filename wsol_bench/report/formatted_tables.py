"""Tables for papers and pages: one structure, written as Markdown, CSV, LaTeX, HTML, or text.

A number is rounded in one place, so that it is the same in every format.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import pandas as pd

from wsol_bench.common.harmless import csv_text, html_text, latex_text, markdown_text, printable
from wsol_bench.common.vocabulary import Better
from wsol_bench.report.tables import markdown_table, number_text

__all__ = [
    "Cell",
    "FormattedTable",
    "Group",
    "Mark",
    "TableColumn",
    "TableFormat",
    "TableLine",
    "Value",
    "html_table",
    "marks_of",
    "text_table",
    "written",
]

# The formats of files; a screen shows ``text_table``.
TableFormat = Literal["markdown", "csv", "latex"]
Mark = Literal["best", "second"]
_ARROWS: Mapping[Better, str] = {"higher": "↑", "lower": "↓"}
_LATEX_ARROWS: Mapping[Better, str] = {"higher": r"$\uparrow$", "lower": r"$\downarrow$"}


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
        return f"{self.title}{self.unit}" + (f" {_ARROWS[self.better]}" if self.better else "")


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


def written(tables: Sequence[FormattedTable], table_format: TableFormat) -> str:
    """Tables, one below the other, in a format of files.

    A CSV file has the lines of all tables with the columns of all, empty where a table has none.
    """
    if table_format == "csv":
        return csv_text(pd.concat(map(_csv_table, tables), ignore_index=True).fillna(""))
    one = {"markdown": _markdown, "latex": _latex}[table_format]
    return "\n".join(map(one, tables))


def text_table(table: FormattedTable) -> pd.DataFrame:
    """A table as text for a screen."""
    return _frame(table, str, _plain)


def _plain(value: Value) -> str:
    return f"{value.text} {value.interval}".rstrip()


def _frame(
    table: FormattedTable, text: Callable[[str], str], number: Callable[[Value], str]
) -> pd.DataFrame:
    """A table as text, with a column of the groups' headings.

    Args:
        table: the table.
        text: writes a word.
        number: writes a number.
    """
    with_groups = bool(table.group_column)
    titles = [*([table.group_column] if with_groups else []), *(c.heading for c in table.columns)]
    lines = [
        [
            *([text(group.heading)] if with_groups else []),
            *(_cell(cell, text, number) for cell in line.cells),
        ]
        for group, line in table.lines()
    ]
    return pd.DataFrame(lines, columns=[text(title) for title in titles])


def _cell(cell: Cell, text: Callable[[str], str], number: Callable[[Value], str]) -> str:
    if isinstance(cell, Value):
        return number(cell)
    return text("-" if cell is None else cell)


# ---- CSV


def _csv_table(table: FormattedTable) -> pd.DataFrame:
    """A table as text for a CSV file: the ends of intervals stand in columns of their own."""
    return pd.DataFrame([_csv_line(table, group, line) for group, line in table.lines()])


def _csv_line(table: FormattedTable, group: Group, line: TableLine) -> dict[str, str]:
    content = {table.group_column: group.heading} if table.group_column else {}
    for column, cell in zip(table.columns, line.cells, strict=True):
        if not isinstance(cell, Value):
            content[f"{column.name}{column.unit}"] = cell or ""
            continue
        content[f"{column.name}{column.unit}"] = cell.text
        if cell.interval:
            for name, end in (("low", cell.low), ("high", cell.high)):
                end_text = number_text(end, is_share=cell.percent)
                content[f"{column.name} {name}{column.unit}"] = end_text
    return content | dict(line.facts)


# ---- Markdown


def _markdown(table: FormattedTable) -> str:
    """A table as Markdown; a comment below names the runs, since a line has no place for it."""
    frame = _frame(table, markdown_text, _markdown_number)
    numbers = [column.better is not None for column in table.columns]
    numbers = [*([False] if table.group_column else []), *numbers]
    parts = [f"### {markdown_text(table.title)}"] if table.title else []
    parts += [markdown_table(frame, right=numbers), *map(markdown_text, table.notes)]
    if sources := list(_sources(table)):
        comment = "\n".join(map(markdown_text, sources))  # which escapes the end of a comment
        parts.append(f"<!--\n{comment}\n-->")
    return "\n\n".join(parts) + "\n"


def _markdown_number(value: Value) -> str:
    before, after = {"best": ("**", "**"), "second": ("<u>", "</u>"), None: ("", "")}[value.mark]
    return f"{before}{value.text}{after} {value.interval}".rstrip()


def _sources(table: FormattedTable) -> Iterator[str]:
    """The runs of a table's lines, each with the lines that it gave."""
    lines_of: dict[str, list[str]] = {}
    for group, line in table.lines():
        if line.source:
            names = (group.heading, *(cell for cell in line.cells if isinstance(cell, str)))
            lines_of.setdefault(line.source, []).append(" ".join(filter(None, names)))
    for source, lines in lines_of.items():
        yield f"{source}: {', '.join(lines) if len(lines_of) > 1 else 'all numbers'}"


# ---- LaTeX


def _latex(table: FormattedTable) -> str:
    """A table as LaTeX; a comment behind each line names its run."""
    wide = {
        number
        for number, column in enumerate(table.columns)
        if column.better and any(_has_interval(line.cells[number]) for _, line in table.lines())
    }
    kinds = "".join(
        "l" if column.better is None else "r@{\\,}l" if number in wide else "r"
        for number, column in enumerate(table.columns)
    )
    lines = [f"% {printable(note)}" for note in ("Needs \\usepackage{booktabs}.", *table.notes)]
    if table.title:
        lines.append(f"\\noindent\\textbf{{{latex_text(table.title)}}}\\\\*[3pt]")
    lines += [f"\\begin{{tabular}}{{@{{}}{kinds}@{{}}}}", "\\toprule", *_latex_head(table, wide)]
    n_columns = len(table.columns) + len(wide)
    for group in table.groups:
        lines.append("\\midrule")
        if group.heading:
            heading = f"\\emph{{{latex_text(group.heading)}}}"
            lines.append(f"\\multicolumn{{{n_columns}}}{{@{{}}l}}{{{heading}}} \\\\")
        for line in group.lines:
            if line.space_above:
                lines.append("\\addlinespace")
            lines.append(_latex_line(line, wide))
    lines += ["\\bottomrule", "\\end{tabular}", *(["\\par\\bigskip"] if table.title else [])]
    return "\n".join(lines) + "\n"


def _latex_head(table: FormattedTable, wide: set[int]) -> list[str]:
    """The lines of titles: units and arrows stand below, where they make no column wider."""
    lines = []
    for row in range(2):
        cells = []
        for number, column in enumerate(table.columns):
            text = latex_text(column.title)
            if row:
                arrow = _LATEX_ARROWS[column.better] if column.better else ""
                text = f"{latex_text(column.unit.strip())} {arrow}".strip()
            if number in wide:
                text = f"\\multicolumn{{2}}{{c}}{{{text}}}"
            cells.append(text)
        lines.append(f"{' & '.join(cells)} \\\\")
    return lines


def _latex_line(line: TableLine, wide: set[int]) -> str:
    cells = []
    for number, cell in enumerate(line.cells):
        cells.append(_cell("--" if cell is None else cell, _latex_word, _latex_number))
        if number in wide:
            interval = cell.interval if isinstance(cell, Value) else ""
            cells.append(f"{{\\scriptsize {interval}}}" if interval else "")
    source = f" % {printable(line.source)}" if line.source else ""
    return f"{' & '.join(cells)} \\\\{source}"


def _latex_word(text: str) -> str:
    return text if text == "--" else latex_text(text)


def _latex_number(value: Value) -> str:
    command = {"best": "textbf", "second": "underline", None: ""}[value.mark]
    return f"\\{command}{{{value.text}}}" if command else value.text


def _has_interval(cell: Cell) -> bool:
    return isinstance(cell, Value) and bool(cell.interval)


# ---- HTML


def html_table(table: FormattedTable) -> str:
    """The element ``table``, without title and notes."""
    classes = ["" if column.better is None else ' class="number"' for column in table.columns]
    head = "".join(
        f'<th scope="col"{kind}>{html_text(column.title)}{_html_unit(column)}</th>'
        for kind, column in zip(classes, table.columns, strict=True)
    )
    body = []
    for _, line in table.lines():
        cells = "".join(
            f"<td{kind}>{_cell(cell, html_text, _html_number)}</td>"
            for kind, cell in zip(classes, line.cells, strict=True)
        )
        muted = ' class="muted"' if line.muted else ""
        body.append(f"<tr{muted}>{cells}</tr>\n")
    return (
        f"<table>\n<thead>\n<tr>{head}</tr>\n</thead>\n<tbody>\n{''.join(body)}</tbody>\n</table>\n"
    )


def _html_unit(column: TableColumn) -> str:
    """What stands behind a title, as one piece that is not broken."""
    unit = column.heading.removeprefix(column.title).strip()
    return f' <span class="unit">{unit}</span>' if unit else ""


def _html_number(value: Value) -> str:
    element = {"best": "strong", "second": "u", None: ""}[value.mark]
    text = html_text(value.text)
    text = f"<{element}>{text}</{element}>" if element else text
    interval = f' <span class="interval">{html_text(value.interval)}</span>'
    return text + interval if value.interval else text
