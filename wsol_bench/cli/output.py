"""The results of commands, on standard output."""

import json
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from wsol_bench.common.harmless import printable

if TYPE_CHECKING:
    import pandas as pd

    from wsol_bench.runs.findings import RunFinding
    from wsol_bench.runs.results import Results

__all__ = ["print_results", "print_summary", "print_table"]

# Columns of a table that goes to a file or a pipe, where a terminal's width is not known.
_WIDTH_OF_FILES = 160


def print_results(results: "Results", as_json: bool) -> None:
    """Print the summary of a run, with the metrics that its experiment names, and its findings."""
    named = results.folder.identity.named_metrics
    print_summary(results.summary, as_json, named, results.findings)


def print_summary(
    summary: "pd.DataFrame",
    as_json: bool,
    named_metrics: Mapping[str, bool] = MappingProxyType({}),
    findings: "Sequence[RunFinding]" = (),
) -> None:
    """Print a summary as a table for people, or as JSON records.

    Args:
        summary: one line a model, method and layer.
        as_json: print JSON and nothing else.
        named_metrics: metrics that the experiment names, and whether each is a share, which people
            read in percent.
        findings: what the run saw. In JSON each line has the findings that concern it.
    """
    from wsol_bench.report.tables import (
        SEEDS_TITLE,
        columns_for_people,
        footer,
        records,
        seeds_for_people,
    )

    if as_json:
        lines = [
            {**line, "findings": [finding.text for finding in findings if finding.concerns(line)]}
            for line in records(summary)
        ]
        print(json.dumps(lines, indent=2))
        return
    print_table(columns_for_people(summary, named_metrics))
    print("\n\n".join(map(printable, footer(summary, [each.sentence for each in findings]))))
    if len(spread := seeds_for_people(summary)):
        print_table(spread, SEEDS_TITLE)


def print_table(table: "pd.DataFrame", title: str | None = None) -> None:
    """Print a table of text with lines around its cells."""
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    def plain(text: object) -> Text:
        return Text(printable(str(text)))  # not as a str, which rich reads as markup

    drawn = Table(
        *(Column(plain(name)) for name in table.columns),
        title=None if title is None else plain(title),
        title_justify="left",
    )
    for line in table.itertuples(index=False):
        drawn.add_row(*map(plain, line))
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
    with console.capture() as lines:
        console.print(drawn)
    print(lines.get(), end="")  # rich itself would end the process if nobody reads its output
