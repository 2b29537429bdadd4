"""The functions that scripts and notebooks call: they can do what the command line can do.

``run``, ``open_run`` and ``merge`` return ``Results``, whose methods analyze, score again and show
the run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from wsol_bench.calls import (
    given_networks,
    in_words_of_python,
    path_of,
    seed_of,
    with_names,
)
from wsol_bench.datasets import Dataset
from wsol_bench.errors import ConfigError, shown
from wsol_bench.report.notebook import Leaderboard, Reproduced
from wsol_bench.results import Results
from wsol_bench.runs.engines.base import Engine
from wsol_bench.runs.experiment_config import ExperimentConfig, load_config
from wsol_bench.runs.results import summarize_run
from wsol_bench.runs.run import run as run_experiment
from wsol_bench.runs.stored_run import StoredRun

__all__ = ["check", "convert", "doctor", "leaderboard", "merge", "open_run", "reproduce", "run"]


def run(
    config: Path | str | Mapping[str, Any] | ExperimentConfig,
    *,
    out: Path | str | None = None,
    limit: int | None = None,
    device: str | None = None,
    engine: Engine | None = None,
    shard: str | None = None,
    force: bool = False,
) -> Results:
    """Carry out an experiment, or continue a run of it that was interrupted.

    Examples:
        >>> results = run(
        ...     {
        ...         "name": "first",
        ...         "dataset": "shapes",
        ...         "models": ["shapes_net"],
        ...         "methods": ["grad_cam", "layer_cam"],
        ...         "protocol": "gradcam-2017",
        ...     },
        ...     limit=20,
        ... )
        >>> results.summary["method"].tolist()
        ['grad_cam', 'layer_cam']

    Args:
        config: the path of a YAML file, a mapping, or an ``ExperimentConfig``. In a mapping a model
            may be a ``torch.nn.Module``, and a method or metric what its decorator returns; with
            options they are the ``name`` of a mapping: ``{"name": network, "layer": "body"}``.
        out: the folder of the run. If it holds the same run, that run is continued, or read if
            it is finished; a finished run of fewer images is extended. Without ``out`` the run is
            stored in a temporary folder, which is deleted with the results.
        limit: the number of images to evaluate, from the first on; None for the experiment's.
        device: ``cpu``, ``cuda``, ``cuda:1``, ... or ``auto``; None for the experiment's.
        engine: the engine that evaluates the parts; by default this process.
        shard: ``i/n``, i from 1 to n: evaluate every n-th part only. ``merge`` joins n such runs.
        force: whether to delete a run in ``out`` first.

    Raises:
        RunError: ``out`` holds something else, another process writes there, or more images than
            ``max_failed`` allows cannot be evaluated.
        WsolBenchError: something is wrong with the configuration, the data set or a model; this is
            found before the first image is evaluated if possible.
    """
    given = {"limit": limit, "device": None if device is None else str(device)}  # torch.device, too
    changes = {key: value for key, value in given.items() if value is not None}
    networks: dict[str, Any] = {}
    with in_words_of_python():
        experiment = load_config(_named(config, networks), changes=changes)
        _require_engine(engine, networks)
        with given_networks(networks):
            results = run_experiment(
                experiment,
                out=None if out is None else path_of("out", out),
                engine=engine,
                shard=None if shard is None else str(shard),
                force=force,
            )
    return Results(results.summary, results.folder, results.n_before)


def open_run(path: Path | str) -> Results:
    """Read a finished run from its folder.

    Args:
        path: the folder.

    Raises:
        RunError: the folder holds no run, or the run is not finished, or its files are damaged.
    """
    with in_words_of_python():
        folder = StoredRun(path_of("path", path))
        folder.require_finished()
        return Results(summarize_run(folder), folder)


def merge(shards: Sequence[Path | str], out: Path | str, *, force: bool = False) -> Results:
    """Put the shards of a run together: the results are those of the run that was not split.

    Args:
        shards: the folders of all shards of one run.
        out: the folder of the whole run.
        force: whether to delete a run in ``out`` first.

    Raises:
        RunError: the shards belong to different runs, or a part is missing or is in two shards.
    """
    from wsol_bench.runs.merge import merge as merge_runs

    listed = [shards] if isinstance(shards, Path | str) else shards
    with in_words_of_python():
        runs = [StoredRun(path_of("shards", shard)) for shard in listed]
        results = merge_runs(runs, path_of("out", out), force=force)
    return Results(results.summary, results.folder, results.n_before)


def leaderboard(
    folders: Path | str | Sequence[Path | str], *, number: str | None = None, seed: int = 0
) -> Leaderboard:
    """Rank the methods of all finished runs below folders, as ``wsol-bench leaderboard`` does.

    Methods are ranked only among those with the same data set, protocol and evaluated images.

    Args:
        folders: a folder or several, below which runs are searched.
        number: the number to rank by; by default the protocol's own.
        seed: seed of the bootstrap of intervals.

    Raises:
        ConfigError: a folder does not exist, or no run has the number.
        RunError: no finished run is found.
    """
    from wsol_bench.report.leaderboard import leaderboard as rank

    listed = [folders] if isinstance(folders, Path | str) else folders
    with in_words_of_python():
        if not isinstance(listed, Sequence) or not listed:
            raise ConfigError(f"folders: expected a folder or several, found {shown(listed)}")
        board = rank([path_of("folders", one) for one in listed], number=number, seed=seed_of(seed))
    return Leaderboard(board.rankings, board.left_out)


def reproduce(
    table: str | Path,
    *,
    data: Path | str | None = None,
    weights: Path | str = "weights",
    out: Path | str | None = None,
    limit: int | None = None,
    device: str | None = None,
    force: bool = False,
) -> Reproduced:
    """Run a paper's table, as ``wsol-bench reproduce`` does.

    Args:
        table: the name of a table (``wsol-bench list papers``), or the path of an experiment file.
        data: the folder of the data set.
        weights: the folder of the weights files that the table names. Networks whose weights are
            missing are left out.
        out: the folder of the runs, one a network; by default ``results/reproduce/<table>``.
        limit: the number of images to evaluate, from the first on; None for all.
        device: ``cpu``, ``cuda``, ``cuda:1``, ... or ``auto``; None for the table's.
        force: whether to delete the runs in ``out`` first.

    Returns:
        The numbers beside the paper's (``.table``, text as the command prints it), ``.not_run``,
        ``.causes``, the stored runs (``.runs``), and ``.sensitivity()``, which is ``--vary``.

    Raises:
        ConfigError: there is no such table, or it needs ``data``.
        DatasetError: the data set cannot be loaded.
        RunError: a folder in ``out`` holds another run.
    """
    from wsol_bench.runs.reproduction import default_folder, lacks_data, load_table
    from wsol_bench.runs.reproduction import reproduce as reproduce_table

    given = {"limit": limit, "device": None if device is None else str(device)}
    changes = {key: value for key, value in given.items() if value is not None}
    with in_words_of_python():
        folder = path_of("weights", weights)
        experiment = load_table(
            str(table),
            data=None if data is None else path_of("data", data),
            weights=folder,
            changes=changes,
        )
        if lacks_data(experiment):
            raise ConfigError(f"{table}: expected the folder of its data set (--data), found none")
        experiment.dataset.require_root()
        place = default_folder(str(table)) if out is None else path_of("out", out)
        done = reproduce_table(experiment, place, weights=folder, force=force)
    return Reproduced(done.experiment, done.runs, done.missing)


def doctor(config: Path | str | Mapping[str, Any] | ExperimentConfig) -> list[str]:
    """Check an experiment and its data before it is run, as ``wsol-bench doctor`` does.

    Args:
        config: the experiment, as in ``run``.

    Returns:
        Lines for people: what is odd about the data, which images a run would skip and why, and
        whether the order of each model's classes is plausible.

    Raises:
        WsolBenchError: the experiment cannot be run.
    """
    from wsol_bench.runs.doctor import diagnose

    networks: dict[str, Any] = {}
    with in_words_of_python():
        experiment = load_config(_named(config, networks))
        with given_networks(networks):
            return list(diagnose(experiment))


def convert(
    dataset: Path | str | Mapping[str, Any] | Dataset, to: Path | str, *, force: bool = False
) -> list[str]:
    """Write the boxes of a data set as a table or as COCO JSON, as ``wsol-bench convert`` does.

    Args:
        dataset: a loaded ``Dataset``, a data set as an experiment has it (``"shapes"``, or a
            mapping with ``name`` and options), or the path of an experiment file.
        to: the file to write: .parquet or .csv for a table, .json for COCO.
        force: whether to replace the file if it exists.

    Returns:
        Lines for people: what the file does not hold, and how an experiment reads it.

    Raises:
        ConfigError: the file exists, or has another extension, or the data set is not valid.
        DatasetError: the data set cannot be loaded.
    """
    from wsol_bench.datasets.written import require_target, write_dataset
    from wsol_bench.runs.experiment_config import load_dataset

    with in_words_of_python():
        target = path_of("to", to)
        require_target(target, force=force)
        if isinstance(dataset, Dataset):
            loaded = dataset
        elif isinstance(dataset, Mapping):
            loaded = load_dataset(dataset)
        elif Path(path_of("dataset", dataset)).suffix.lower() in {".yaml", ".yml"}:
            loaded = load_config(Path(dataset)).dataset.load()
        else:
            loaded = load_dataset({"name": str(dataset)})
        return list(write_dataset(loaded, target))


def check(plugin: Any, **options: Any) -> pd.DataFrame:
    """Check that a map method or a metric keeps its contract, as ``wsol-bench check`` does.

    Args:
        plugin: what ``@cam_method`` or ``@metric`` returns, or the name of a method or a metric.
        options: options of the method or the metric.

    Returns:
        One line a clause: ``clause``, ``result`` (passed, WARNING, FAILED, or - for a clause that
        does not apply) and ``detail``.

    Raises:
        ConfigError: it is neither a map method that uses a network nor a metric, or an option does
            not fit.
    """
    from wsol_bench.common.catalog import METRICS, require_method_or_metric
    from wsol_bench.common.registry import import_object
    from wsol_bench.contracts.map_method import check_map_method
    from wsol_bench.contracts.metric import check_metric
    from wsol_bench.methods.base import MapMethod, cam_methods
    from wsol_bench.metrics.base import Metric, metrics

    found = plugin
    if isinstance(plugin, str) and ":" in plugin:
        found = import_object(plugin, "map method or metric")
    elif isinstance(plugin, str):
        require_method_or_metric(plugin)
        found = metrics.get(plugin) if plugin in METRICS else cam_methods.get(plugin)
    if not isinstance(found, MapMethod | Metric):
        raise ConfigError(
            "plugin: expected a map method or a metric, by name or as its decorator returns it, "
            f"found {shown(plugin)}"
        )
    fitted = found.with_options(options, found.name)
    verdicts = check_map_method(fitted) if isinstance(fitted, MapMethod) else check_metric(fitted)
    lines = [(verdict.clause, verdict.word, verdict.detail) for verdict in verdicts]
    return pd.DataFrame(lines, columns=["clause", "result", "detail"])


def _named(
    config: Path | str | Mapping[str, Any] | ExperimentConfig, networks: dict[str, Any]
) -> Any:
    """An experiment without objects, or its path; networks that are objects are added to these."""
    if isinstance(config, Mapping):
        return with_names(config, networks)
    return config if isinstance(config, ExperimentConfig) else path_of("config", config)


def _require_engine(engine: Any, networks: Mapping[str, Any]) -> None:
    """Raise ConfigError for what is no engine, or has processes that lack the given networks."""
    from wsol_bench.runs.engines.local import LocalEngine

    if engine is not None and not hasattr(engine, "evaluate"):
        raise ConfigError(
            "engine: expected an engine, such as RayEngine() of wsol_bench.runs.engines.ray, found "
            f"{shown(engine)}"
        )
    if networks and engine is not None and not isinstance(engine, LocalEngine):
        kinds = ", ".join(type(network).__name__ for network in networks.values())
        raise ConfigError(
            "models: other processes cannot be given a network as an object: expected the import "
            f"path of a function that builds it, my_module:builder, found {kinds}"
        )
