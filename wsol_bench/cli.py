"""The command line. Each command imports what it needs, so that ``--help`` is instant."""

import contextlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wsol_bench import __version__
from wsol_bench.errors import PredictionError, WsolBenchError

if TYPE_CHECKING:
    import pandas as pd

    from wsol_bench.engines.local import Results

app = typer.Typer(
    name="wsol-bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Out = Annotated[Path | None, typer.Option("--out", help="Folder of the run; new or empty.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON records, and nothing else.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="K=V", help="Override a key (repeatable): models.0.name=vgg16."),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Evaluate the first N images only.")
]
Kind = Literal["methods", "models", "datasets", "protocols"]
FileFormat = Literal["devkit", "kaggle"]

Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1, ... or auto.")]


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(__version__)
        raise typer.Exit
    return wanted


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
    """Localization numbers that can be trusted: classifier, map method, data set, protocol."""


@app.command()
def demo(
    out: Out = None, limit: Limit = None, device: Device = None, as_json: AsJson = False
) -> None:
    """Evaluate the embedded data set."""
    from wsol_bench.report.figures import contact_sheet

    results = _run(Path(__file__).with_name("demo.yaml"), out, None, limit, device)
    assert results.folder is not None
    sheet = results.folder.path / "figures/contact_sheet.png"
    contact_sheet(results.folder, sheet, method="grad_cam")
    _show(results.summary, as_json)
    _say(f"Results: {results.folder.path}\nPicture: {sheet}")


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="Experiment, a YAML file.", show_default=False)],
    out: Out = None,
    overrides: Set = None,
    limit: Limit = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Carry out an experiment."""
    results = _run(config, out, overrides, limit, device)
    assert results.folder is not None
    _show(results.summary, as_json)
    _say(f"Results: {results.folder.path}")


@app.command()
def score(
    file: Annotated[Path, typer.Argument(help="Prediction file.", show_default=False)],
    dataset: Annotated[str, typer.Option(help="Data set that the file predicts.")] = "imagenet",
    root: Annotated[Path | None, typer.Option(help="Its root folder.")] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="K=V", help="Option of the data set: devkit=DIR."),
    ] = None,
    file_format: Annotated[
        FileFormat | None, typer.Option("--format", help="By default told from the first line.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score a prediction file as ILSVRC does."""
    if not file.is_file():
        raise PredictionError(f"prediction file {file} does not exist")
    from wsol_bench.config import load_dataset
    from wsol_bench.predictions import read_predictions, score_predictions

    content: dict[str, Any] = {"name": dataset, **({"root": str(root)} if root else {})}
    loaded = load_dataset(content, options or [])
    predictions = read_predictions(file, loaded, format=file_format)
    _show(score_predictions(predictions, loaded, name=file.name), as_json)


@app.command()
def export(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    file_format: Annotated[FileFormat, typer.Option("--format", help="Format of the files.")],
    out: Annotated[Path | None, typer.Option(help="Folder; RUN/predictions by default.")] = None,
    devkit: Annotated[
        Path | None, typer.Option(help="Devkit folder, where the run's data set had no IDs.")
    ] = None,
) -> None:
    """Write a run's predictions for the official tools."""
    from wsol_bench.report.export import export_run
    from wsol_bench.store import RunFolder

    folder = RunFolder(run_folder)
    target = out or folder.path / "predictions"
    for line in export_run(folder, target, format=file_format, devkit=devkit):
        print(line)


@app.command("list")
def list_things(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List the names that a configuration can use."""
    for line in _names(kind):
        print(line)


@app.command()
def schema() -> None:
    """Print the JSON schema of an experiment."""
    from wsol_bench.config import ExperimentConfig

    print(json.dumps(ExperimentConfig.model_json_schema(), indent=2))


@app.command()
def doctor(
    config: Annotated[Path, typer.Argument(help="Experiment, a YAML file.", show_default=False)],
    overrides: Set = None,
) -> None:
    """Check an experiment before it is run."""
    from wsol_bench.config import load_config
    from wsol_bench.doctor import diagnose

    for line in diagnose(load_config(config, overrides or [])):
        # File names and words are other people's: nothing in them may steer the terminal.
        print("".join(c if c.isprintable() else repr(c)[1:-1] for c in line))


def main() -> None:
    """Entry point of ``wsol-bench``: an error of ours is a message, not a traceback."""
    # ``my_module:my_cam`` may lie in the working directory, as with ``python -m``; last, so that
    # nothing there hides an installed module.
    sys.path.append(str(Path.cwd()))
    try:
        app()
    except (WsolBenchError, OSError) as error:
        _say(f"Error: {error}")
        sys.exit(1)


def _run(
    config: Path,
    out: Path | None,
    overrides: list[str] | None,
    limit: int | None,
    device: str | None,
) -> "Results":
    from wsol_bench.config import load_config
    from wsol_bench.engines.local import default_run_folder
    from wsol_bench.engines.local import run as run_experiment

    given = {"limit": limit, "device": device}
    flags = {key: value for key, value in given.items() if value is not None}
    experiment = load_config(config, overrides or []).model_copy(update=flags)
    # Standard output is for results: what libraries print there (downloads) goes elsewhere.
    with contextlib.redirect_stdout(sys.stderr):
        folder = out or default_run_folder(experiment)
        try:
            return run_experiment(experiment, out=folder)
        except KeyboardInterrupt:
            _say(f"Interrupted; {folder} holds an unfinished run, if it got that far.")
            raise


def _show(summary: "pd.DataFrame", as_json: bool) -> None:
    from wsol_bench.report.tables import columns_for_people, records

    if as_json:
        print(json.dumps(records(summary), indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = columns_for_people(summary)
    table = Table(*shown.columns)
    for line in shown.itertuples(index=False):
        table.add_row(*(Text(str(cell)) for cell in line))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    for name, digest in summary[["protocol", "protocol_hash"]].drop_duplicates().to_numpy():
        print(f"Errors in %. Protocol {name}{f' ({digest})' if digest else ''}.")


def _names(kind: Kind) -> Iterable[str]:
    if kind == "methods":
        from wsol_bench.cams import cam_methods

        return [f"{name:24} {cam_methods.get(name).paper}" for name in cam_methods]
    if kind == "models":
        from wsol_bench.models.classifiers import model_names

        return [*model_names(), "timm/<name>", "<module>:<builder>"]
    if kind == "datasets":
        from wsol_bench.datasets import datasets
        from wsol_bench.registry import option_lines

        return [
            line
            for name in datasets
            for line in (
                f"{name:24} {datasets.get(name).summary}",
                *option_lines(datasets.get(name).load),
            )
        ]
    from wsol_bench.protocols import load_protocol, protocol_names

    return [f"{p.name:24} {p.hash}  {p.paper}" for p in map(load_protocol, protocol_names())]


def _say(text: str) -> None:
    print(text, file=sys.stderr)
