"""Commands that make runs: demo, run, rescore, merge.

A command has a parameter for each of its options, which may be more than eight.
"""

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wsol_bench.cli.completion import protocol_names
from wsol_bench.cli.output import print_results
from wsol_bench.cli.process import print_message, print_notice
from wsol_bench.cli.shared_options import (
    AnyDevice,
    AsJson,
    Device,
    ExperimentFile,
    Force,
    Limit,
    Out,
    Overrides,
    ProtocolOverrides,
    RunFolderPath,
    reading,
    reading_experiment,
    utf8_path,
)
from wsol_bench.errors import ConfigError

if TYPE_CHECKING:
    from wsol_bench.runs.engines.base import Engine
    from wsol_bench.runs.experiment_config import ExperimentConfig
    from wsol_bench.runs.results import StoredResults

__all__ = ["demo", "merge", "rescore", "run"]


EngineName = Literal["local", "ray"]

Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Stop at the first image that cannot be evaluated; by default it is counted and "
        "reported.",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Evaluate the I-th of N shards of the run only; merge puts the shards together.",
    ),
]
EngineOption = Annotated[
    EngineName, typer.Option(help="Where images are evaluated: in this process, or by Ray workers.")
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Address of the Ray cluster, or auto. By default Ray is started on this machine.",
    ),
]
Actors = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Number of Ray workers. By default one for each GPU, or one for each CPU core if "
        "there is no GPU.",
    ),
]


def demo(
    out: Out = None, limit: Limit = None, device: AnyDevice = "auto", as_json: AsJson = False
) -> None:
    """Evaluate some map methods on the embedded data set.

    Needs no data and no download: the small network comes with the package, and the 300 images are
    drawn into the cache folder when they are first needed.
    Prints a table of localization errors, and writes a run folder with figures of maps, boxes and
    numbers (figures/) and a page to look at (report.html).
    """
    from wsol_bench.cli.page import write_and_say
    from wsol_bench.cli.pictures import draw_and_say

    experiment = _experiment(
        Path(__file__).with_name("demo.yaml"), None, limit=limit, device=device
    )
    results = _carry_out(experiment, out)
    from wsol_bench.runs.stored_run import REPORT

    print_results(results, as_json)
    print_notice(f"Results: {results.folder.path}")
    draw_and_say([results.folder], results.folder.path / "figures")
    write_and_say([results.folder], results.folder.path / REPORT)


def run(
    config: ExperimentFile,
    out: Out = None,
    overrides: Overrides = None,
    limit: Limit = None,
    device: Device = None,
    strict: Strict = False,
    force: Force = False,
    shard: Shard = None,
    engine: EngineOption = "local",
    address: Address = None,
    actors: Actors = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate an experiment, or go on with an interrupted run.

    Reads the experiment file and the data and weights that it names. Makes a localization map for
    every image, model, method and class, and scores the maps by the protocol. Prints a summary, and
    writes a run folder with rows, maps and tables.

    The same command goes on with a run that was interrupted. A finished run is read, not evaluated
    again.
    """
    from wsol_bench.runs.shards import canonical_shard

    shard = None if shard is None else canonical_shard(shard, "--shard")
    chosen: Engine | None = None
    if engine == "ray":
        from wsol_bench.runs.engines.ray import RayEngine

        chosen = RayEngine(address=address, n_actors=actors)
    elif address is not None or actors is not None:
        option = "--address" if address is not None else "--actors"
        raise ConfigError(
            f"{option} needs --engine ray, found --engine {engine}; add --engine ray, or leave "
            f"{option} out"
        )
    experiment = _experiment(config, overrides, limit=limit, device=device, strict=strict or None)
    results = _carry_out(experiment, out, engine=chosen, shard=shard, force=force)
    _print_with_next_step(results, as_json)


def rescore(
    run_folder: RunFolderPath,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name or file of the protocol. By default the run's own protocol.",
            autocompletion=protocol_names,
        ),
    ] = None,
    overrides: ProtocolOverrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the new run. By default RUN/rescored/<protocol>.",
            callback=utf8_path,
        ),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Score the stored maps of a run again, without the network.

    Reads the maps of a finished run, and scores them by another protocol, by a changed one, or for
    other metrics. Prints a summary, and writes a new run folder.
    """
    reading(run_folder)
    from wsol_bench.runs.rescore import rescore as rescore_run
    from wsol_bench.runs.stored_run import StoredRun

    results = rescore_run(
        StoredRun(run_folder), protocol, overrides=overrides or (), out=out, force=force
    )
    _print_with_next_step(results, as_json)


def merge(
    run_folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders of all shards of one run.",
            show_default=False,
            callback=lambda paths: [utf8_path(path) for path in paths],
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Folder of the whole run.", callback=utf8_path),
    ],
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Put the shards of a run together into one run.

    Reads the folders that run --shard 1/N, 2/N, ... N/N wrote. Prints a summary, and writes the
    folder of the whole run, as if it had never been split. The shards stay as they are.
    """
    reading(*run_folders)
    from wsol_bench.runs.merge import merge as merge_runs
    from wsol_bench.runs.stored_run import StoredRun

    results = merge_runs([StoredRun(path) for path in run_folders], out, force=force)
    _print_with_next_step(results, as_json)


def _experiment(config: Path, overrides: list[str] | None, **flags: object) -> "ExperimentConfig":
    """The experiment of a file, changed by ``--set`` and by the flags that are not None."""
    reading_experiment(config)  # before anything that takes time
    from wsol_bench.runs.experiment_config import load_config

    changes = {key: value for key, value in flags.items() if value is not None}
    experiment = load_config(config, overrides or [], changes)
    experiment.dataset.require_root()
    return experiment


def _carry_out(
    experiment: "ExperimentConfig",
    out: Path | None,
    *,
    engine: "Engine | None" = None,
    shard: str | None = None,
    force: bool = False,
) -> "StoredResults":
    """Run an experiment in ``out``, or in a folder below results/."""
    if force and out is None:
        raise ConfigError(
            "--force deletes the run in the folder that --out names: expected --out FOLDER, found "
            "none"
        )
    if out is not None and not force:
        from wsol_bench.runs.run_folders import require_place

        require_place(out, experiment.deciding(), shard)  # before torch and data are loaded
    from wsol_bench.runs.run import run as run_experiment
    from wsol_bench.runs.run import run_below

    # Standard output is for results: what libraries print there (downloads) goes elsewhere.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            if out is not None:
                results = run_experiment(
                    experiment, out=out, engine=engine, shard=shard, force=force
                )
            else:
                parent = Path("results") / experiment.name
                results = run_below(experiment, parent, engine=engine, shard=shard)
        except KeyboardInterrupt as error:
            without = " without --force" if force else ""
            raise KeyboardInterrupt(
                f"The same command{without} goes on where this one stood."
            ) from error
    if results.n_before:
        n_parts, began = len(results.folder.parts()), results.folder.manifest.started
        print_message(
            f"{results.n_before} of {n_parts} parts were done before; the run began {began}. To "
            "evaluate everything anew: --force, or another --out"
        )
    return results


def _print_with_next_step(results: "StoredResults", as_json: bool) -> None:
    """Print the summary of a run, then where it is and how to look at it."""
    print_results(results, as_json)
    path = results.folder.path
    print_notice(f"Results: {path}")
    print_message(f"To look at them: wsol-bench report {shlex.quote(str(path))} --open")
