"""Analyses, comparisons, leaderboards and reproductions as a notebook and Python show them."""

from collections.abc import Mapping, Sequence

import pandas as pd

from wsol_bench.common.harmless import html_text, printable
from wsol_bench.report.analysis_text import in_short
from wsol_bench.report.leaderboard import Leaderboard as Rankings
from wsol_bench.report.leaderboard_tables import tables_of
from wsol_bench.report.reproduction import causes_of, not_run, reproduction_table
from wsol_bench.report.run_comparison import RunComparison
from wsol_bench.report.run_comparison_text import paragraphs_of, tables_for_people, verdict
from wsol_bench.report.sensitivity import sensitivity as measure
from wsol_bench.report.written_tables import text_table
from wsol_bench.runs.reproduction import Reproduction

__all__ = ["Analysis", "Comparison", "Leaderboard", "Reproduced", "html_frame"]


class Analysis(dict[str, pd.DataFrame]):
    """The tables of an analysis by name, as ``Results.analyze`` returns them.

    ``analysis["intervals"]`` has each number with its 95% interval, ``analysis["comparisons"]`` the
    paired tests; ``failure_modes``, ``by_class``, ``by_size`` and ``by_instances`` are there if a
    protocol chooses one box. A notebook shows the short form: the methods of each model, best
    first.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame], named: Sequence[str] = ()) -> None:
        """Keep the tables.

        Args:
            tables: the tables by name.
            named: the metrics that the experiments name, which a notebook shows, too.
        """
        super().__init__(tables)
        self._named = tuple(named)

    def __repr__(self) -> str:
        """The names of the tables."""
        tables = ", ".join(f"{name} ({len(table)} lines)" for name, table in self.items())
        return f"<Analysis: pandas tables by name, such as analysis['intervals']: {tables}>"

    def _repr_html_(self) -> str:
        """The methods of each model, best first."""
        return "".join(
            f"<p>{html_text(title)}</p>{html_frame(table)}"
            for title, table in in_short(self, self._named)
        )


class Comparison(RunComparison):
    """Two runs compared, as ``Results.compare`` returns it. A notebook shows what differs.

    ``equal`` says whether the results are equal; ``numbers``, ``classes``, ``images``, ``rows``,
    ``settings``, ``lines`` and ``unmatched`` are tables of what differs.
    """

    def __repr__(self) -> str:
        """The verdict, and the names of the tables."""
        tables = " ".join(f".{name}" for name in self.tables)
        return printable(
            f"<Comparison of A {self.a} and B {self.b}: {verdict(self)} Tables: {tables}>"
        )

    def _repr_html_(self) -> str:
        """Show what differs, the numbers, and the classes and images that moved most."""
        paragraphs = [verdict(self), *paragraphs_of(self)]
        tables = (
            f"<p>{html_text(title)}</p>{html_frame(table)}"
            for title, table in tables_for_people(self)
        )
        return "".join([*(f"<p>{html_text(text)}</p>" for text in paragraphs), *tables])


class Leaderboard(Rankings):
    """The methods of all runs below folders, as ``leaderboard`` returns them.

    ``rankings`` holds the numbers, and ``left_out`` which runs are not in it, and why. A notebook
    shows the tables.
    """

    @property
    def tables(self) -> list[tuple[str, pd.DataFrame]]:
        """The title of each table, and its cells as text."""
        return [(table.title, text_table(table)) for table in tables_of(self)]

    def __repr__(self) -> str:
        """The titles of the tables."""
        titles = "; ".join(title for title, _ in self.tables)
        return printable(f"<Leaderboard: {titles}; .tables .rankings .left_out>")

    def _repr_html_(self) -> str:
        """The tables, with their notes, and the runs that are left out."""
        parts = []
        for table in tables_of(self):
            notes = "".join(f"<p>{html_text(note)}</p>" for note in table.notes)
            parts.append(f"<p>{html_text(table.title)}</p>{html_frame(text_table(table))}{notes}")
        parts += [f"<p>Left out: {html_text(reason)}</p>" for reason in self.left_out]
        return "".join(parts)


class Reproduced(Reproduction):
    """A paper's table beside the numbers measured here, as ``reproduce`` returns it.

    ``runs`` are the stored runs, one a network. A notebook shows the table, what was not run, and
    known causes of differences.
    """

    @property
    def table(self) -> pd.DataFrame:
        """The table as text: the paper's number, ours with its 95% interval, their difference."""
        return text_table(reproduction_table(self))

    @property
    def not_run(self) -> list[str]:
        """A line for each network and row that was not run: what it lacks, and where to get it."""
        return not_run(self)

    @property
    def causes(self) -> list[str]:
        """Known reasons why numbers differ, with what is so here."""
        return causes_of(self)

    def sensitivity(self, *, new_maps: bool = False, seed: int = 0) -> pd.DataFrame:
        """Measure how far each choice that the paper leaves open moves the numbers.

        Args:
            new_maps: whether to vary choices of the network's input, which run it again.
            seed: seed of the random numbers.

        Returns:
            A line for each network, method, choice and number; fractions are in [0, 1].
        """
        measured = [measure(run, new_maps=new_maps, seed=seed).numbers for run in self.runs]
        return pd.concat(measured, ignore_index=True) if measured else pd.DataFrame()

    def __repr__(self) -> str:
        """The number of runs, and what to call next."""
        return printable(
            f"<Reproduced: {self.experiment.name}, {len(self.runs)} networks run, "
            f"{len(self.missing)} missing; .table .not_run .causes .sensitivity() .runs>"
        )

    def _repr_html_(self) -> str:
        """The table with its notes, what was not run, and causes of differences."""
        table = reproduction_table(self)
        lists = (("Not run", self.not_run), ("Why numbers can differ", self.causes))
        parts = [f"<p>{html_text(table.title)}</p>{html_frame(text_table(table))}"]
        parts += [f"<p>{html_text(note)}</p>" for note in table.notes]
        for title, texts in lists:
            items = "".join(f"<li>{html_text(text)}</li>" for text in texts)
            parts += [f"<p>{title}:</p><ul>{items}</ul>"] if texts else []
        return "".join(parts)


def html_frame(table: pd.DataFrame) -> str:
    """A table of text as HTML; what others have written stays text."""
    return str(table.to_html(index=False, escape=True, border=0))
