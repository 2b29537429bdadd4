"""Commands that put the numbers of runs into tables: table, leaderboard."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wsol_bench.cli.output import print_paragraph, print_table
from wsol_bench.cli.process import print_message, print_notice
from wsol_bench.cli.shared_options import reading, searching, utf8_path

if TYPE_CHECKING:
    from wsol_bench.report.formatted_tables import FormattedTable

__all__ = ["leaderboard", "table"]

# Lines of a ranking that a screen shows at once.
_FIRST = 30

Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the bootstrap of intervals.")]

LeaderboardFormat = Annotated[
    Literal["text", "csv", "markdown", "latex"],
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="Format of what is printed: text, csv, markdown or latex.",
    ),
]


def table(
    run_folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Folders of finished runs.", show_default=False),
    ],
    table_format: Annotated[
        Literal["markdown", "csv", "latex"],
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Format of the table: markdown, csv, or latex (whose first line names the "
            "packages that it needs).",
        ),
    ] = "markdown",
    numbers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Numbers of the columns, such as top1_loc_error,gt_known_loc_error. By default "
            "those that analyze shows.",
        ),
    ] = None,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Show the 95% interval of each number.")
    ] = False,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of the table. By default it is printed.",
            callback=utf8_path,
        ),
    ] = None,
) -> None:
    """Write the table of a paper: methods by model.

    Reads the stored results of one or several finished runs. The best number of each model is bold,
    and the second best underlined if another one is worse, baselines and sanity checks aside. A
    comment, or a column of the CSV file, names the run that each number comes from.
    """
    reading(*run_folders)
    from wsol_bench.common.files import require_writable, write_atomically
    from wsol_bench.report.paper_table import paper_table
    from wsol_bench.runs.stored_run import StoredRun

    if out is not None:
        require_writable(out)
    text = paper_table(
        [StoredRun(path) for path in run_folders],
        table_format=table_format,
        numbers=None if numbers is None else [name.strip() for name in numbers.split(",")],
        intervals=intervals,
        seed=seed,
    )
    if out is None:
        print(text, end="")
        return
    write_atomically(out, text.encode())
    print_message(f"Table: {out}")


def leaderboard(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER", help="Folders below which runs are searched.", show_default=False
        ),
    ],
    number: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Number to rank by. By default the protocol's own: top-1 localization error, "
            "MaxBoxAccV2, MaxBoxAcc or PxAP.",
        ),
    ] = None,
    table_format: LeaderboardFormat = "text",
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="HTML file of the same tables to write.", callback=utf8_path
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help=f"Print more than {_FIRST} lines of a ranking as text.")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Rank the methods of all runs below folders.

    Methods are ranked only among those with the same data set, protocol and evaluated images.
    Numbers that read the same share a rank; baselines and sanity checks have none. Published
    numbers of the experiments stand in a section of their own. Runs that are unfinished, damaged or
    shards are left out, each with a message. Links are followed, and a run counts once.
    """
    searching(*folders)
    from wsol_bench.common.files import require_writable, write_atomically
    from wsol_bench.report.leaderboard import leaderboard as rank
    from wsol_bench.report.leaderboard_page import leaderboard_page
    from wsol_bench.report.leaderboard_tables import tables_of
    from wsol_bench.report.written_tables import written

    if page is not None:
        require_writable(page, "--page")
    board = rank(folders, number=number, seed=seed)
    for reason in board.left_out:
        print_notice(f"Left out: {reason}")
    tables = tables_of(board, runs_in_comments=table_format == "latex")
    if table_format == "text":
        _print_rankings(tables, everything=everything)
    else:
        print(written(tables, table_format), end="")
    # What was computed is printed before anything can fail.
    if page is not None:
        write_atomically(page, leaderboard_page(board).encode())
        print_message(f"Page: {page}")


def _print_rankings(tables: "Sequence[FormattedTable]", *, everything: bool) -> None:
    """Print the tables of a leaderboard for people, or the first lines of each."""
    from wsol_bench.report.leaderboard_tables import for_a_screen

    for table in tables:
        lines = for_a_screen(table)
        shown = lines if everything else lines.head(_FIRST)
        print_table(shown, table.title, elsewhere="--format csv prints them")
        if len(shown) < len(lines):
            print_paragraph(f"and {len(lines) - len(shown)} more: --all, or --format csv")
            print()
        for note in table.notes:
            print_paragraph(note)
        print()
