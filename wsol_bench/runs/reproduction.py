"""The runs of a paper's table: one for each network, with what is missing for the others."""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsol_bench.common.progress import step
from wsol_bench.errors import ModelError
from wsol_bench.models.names import weights_file
from wsol_bench.papers.published import Published
from wsol_bench.papers.shelf import table_file
from wsol_bench.runs.experiment_config import (
    ExperimentConfig,
    MethodConfig,
    ModelConfig,
    load_config,
)
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.run import run as run_experiment
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["Missing", "Reproduction", "default_folder", "load_table", "reproduce"]


@dataclass(frozen=True)
class Missing:
    """A network of a table that was not run.

    Attributes:
        model: its name in the results.
        reason: a text that says what is missing, where it is to be had and where it belongs.
    """

    model: str
    reason: str


@dataclass(frozen=True, eq=False)
class Reproduction:
    """The runs of a table.

    Attributes:
        experiment: the whole table as an experiment.
        runs: the finished runs, one a network, in the order of the experiment.
        missing: the networks that were not run.
    """

    experiment: ExperimentConfig
    runs: tuple[StoredRun, ...]
    missing: tuple[Missing, ...]


def load_table(
    table: str,
    *,
    data: Path | None,
    weights: Path,
    overrides: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> ExperimentConfig:
    """The experiment of a paper's table.

    Args:
        table: the name of a table, or the path of an experiment file.
        data: the folder of the data set (``${DATA}`` in the file); None if the table is only read.
        weights: the folder of weights files (``${WEIGHTS}``).
        overrides, changes: see ``load_config``.

    Raises:
        ConfigError: there is no such table, or a change does not fit.
    """
    variables = {"DATA": str(data or "--data"), "WEIGHTS": str(weights)}
    return load_config(table_file(table), overrides, changes, variables)


def default_folder(table: str) -> Path:
    """The folder of a table's runs, unless another one is named."""
    return Path("results/reproduce") / table_file(table).stem


def reproduce(
    experiment: ExperimentConfig, out: Path, *, weights: Path, force: bool = False
) -> Reproduction:
    """Run each network of a table in a folder of its own, so that others can be added later.

    A network whose weights are missing, or do not fit, is left out. With published numbers a
    network is run with the methods of its rows alone.

    Args:
        experiment: the table.
        out: the folder below which the runs are; a run there is continued, extended or read.
        weights: the folder in which torchvision's published weights are looked for before they are
            downloaded.
        force: whether to delete the runs of the table below ``out`` first.

    Raises:
        WsolBenchError: the data set cannot be loaded, or a run fails.
    """
    runs: list[StoredRun] = []
    missing: list[Missing] = []
    for part in _parts(experiment):
        name = part.models[0].shown_name if part.models else NO_MODEL
        try:
            for model in part.models:
                _require_weights(model, experiment.published, weights)
            step(f"network {name}" if part.models else "methods that need no network")
            runs.append(run_experiment(part, out=out / _folder_name(name), force=force).folder)
        except ModelError as error:
            missing.append(Missing(name, str(error)))
    return Reproduction(experiment, tuple(runs), tuple(missing))


def _parts(experiment: ExperimentConfig) -> Iterator[ExperimentConfig]:
    """The experiment of each network, then that of the methods that need none."""
    published = experiment.published
    every = [method.label or method.name for method in experiment.methods]
    for model in experiment.models:
        wanted = every if published is None else published.methods_of(model.shown_name)
        if methods := _methods(experiment, wanted):
            yield experiment.model_copy(update={"models": [model], "methods": methods})
    if not experiment.models:
        yield experiment
    elif published is not None and (
        methods := _methods(experiment, published.methods_of(NO_MODEL))
    ):
        yield experiment.model_copy(update={"models": [], "methods": methods})


def _methods(experiment: ExperimentConfig, wanted: Collection[str]) -> list[MethodConfig]:
    """The methods of an experiment that have one of some names in its results."""
    return [method for method in experiment.methods if (method.label or method.name) in wanted]


def _folder_name(model: str) -> str:
    """A folder's name for a model: letters, digits and a few signs, and a digest if others go."""
    if model == NO_MODEL:
        return "no-model"
    plain = re.sub(r"[^\w.+-]+", "_", model).strip("._") or "model"
    return plain if plain == model else f"{plain}-{hashlib.sha256(model.encode()).hexdigest()[:6]}"


def _require_weights(model: ModelConfig, published: Published | None, folder: Path) -> None:
    """Raise ModelError, with advice, unless the weights of a model are there."""
    file = weights_file(model.weights)
    if file is None:
        if model.weights != "random":
            from wsol_bench.models.published_weights import obtain

            obtain(model.name, model.weights, folder)
    elif not file.is_file():
        where = "" if published is None else published.weights_of(model.shown_name).rstrip(".")
        raise ModelError(
            f"{model.shown_name}: the weights file {file} is missing. "
            f"{f'Get it: {where}. ' if where else ''}Put it there, then give the same command again"
        )
