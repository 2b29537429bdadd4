"""Commands about papers' tables: reproduce, sensitivity.

A command has a parameter for each of its options, which may be more than eight.
"""

import contextlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsol_bench.cli.completion import table_names
from wsol_bench.cli.output import print_line, print_paragraph, print_table
from wsol_bench.cli.process import print_message, print_notice
from wsol_bench.cli.shared_options import (
    Device,
    Limit,
    Overrides,
    RunFolders,
    TablesOut,
    reading,
    reading_experiment,
    utf8_path,
)
from wsol_bench.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import pandas as pd

    from wsol_bench.papers.published import Published
    from wsol_bench.report.formatted_tables import FormattedTable
    from wsol_bench.runs.experiment_config import ExperimentConfig
    from wsol_bench.runs.reproduction import Reproduction
    from wsol_bench.runs.stored_run import StoredRun

__all__ = ["reproduce", "sensitivity"]

Table = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="Name of a paper's table (wsol-bench list papers), or an experiment file.",
        autocompletion=table_names,
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder of the data set. Without it the published table is printed, with what is "
        "needed to run it.",
    ),
]
Weights = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Folder of the weights files that the table names.")
]
TableOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="Folder of the runs, one a network, and of the tables. By default "
        "results/reproduce/TABLE.",
        callback=utf8_path,
    ),
]
ForceTable = Annotated[
    bool, typer.Option("--force", help="First delete the runs of the table in its folder.")
]
Vary = Annotated[
    bool,
    typer.Option(
        "--vary",
        help="Also measure how far each choice that the paper leaves open moves the numbers.",
    ),
]
NewMaps = Annotated[
    bool,
    typer.Option(
        "--new-maps",
        help="Vary choices of the network's input, too: each runs the network again.",
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the random numbers.")]


def reproduce(
    table: Table,
    data: Data = None,
    weights: Weights = Path("weights"),
    out: TableOut = None,
    limit: Limit = None,
    device: Device = None,
    overrides: Overrides = None,
    force: ForceTable = False,
    vary: Vary = False,
    new_maps: NewMaps = False,
    seed: Seed = 0,
) -> None:
    """Run a paper's table, and print its numbers beside ours.

    Runs every network whose weights are there, each in a folder of its own: the same command
    continues what was interrupted, and adds networks whose weights have come. Prints what is
    missing for the others, the difference of each number, whether the paper's lies in the 95%
    interval, and known causes of differences. The tables are written as Markdown, CSV and LaTeX.
    """
    from wsol_bench.papers.shelf import table_file

    reading_experiment(table_file(table))
    from wsol_bench.runs.reproduction import default_folder, lacks_data, load_table
    from wsol_bench.runs.reproduction import reproduce as reproduce_table

    flags = {"limit": limit, "device": device}
    changes = {key: value for key, value in flags.items() if value is not None}
    experiment = load_table(
        table, data=data, weights=weights, overrides=overrides or (), changes=changes
    )
    if lacks_data(experiment):
        _print_published(table, experiment, weights)
        return
    folder = out or default_folder(table)
    _require_places(experiment, weights, folder, vary=vary)
    # Standard output is for results: what libraries print there (downloads) goes elsewhere.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            done = reproduce_table(experiment, folder, weights=weights, force=force)
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt("The same command goes on where this one stood.") from error
    _print_reproduction(done, folder, seed=seed)
    if vary:
        _print_sensitivity(done.runs, folder / "sensitivity", new_maps=new_maps, seed=seed)
    elif (folder / "sensitivity.csv").exists():
        print_message(f"{folder / 'sensitivity.csv'} is of an earlier call; --vary makes it anew")
    else:
        print_message(
            "How far each choice that the paper leaves open moves the numbers: the same command "
            "with --vary"
        )
    if failed := [one.model for one in done.missing if one.failed]:
        raise ModelError(f"{', '.join(failed)}: failed; 'Not run' above says why")


def sensitivity(
    run_folders: RunFolders,
    out: TablesOut = None,
    new_maps: NewMaps = False,
    seed: Seed = 0,
) -> None:
    """Measure what the choices that a paper leaves open move.

    Scores the stored maps of finished runs again under each other value that the protocol lists
    under 'open', such as > instead of >= at the threshold, and prints the difference of the main
    number for each method, with a star if its paired 95% interval does not hold 0. All numbers are
    written as CSV.
    """
    reading(*run_folders)
    from wsol_bench.common.files import require_writable_folder
    from wsol_bench.runs.stored_run import StoredRun

    runs = [StoredRun(path) for path in run_folders]
    folder = out or (runs[0].path / "tables" if len(runs) == 1 else None)
    if folder is not None:
        require_writable_folder(folder)
    file = None if folder is None else folder / "sensitivity"
    _print_sensitivity(runs, file, new_maps=new_maps, seed=seed)
    if file is None:
        print_message("To write all numbers with their intervals: --out FOLDER")
    else:
        print_notice(f"Tables: {file}.csv, .md, .tex")


def _require_places(
    experiment: "ExperimentConfig", weights: Path, folder: Path, *, vary: bool
) -> None:
    """Raise an error for what would fail after hours: folders, and a protocol without choices."""
    from wsol_bench.common.files import require_writable_folder

    experiment.dataset.require_root()
    if weights.is_file():
        raise ConfigError(
            f"--weights: expected a folder, found the file {weights}; give its folder"
        )
    if vary:
        from wsol_bench.protocols.open_choices import open_choices

        open_choices(experiment.protocol.name, experiment.protocol.options)
        if experiment.maps == "none":
            raise ConfigError(
                "--vary scores stored maps again: expected 'maps: all' or 'maps: label', found "
                "'maps: none'"
            )
    require_writable_folder(folder)


def _print_reproduction(done: "Reproduction", folder: Path, *, seed: int) -> None:
    """Print and write a table beside the numbers of its runs, and say what is missing, and why."""
    from wsol_bench.report.reproduction import causes_of, not_run, reproduction_table

    missing, causes = not_run(done), causes_of(done) if done.runs else []
    if done.runs:
        table = reproduction_table(done, seed=seed)
        notes = [f"Not run: {text}" for text in missing] + [f"Cause: {text}" for text in causes]
        _print_and_write(table, folder / "reproduction", notes)
    _print_list("Not run", missing)
    _print_list("Why numbers can differ", causes)
    if not done.runs:
        raise ConfigError(f"{done.experiment.name}: nothing was run; standard output says why")
    print_notice(f"Runs and tables: {folder}")


def _print_published(table: str, experiment: "ExperimentConfig", weights: Path) -> None:
    """Print a published table, and what is needed to run it."""
    from wsol_bench.report.reproduction import published_table, rows_with_needs

    published = experiment.published
    if published is not None:
        printed = published_table(published)
        print_table(_for_a_screen(printed), printed.title or None)
        for note in printed.notes:
            print_paragraph(note)
        print()
        _print_list("The paper states", published.states)
        _print_list("The paper does not state", published.leaves_open)
        _print_list("Why numbers can differ", [f"{c.name}: {c.says}" for c in published.causes])
        _print_list("To run it", _needed(experiment, published, weights))
        _print_list("What cannot be run with this", rows_with_needs(published))
    print_message(
        f"Then: wsol-bench reproduce {shlex.quote(table)} --data FOLDER --weights "
        f"{shlex.quote(str(weights))}"
    )


def _needed(experiment: "ExperimentConfig", published: "Published", weights: Path) -> list[str]:
    """Say what a table needs: the data set, and the weights of each network."""
    from wsol_bench.models.names import weights_file

    needed = [f"data set {experiment.dataset.name}: {published.data or '--data'}"]
    files: dict[str, list[str]] = {}
    for model in experiment.models:
        if weights_file(model.weights) is not None:
            where = published.weights_of(model.shown_name).rstrip(".")
            files.setdefault(where, []).append(f"{model.shown_name}: {model.weights}")
        else:
            source = f"torchvision's {model.weights}, which are downloaded or lie in {weights}"
            needed.append(f"{model.shown_name}: {source}")
    for where, listed in files.items():
        needed.append(f"{', '.join(listed)}{f'. Source: {where}.' if where else ''}")
    return needed


def _print_sensitivity(
    runs: "Sequence[StoredRun]", file: Path | None, *, new_maps: bool, seed: int
) -> None:
    """Measure, print and write the sensitivity of runs; each one is written when it is there."""
    import pandas as pd

    from wsol_bench.common.files import write_atomically
    from wsol_bench.common.harmless import csv_text
    from wsol_bench.report.sensitivity import sensitivity as measure
    from wsol_bench.report.sensitivity import sensitivity_table

    measured = []
    for run in runs:
        measured.append(measure(run, new_maps=new_maps, seed=seed))
        if file is not None:
            numbers = pd.concat([one.numbers for one in measured], ignore_index=True)
            write_atomically(file.with_suffix(".csv"), csv_text(numbers).encode())
    _print_and_write(sensitivity_table(measured), file, csv=False)


def _print_and_write(
    table: "FormattedTable", file: Path | None, notes: "Sequence[str]" = (), *, csv: bool = True
) -> None:
    """Print a table for people, and write it in the formats of files, with further notes there."""
    from wsol_bench.common.files import write_atomically
    from wsol_bench.report.written_tables import written

    print_table(_for_a_screen(table), table.title or None)
    for note in table.notes:
        print_paragraph(note)
    print()
    if file is not None:
        table = replace(table, notes=(*table.notes, *notes))
        write_atomically(file.with_suffix(".md"), written([table], "markdown").encode())
        write_atomically(file.with_suffix(".tex"), written([table], "latex").encode())
        if csv:
            write_atomically(file.with_suffix(".csv"), written([table], "csv").encode())


def _for_a_screen(table: "FormattedTable") -> "pd.DataFrame":
    """A table as text, whose groups become headings."""
    from wsol_bench.report.written_tables import text_table

    return text_table(table).rename(columns={table.group_column: "model"})


def _print_list(title: str, texts: "Sequence[str]") -> None:
    """Print a title and sentences below it, if there are any."""
    if texts:
        print_paragraph(f"{title}:")
        for text in texts:
            print_line(f"- {text}")
        print()
