"""The results of commands, on standard output."""

import itertools
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

from wsol_bench.cli.process import wrapped_lines
from wsol_bench.common.harmless import printable

if TYPE_CHECKING:
    import pandas as pd

    from wsol_bench.runs.findings import RunFinding
    from wsol_bench.runs.results import StoredResults

__all__ = ["print_line", "print_paragraph", "print_results", "print_summary", "print_table"]

# Columns of a table that goes to a file or a pipe, where a terminal's width is not known.
_WIDTH_OF_FILES = 160
_GAP = "  "
_LONGEST_NAME = 32
_NOTHING = (["-"], [""])
# Numbers, alone or joined as in 7.00/1.00, [42.3, 53.7] or 3 : 12, and what stands for none.
_NUMBER = re.compile(r"[-+\d.,/:\[\]()% *\u00b1<e]+")


def print_results(results: "StoredResults", as_json: bool, *, kept: bool = True) -> None:
    """Print the summary of a run, with the metrics that its experiment names, and its findings.

    Args:
        results: the results.
        as_json: see ``print_summary``.
        kept: whether the folder of the run stays, so that its path is of use.
    """
    named = results.folder.identity.named_metrics
    run = results.folder.path if kept else None
    print_summary(results.summary, as_json, named, results.findings, run)


def print_summary(
    summary: "pd.DataFrame",
    as_json: bool,
    named_metrics: Mapping[str, bool] = MappingProxyType({}),
    findings: "Sequence[RunFinding]" = (),
    run: Path | None = None,
) -> None:
    """Print a summary as a table for people, or as JSON records.

    Args:
        summary: one line a model, method and layer.
        as_json: print JSON and nothing else.
        named_metrics: metrics that the experiment names, and whether each is a share, which people
            read in percent.
        findings: what the run saw. In JSON each line has the findings that concern it.
        run: the folder of the run, which each line of JSON names; None for none.
    """
    from wsol_bench.report.tables import (
        SEEDS_TITLE,
        columns_for_people,
        footer,
        records,
        seeds_for_people,
    )

    if as_json:
        place = {} if run is None else {"run": str(run)}
        lines = [
            {**place, **line, "findings": [one.text for one in findings if one.concerns(line)]}
            for line in records(summary)
        ]
        print(json.dumps(lines, indent=2))
        return
    file = None if run is None else run / "tables/summary.csv"
    elsewhere = "--json prints them" if file is None else f"they are in {file}"
    print_table(columns_for_people(summary, named_metrics), elsewhere=elsewhere)
    for paragraph in footer(summary, [each.sentence for each in findings]):
        print_paragraph(paragraph)
    if len(spread := seeds_for_people(summary)):
        print_table(spread, SEEDS_TITLE)


def print_paragraph(text: str) -> None:
    """Print a paragraph, in lines that a terminal does not have to break."""
    width = shutil.get_terminal_size((_WIDTH_OF_FILES, 24)).columns
    print("\n".join(wrapped_lines(printable(text), width, hanging=0)))


def print_line(text: str, *, hanging: int = 2) -> None:
    """Print a line, in parts that a terminal does not have to break; in a file it stays one line.

    See ``wrapped_lines``.
    """
    width = shutil.get_terminal_size((sys.maxsize, 24)).columns
    lines = wrapped_lines(printable(text), width, hanging=hanging)
    print("\n".join(lines), flush=True)


def print_table(table: "pd.DataFrame", title: str | None = None, *, elsewhere: str = "") -> None:
    """Print a table of text that is as wide as the terminal allows; nothing in it is ever cut.

    Columns that do not fit stand in further tables below, behind the names again; or, if they can
    be found elsewhere, they are left out from the right, and a line below says which. A name that
    is very long is broken into several lines. Run, model and layer become headings between the
    lines where each model has one layer.

    Args:
        table: the cells, as text.
        title: a sentence above the table.
        elsewhere: where columns that do not fit can be found, in words; "" to print them all.
    """
    width = shutil.get_terminal_size((_WIDTH_OF_FILES, 24)).columns
    headings, cells = _with_headings(table.map(lambda text: printable(str(text))))
    for longest in (
        width,
        min(width, _LONGEST_NAME),
    ):  # names are broken only where the table needs it
        columns = [_Column.of(str(name), cells[name].tolist(), longest) for name in cells]
        fitting = max(1, _count_that_fit(columns, width))
        if fitting == len(columns):
            break
    if title is not None:
        for line in textwrap.wrap(printable(title), max(width, 20)):
            print(_emphasized(line))
    names = [*itertools.takewhile(lambda column: not column.is_number, columns)][: fitting - 1]
    while columns:
        for line in _table_lines(columns[:fitting], headings):
            print(line.rstrip())
        left, columns = columns[fitting:], []
        if left and elsewhere:
            titles = ", ".join(column.name for column in left)
            print_paragraph(f"These columns do not fit: {titles}; {elsewhere}.")
        elif left:
            print()
            columns, headings = _lines_with_numbers(names, left, headings)
            fitting = max(len(names) + 1, _count_that_fit(columns, width))
    print()


