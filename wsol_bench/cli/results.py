"""Commands that read stored runs: analyze, compare, export."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsol_bench.cli.completion import method_of_runs
from wsol_bench.cli.output import print_paragraph, print_table
from wsol_bench.cli.process import print_message, print_notice
from wsol_bench.cli.shared_options import (
    AsJson,
    RunFolderPath,
    RunFolders,
    TablesOut,
    reading,
    utf8_path,
)
from wsol_bench.common.files import require_writable_folder
from wsol_bench.common.harmless import printable_lines
from wsol_bench.common.vocabulary import PredictionFormat

if TYPE_CHECKING:
    import pandas as pd

    from wsol_bench.report.run_comparison import RunComparison

__all__ = ["analyze", "compare", "export"]


Seed = Annotated[
    int, typer.Option(metavar="N", min=0, help="Seed of the random numbers of intervals and tests.")
]
Against = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="Method that the others of its model are compared with. By default the first.",
        autocompletion=method_of_runs,
    ),
]
Everything = Annotated[
    bool,
    typer.Option(
        "--all", help="Print all numbers with intervals and tests, and why boxes failed, too."
    ),
]
RunA = Annotated[
    Path,
    typer.Argument(
        metavar="RUN_A", help="Folder of the finished run before a change.", show_default=False
    ),
]
RunB = Annotated[
    Path,
    typer.Argument(
        metavar="RUN_B", help="Folder of the finished run after it.", show_default=False
    ),
]
FailOnDifference = Annotated[
    bool,
    typer.Option(
        "--fail-on-difference",
        help="Exit with code 1 if a number or the result of an image differs.",
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        metavar="X",
        help="Largest difference of a number, IoU, score or coordinate (in pixels) that counts as "
        "equal.",
    ),
]
ComparisonOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="Folder to write all tables to, as CSV files.",
        callback=utf8_path,
    ),
]
AllOfComparison = Annotated[
    bool, typer.Option("--all", help="Print all numbers, classes and images.")
]


def analyze(
    run_folders: RunFolders,
    seed: Seed = 0,
    out: TablesOut = None,
    against: Against = None,
    everything: Everything = False,
    as_json: AsJson = False,
) -> None:
    """Rank the methods of runs, with intervals and paired tests.

    Reads the stored rows of one or several runs; no network is needed. Prints the methods of each
    model, best first, with a 95% interval and a paired test against another method of the model.
    Writes the tables of all numbers, of all tests, and of why boxes failed as CSV files.
    """
    reading(*run_folders)
    from wsol_bench.report.analysis import analyze as analyze_runs
    from wsol_bench.report.analysis import write_tables
    from wsol_bench.report.tables import records
    from wsol_bench.runs.findings import shard_findings
    from wsol_bench.runs.stored_run import StoredRun

    runs = [StoredRun(path) for path in run_folders]
    folder = out or (runs[0].path / "tables" if len(runs) == 1 else None)
    if out is not None:
        require_writable_folder(out)
    tables = analyze_runs(runs, seed=seed, against=against)
    if as_json:
        print(json.dumps({name: records(table) for name, table in tables.items()}, indent=2))
    else:
        named_metrics = [name for run in runs for name in run.identity.named_metrics]
        _print_analysis(tables, named_metrics, folder, everything=everything)
    for run in runs:
        n_images = run.read("images", ["image_id"])["image_id"].nunique()
        for finding in shard_findings(run.identity, n_images):
            print_notice(f"{run.path}: {finding.text}. 'wsol-bench merge' joins shards.")
    # What was computed is printed before anything can fail.
    if folder is not None:
        try:
            write_tables(folder, tables)
            print_message(f"Tables: {folder}")
        except OSError as error:
            if out is not None:
                raise
            print_notice(f"No tables are written ({error}); --out names another folder.")


def _print_analysis(
    tables: "dict[str, pd.DataFrame]",
    named_metrics: Sequence[str],
    folder: Path | None,
    *,
    everything: bool,
) -> None:
    """Print an analysis in short, or all of it; ``folder`` is where its tables will be."""
    from wsol_bench.report.analysis_text import in_full, in_short

    elsewhere = f"they are in {folder}" if folder else "--out FOLDER writes them"
    for title, table in in_short(tables, named_metrics):
        print_table(table, title, elsewhere="" if everything else elsewhere)
    for title, table in in_full(tables, named_metrics) if everything else ():
        print_table(table, title)
    if not everything:
        print_message("--all prints every number and test, and why boxes failed.")


def compare(
    run_a: RunA,
    run_b: RunB,
    fail_on_difference: FailOnDifference = False,
    tolerance: Tolerance = 0.0,
    seed: Seed = 0,
    out: ComparisonOut = None,
    everything: AllOfComparison = False,
    as_json: AsJson = False,
) -> None:
    """Compare two runs: which numbers and images a change moved.

    Matches the methods of both runs by name and compares each number on the images of both: the
    difference with a 95% interval, a paired test, and the classes and images that moved. Prints the
    numbers, classes and images that matter most. A run of another version of this package can be
    compared if its folder has the same format.
    """
    reading(run_a, run_b)
    from wsol_bench.report.analysis import write_tables
    from wsol_bench.report.run_comparison import compare as compare_runs
    from wsol_bench.report.run_comparison_text import verdict
    from wsol_bench.report.tables import records
    from wsol_bench.runs.stored_run import StoredRun

    runs = StoredRun(run_a), StoredRun(run_b)
    if out is not None:
        require_writable_folder(out)
    found = compare_runs(*runs, seed=seed, tolerance=tolerance)
    if as_json:
        tables = {name: records(table) for name, table in found.tables.items()}
        facts = {"equal": found.equal, "verdict": verdict(found), "a": found.a, "b": found.b}
        print(json.dumps({**facts, **tables}, indent=2))
    else:
        _print_comparison(found, out, everything=everything)
    if out is not None:
        write_tables(out, found.tables)
    where = "--out FOLDER writes the tables." if out is None else f"Tables: {out}."
    paths = shlex.join([str(run_a), str(run_b)])
    print_message(f"{where} Images side by side: wsol-bench report {paths} --out FILE")
    if fail_on_difference and not found.equal:
        raise typer.Exit(1)


def _print_comparison(found: "RunComparison", out: Path | None, *, everything: bool) -> None:
    """Print a comparison in short, or all of it; ``out`` is where its tables will be."""
    from wsol_bench.report.run_comparison_text import paragraphs_of, tables_for_people, verdict

    print_paragraph(verdict(found))
    print()
    for paragraph in paragraphs_of(found, everything=everything):
        print_paragraph(paragraph)
    print()
    elsewhere = "--json prints them" if out is None else f"they are in {out}"
    for title, table in tables_for_people(found, everything=everything):
        print_table(table, title, elsewhere="" if everything else elsewhere)
    if not (everything or found.equal):
        print_message("--all prints every number, class and image.")


def export(
    run_folder: RunFolderPath,
    file_format: Annotated[PredictionFormat, typer.Option("--format", help="Format of the files.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the files. By default RUN/predictions.",
            callback=utf8_path,
        ),
    ] = None,
    devkit: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="ILSVRC devkit folder, for the class IDs of the devkit format if the run's data "
            "set has none.",
        ),
    ] = None,
    tight: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="The same run rescored at a higher threshold. Each image then has five boxes: "
            "two of each of the two best classes, one of the third (Zhou et al., 2016).",
        ),
    ] = None,
) -> None:
    """Write the boxes of a run as files that official tools read.

    Reads the rows of a finished run. Writes a prediction file for each model, method and layer, in
    the format of the ILSVRC devkit or of Kaggle. Prints the path of each, and the command that
    scores it, which gives the run's own errors.
    """
    reading(*filter(None, [run_folder, tight]))
    from wsol_bench.report.export import export_run
    from wsol_bench.runs.stored_run import StoredRun

    folder = StoredRun(run_folder)
    target = out or folder.path / "predictions"
    tight_run = None if tight is None else StoredRun(tight)
    for text in export_run(folder, target, format=file_format, devkit=devkit, tight=tight_run):
        print(printable_lines(text))  # paths and commands, which stay whole
