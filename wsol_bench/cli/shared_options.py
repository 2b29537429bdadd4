"""Options that several commands share, each with its one help text."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from wsol_bench.cli.completion import dataset_names, experiment_keys
from wsol_bench.cli.process import print_notice
from wsol_bench.common.progress import step
from wsol_bench.errors import ConfigError, did_you_mean, shown

__all__ = [
    "AnyDevice",
    "AsJson",
    "DatasetName",
    "DatasetOptions",
    "DatasetRoot",
    "Device",
    "ExperimentFile",
    "Force",
    "Limit",
    "Out",
    "Overrides",
    "ProtocolOverrides",
    "Quiet",
    "RunFolderPath",
    "RunFolders",
    "TablesOut",
    "Verbose",
    "pairs_of",
    "reading",
    "reading_experiment",
    "searching",
    "utf8_path",
]


# How many files of a folder a message names.
_MOST_FILES = 8


def utf8_path(path: Path | None) -> Path | None:
    """A path that is given for results; ConfigError if its name is not valid UTF-8.

    Results and manifests name the folder as text. So this must fail before the work, not after.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{shown(str(path))}: expected a path whose name is valid UTF-8; choose or make "
            "another folder"
        ) from error
    return path


def reading_experiment(file: Path) -> None:
    """Say that an experiment is read; ConfigError at once if the file is none, before imports."""
    if file.is_file():
        step(f"reading {file.name}")
        return
    folder = file if file.is_dir() else file.parent
    found = (*folder.glob("[!.]*.yaml"), *folder.glob("[!.]*.yml"))  # not those of other tools
    files = sorted(map(str, found))
    if file.is_dir():
        there = f"Experiment files in it: {', '.join(files[:_MOST_FILES])}. " if files else ""
        raise ConfigError(
            f"{file}: expected an experiment file, found a folder. {there}This writes an "
            f"experiment for the data in a folder: wsol-bench init my.yaml --data "
            f"{shlex.quote(str(file))}"
        )
    if not file.exists():
        advice = (
            did_you_mean(str(file), files)
            if files
            else (f"this writes a first one: wsol-bench init {shlex.quote(str(file))}")
        )
        raise ConfigError(f"experiment {file} does not exist; {advice}")


def reading(*run_folders: Path) -> None:
    """Say that runs are read; RunError at once if a folder holds none, before pandas is loaded."""
    step(f"reading {', '.join(map(str, run_folders))}")
    from wsol_bench.runs.run_folders import begun_extension, require_run

    for path in run_folders:
        require_run(path)
        if unfinished := begun_extension(path):
            print_notice(unfinished)


def searching(*folders: Path) -> None:
    """Say that runs are searched; ConfigError at once if a folder does not exist."""
    step(f"looking for runs in {', '.join(map(str, folders))}")
    from wsol_bench.runs.run_folders import require_folder_of_runs

    for path in folders:
        require_folder_of_runs(path)


def _device_name(name: str | None) -> str | None:
    """The value of ``--device``; ConfigError if no device can have the name."""
    from wsol_bench.models.names import require_device_name

    if name is not None:
        require_device_name(name, "--device")
    return name


ExperimentFile = Annotated[
    Path,
    typer.Argument(
        metavar="EXPERIMENT", help="Experiment file in YAML (docs/experiments.md).",
        show_default=False,
    ),
]  # fmt: skip
RunFolderPath = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="Folder of a finished run.", show_default=False, callback=utf8_path
    ),
]

RunFolders = Annotated[
    list[Path],
    typer.Argument(metavar="RUN", help="Folders of finished runs.", show_default=False),
]
TablesOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="Folder of the tables. By default RUN/tables of a single run.",
        callback=utf8_path,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        callback=utf8_path,
        help="Folder of the run: new, empty, or the run to go on with. By default a new folder "
        "below results/.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="First delete the run in the folder that --out names.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON records and nothing else on standard output.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the experiment, such as models.0.name=vgg16. May be repeated.",
        autocompletion=experiment_keys,
    ),
]
ProtocolOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key, such as protocol.box.threshold=0.2 or metrics=[mean_iou]. May be "
        "repeated.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Evaluate the first N images only."),
]
_DEVICE_HELP = "Device of the network: cpu, cuda, cuda:1, or auto (the first GPU, else the CPU)."
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help=f"{_DEVICE_HELP} By default the experiment's.",
        callback=_device_name,
    ),
]
AnyDevice = Annotated[
    str, typer.Option("--device", metavar="NAME", help=_DEVICE_HELP, callback=_device_name)
]

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print results and errors only, and nothing meanwhile."),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Print when each step began, and an error's traceback."),
]

DatasetName = Annotated[
    str,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="Name of the data set (wsol-bench list datasets).",
        autocompletion=dataset_names,
    ),
]
DatasetRoot = Annotated[
    Path | None,
    typer.Option("--root", metavar="FOLDER", help="Root folder of the data set; most need one."),
]
DatasetOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="KEY=VALUE",
        help="Option of the data set, such as subset=FILE or devkit=FOLDER. May be repeated.",
    ),
]


def pairs_of(options: list[str] | None) -> list[str]:
    """The values of ``--option``; ConfigError unless each is KEY=VALUE."""
    for option in options or []:
        key, equals, _ = option.partition("=")
        if not key or not equals:
            raise ConfigError(
                f"--option {option}: expected KEY=VALUE, such as k=500, found {option!r}"
            )
    return options or []