class _Column(NamedTuple):
    """A column of a table: its title and cells as lines of text, all of one width."""

    name: str
    title: list[str]
    cells: list[list[str]]
    width: int
    is_number: bool

    @classmethod
    def of(cls, name: str, cells: Sequence[str], longest: int) -> "_Column":
        """Break names of more than ``longest`` characters, and the title into words."""
        name = printable(name)
        lines = [_broken(cell, longest) for cell in cells]
        width = max((cell_len(line) for cell in lines for line in cell), default=0)
        title = textwrap.wrap(name, max(width, *map(len, name.split()), 1)) or [""]
        width = max(width, *map(cell_len, title))
        # Words that stand for a number, such as "not applicable", have no digits.
        numbers = [cell for cell in cells if any(map(str.isdigit, cell))]
        is_number = bool(numbers) and all(map(_NUMBER.fullmatch, numbers))
        return cls(name, title, lines, width, is_number)

    def padded(self, text: str) -> str:
        """A line of a cell as wide as the column: numbers to the right, words to the left."""
        blanks = " " * (self.width - cell_len(text))
        return blanks + text if self.is_number else text + blanks


def _with_headings(cells: "pd.DataFrame") -> tuple[list[str], "pd.DataFrame"]:
    """The heading before each line, "" for none, and the cells without what headings say.

    There are none where the lines of a group do not follow one another.

    Methods without a layer, such as baselines, stand among the others of their model.
    """
    from wsol_bench.runs.identity import NO_MODEL

    groups = [name for name in ("run", "model") if name in cells and len(cells.columns) > 1]
    if not groups or not len(cells):
        return [""] * len(cells), cells
    named = cells[groups].replace({"model": {NO_MODEL: "no model"}})
    texts = named.agg(", ".join, axis=1)
    if "layer" in cells:
        layers = {text: set(names) - {""} for text, names in cells["layer"].groupby(texts)}
        if all(len(names) <= 1 for names in layers.values()):
            groups += ["layer"] if len(cells.columns) > len(groups) + 1 else []
            texts = texts.map(lambda text: ", layer ".join([text, *layers[text]]))
    begins = texts != texts.shift()
    if begins.sum() > texts.nunique():  # a ranking goes across the groups
        return [""] * len(cells), cells
    return texts.where(begins, "").tolist(), cells.drop(columns=groups)


def _count_that_fit(columns: Sequence[_Column], width: int) -> int:
    """The number of columns, from the left, that fit into a width."""
    ends = itertools.accumulate(len(_GAP) + column.width for column in columns)
    return sum(end - len(_GAP) <= width for end in ends)


def _table_lines(columns: Sequence[_Column], headings: Sequence[str]) -> Iterator[str]:
    """The lines of a table: titles, a rule below them, and the cells below their headings."""
    height = max(len(column.title) for column in columns)
    for number in range(height):
        # Titles stand on the rule: the shorter ones begin lower.
        texts = [[""] * (height - len(column.title)) + column.title for column in columns]
        yield _GAP.join(
            column.padded(text[number]) for column, text in zip(columns, texts, strict=True)
        )
    yield _GAP.join(_rule() * column.width for column in columns)
    for number, heading in enumerate(headings):
        if heading:
            yield _emphasized(heading)
        cells = [column.cells[number] for column in columns]
        for parts in itertools.zip_longest(*cells, fillvalue=""):
            yield _GAP.join(
                column.padded(part) for column, part in zip(columns, parts, strict=True)
            )


def _lines_with_numbers(
    names: Sequence[_Column], others: Sequence[_Column], headings: Sequence[str]
) -> tuple[list[_Column], list[str]]:
    """The columns without the lines that have nothing but names, and the headings of the others."""
    kept = [n for n in range(len(headings)) if any(c.cells[n] not in _NOTHING for c in others)]
    above = list[str]()
    for heading in headings:
        above.append(heading or (above[-1] if above else ""))
    shown = [
        above[n] if place == 0 or above[n] != above[kept[place - 1]] else ""
        for place, n in enumerate(kept)
    ]
    columns = [c._replace(cells=[c.cells[n] for n in kept]) for c in (*names, *others)]
    return columns, shown


def _rule() -> str:
    """The character that a rule is made of: a line, or a dash if the encoding has none."""
    try:
        "\u2500".encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return "-"
    return "\u2500"


def _broken(text: str, width: int) -> list[str]:
    """A long name in pieces of at most a width, between words where it has several."""
    if len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _emphasized(text: str) -> str:
    """A line in bold type where standard output is a terminal."""
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text
