"""The runs of a paper's table: one for each network, with what is missing for the others."""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsol_bench.common.progress import step
from wsol_bench.errors import ConfigError, ModelError, RunError
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
from wsol_bench.runs.methods import built
from wsol_bench.runs.run import run as run_experiment
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["Missing", "Reproduction", "default_folder", "lacks_data", "load_table", "reproduce"]

_NO_MODEL_FOLDER = "no-model"
# The most characters that a folder's name takes from the name of a model.
_LONGEST = 80
# The value of ${DATA} if no folder of the data set is given.
_NO_DATA = "--data"


@dataclass(frozen=True)
class Missing:
    """A network of a table that was not run.

    Attributes:
        model: its name in the results.
        reason: a text that says what is missing, where it is to be had and where it belongs.
        failed: whether nothing is missing, and the network itself failed.
    """

    model: str
    reason: str
    failed: bool = False


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
        ConfigError: there is no such table, a change does not fit, or a folder of the data set is
            given to an experiment that names its own.
    """
    file = table_file(table)
    variables = {"DATA": str(data or _NO_DATA), "WEIGHTS": str(weights)}
    experiment = load_config(file, overrides, changes, variables)
    if data is not None and "${DATA}" not in file.read_text(encoding="utf-8"):
        raise ConfigError(
            f"{file}: expected ${{DATA}} where the folder of --data belongs, found an experiment "
            "that names its data set itself; leave --data out, or write ${DATA} in 'dataset'"
        )
    return experiment


def lacks_data(experiment: ExperimentConfig) -> bool:
    """Return whether a table was loaded without the folder of its data set, and needs one."""
    return any(_NO_DATA in str(value) for value in experiment.dataset.options.values())


def default_folder(table: str) -> Path:
    """The folder of a table's runs, unless another one is named."""
    return Path("results/reproduce") / table_file(table).stem


def reproduce(
    experiment: ExperimentConfig, out: Path, *, weights: Path, force: bool = False
) -> Reproduction:
    """Run each network of a table in a folder of its own, so that others can be added later.

    A network whose weights are missing, or do not fit, is left out. A network that has rows in the
    published table is run with the methods of its rows alone.

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
        except ModelError as error:
            missing.append(Missing(name, str(error)))
            continue
        step(f"network {name}" if part.models else "methods that need no network")
        try:
            runs.append(_run(part, out / _folder_name(name), force=force))
        except ModelError as error:
            missing.append(Missing(name, str(error), failed=True))
    return Reproduction(experiment, tuple(runs), tuple(missing))


def _run(part: ExperimentConfig, folder: Path, *, force: bool) -> StoredRun:
    """Run one network of a table; RunError that says which folder is in the way."""
    try:
        return run_experiment(part, out=folder, force=force).folder
    except RunError as error:
        raise RunError(
            f"{error}. A table has a folder for each network, which is evaluated with the methods "
            f"of its rows: without {folder} this network is evaluated anew, and no other"
        ) from error


def _parts(experiment: ExperimentConfig) -> Iterator[ExperimentConfig]:
    """The experiment of each network, then that of the methods that need none."""
    published = experiment.published
    for model in experiment.models:
        methods = experiment.methods
        if published is not None and published.has_rows_of(model.shown_name):
            methods = _methods(experiment, published.methods_of(model.shown_name))
        if methods:
            yield experiment.model_copy(update={"models": [model], "methods": methods})
    if not experiment.models:
        yield experiment
    elif published is not None and (
        methods := _methods(experiment, published.methods_of(NO_MODEL))
    ):
        yield experiment.model_copy(update={"models": [], "methods": methods})


def _methods(experiment: ExperimentConfig, wanted: Collection[str]) -> list[MethodConfig]:
    """The methods of an experiment that have one of some names in its results."""
    return [
        method for method in experiment.methods if any(one.name in wanted for one in built(method))
    ]


def _folder_name(model: str) -> str:
    """A folder's name for a model: letters, digits and a few signs, and a digest if others go.

    It is neither that of another model nor that of a file of the table.
    """
    if model == NO_MODEL:
        return _NO_MODEL_FOLDER
    plain = re.sub(r"[^\w+-]+", "_", model).strip("_")[:_LONGEST] or "model"
    if plain == model and plain != _NO_MODEL_FOLDER:
        return plain
    return f"{plain}-{hashlib.sha256(model.encode()).hexdigest()[:6]}"


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
            f"{f'Source: {where}.' if where else ''}".rstrip()
        )
