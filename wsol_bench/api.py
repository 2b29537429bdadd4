"""The functions that scripts and notebooks call: they can do what the command line can do.

``run`` and ``open_run`` return ``Results``, whose methods analyze, score again and show the run.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from wsol_bench.common.harmless import html_text
from wsol_bench.errors import ConfigError, WsolBenchError
from wsol_bench.report.analysis import analyze as analyze_runs
from wsol_bench.report.analysis_text import in_short
from wsol_bench.report.run_comparison import RunComparison
from wsol_bench.report.run_comparison import compare as compare_runs
from wsol_bench.report.run_comparison_text import paragraphs_of, tables_for_people, verdict
from wsol_bench.report.tables import columns_for_people, footer
from wsol_bench.runs.engines.base import Engine
from wsol_bench.runs.experiment_config import ExperimentConfig, load_config
from wsol_bench.runs.results import StoredResults, summarize_run
from wsol_bench.runs.run import run as run_experiment
from wsol_bench.runs.stored_run import REPORT, StoredRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Analysis", "Comparison", "Results", "open_run", "run"]


class Analysis(dict[str, pd.DataFrame]):
    """The tables of an analysis by name, as ``Results.analyze`` returns them.

    A notebook shows the short form.
    """

    def _repr_html_(self) -> str:
        """The methods of each model, best first."""
        return "".join(
            f"<p>{html_text(title)}</p>{_html_table(table)}" for title, table in in_short(self)
        )


class Comparison(RunComparison):
    """Two runs compared, as ``Results.compare`` returns it. A notebook shows what differs."""

    def _repr_html_(self) -> str:
        """Show what differs, the numbers, and the classes and images that moved most."""
        paragraphs = [verdict(self), *paragraphs_of(self)]
        tables = (
            f"<p>{html_text(title)}</p>{_html_table(table)}"
            for title, table in tables_for_people(self)
        )
        return "".join([*(f"<p>{html_text(text)}</p>" for text in paragraphs), *tables])


@dataclass(frozen=True)
class Results(StoredResults):
    """A finished run: its tables, and what can be made of them. A notebook shows its summary.

    Attributes:
        summary: one line for each model x method x layer; fractions are in [0, 1].
        folder: the run's folder; for a run without ``out`` a temporary folder, which is deleted
            with these results.
        n_before: the number of parts that were done before this process began.
    """

    # A run that was scored again may lie in the temporary folder of another one.
    _made_from: StoredRun | None = field(default=None, repr=False)

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    def analyze(self, *, seed: int = 0, against: str | None = None) -> Analysis:
        """The numbers with 95% intervals, paired tests between methods, and failure modes.

        Args:
            seed: seed of the resamples and of the random signs of paired tests.
            against: the method that the other methods of its model are compared with; by default
                the first.

        Returns:
            The tables of ``wsol-bench analyze`` by name, such as ``intervals`` and ``comparisons``.
        """
        with _in_words_of_python():
            return Analysis(analyze_runs([self.folder], seed=seed, against=against))

    def compare(self, other: "Results", *, seed: int = 0, tolerance: float = 0.0) -> Comparison:
        """Compare this run with one that was made after a change: numbers, classes, images, boxes.

        Args:
            other: the other run.
            seed: seed of the resamples and of the random signs of paired tests.
            tolerance: the largest difference that does not count as one.
        """
        with _in_words_of_python():
            found = compare_runs(self.folder, other.folder, seed=seed, tolerance=tolerance)
        return Comparison(**vars(found))

    def rescore(
        self,
        protocol: str | Mapping[str, Any] | None = None,
        *,
        changes: Iterable[str] = (),
        out: Path | str | None = None,
        force: bool = False,
    ) -> "Results":
        """Score the stored maps again, without the network.

        Args:
            protocol: the name or the file of a protocol, or ``{"name": ..., changes}``; by default
                the run's own.
            changes: changes to the experiment, ``protocol.key=value`` or ``metrics=[...]`` each.
            out: the folder of the new run; by default a folder of the protocol's name in the run's
                folder ``rescored``, whose run is deleted first.
            force: whether to delete a run in ``out`` first.
        """
        from wsol_bench.runs.rescore import rescore

        given = dict(protocol) if isinstance(protocol, Mapping) else protocol
        with _in_words_of_python():
            results = rescore(
                self.folder,
                given,
                overrides=changes,
                out=None if out is None else Path(out),
                force=force,
            )
        return Results(results.summary, results.folder, results.n_before, self.folder)

    def report(self, out: Path | str | None = None, *, images: int = 500, seed: int = 0) -> Path:
        """Write the page of the run as one HTML file; return its path.

        Args:
            out: the file; by default ``report.html`` in the run's folder.
            images: the largest number of images on the page.
            seed: seed of the sample of images, and of intervals.
        """
        from wsol_bench.report.page.file import write_report

        file = self.path / REPORT if out is None else Path(out)
        with _in_words_of_python():
            write_report([self.folder], file, n_images=images, seed=seed)
        return file

    def show(
        self,
        image_id: str,
        *,
        methods: Sequence[str] | None = None,
        models: Sequence[str] | None = None,
    ) -> "Figure":
        """Draw an image with its ground truth, and beside it the map and the box of each method.

        Args:
            image_id: the image's id, as the table ``images`` has it.
            methods, models: names of methods and models; None for all.
        """
        from wsol_bench.report.figures.images import figure_of_image

        with _in_words_of_python():
            return figure_of_image(self.folder, image_id, methods=methods, models=models)

    def _repr_html_(self) -> str:
        """The summary, with what the run found odd."""
        named = self.folder.identity.named_metrics
        findings = [finding.sentence for finding in self.findings]
        paragraphs = [*footer(self.summary, findings), f"Run: {self.path}"]
        below = "".join(f"<p>{html_text(text)}</p>" for text in paragraphs)
        return _html_table(columns_for_people(self.summary, named)) + below


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
            it is finished. Without ``out`` the run is stored in a temporary folder, which is
            deleted with the results.
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
    given = {"limit": limit, "device": device}
    changes = {key: value for key, value in given.items() if value is not None}
    networks: dict[str, Any] = {}
    with _in_words_of_python():
        named = _with_names(config, networks) if isinstance(config, Mapping) else config
        experiment = load_config(named, changes=changes)
        with _given(networks, engine):
            results = run_experiment(experiment, out=out, engine=engine, shard=shard, force=force)
    return Results(results.summary, results.folder, results.n_before)


def open_run(path: Path | str) -> Results:
    """Read a finished run from its folder.

    Args:
        path: the folder.

    Raises:
        RunError: the folder holds no run, or the run is not finished, or its files are damaged.
    """
    with _in_words_of_python():
        folder = StoredRun(Path(path))
        folder.require_finished()
        return Results(summarize_run(folder), folder)


def _with_names(content: Mapping[str, Any], networks: dict[str, Any]) -> dict[str, Any]:
    """An experiment in which networks and methods that are given as objects are named.

    Args:
        content: the experiment.
        networks: receives the networks that are given as objects, by their names.
    """
    named = dict(content)
    if isinstance(models := content.get("models"), list | tuple):
        named["models"] = [_named_model(item, place, networks) for place, item in enumerate(models)]
    for key in ("methods", "metrics"):
        if isinstance(plugins := content.get(key), list | tuple):
            named[key] = [
                _named_plugin(item, f"{key}.{place}") for place, item in enumerate(plugins)
            ]
    return named


def _named_model(item: Any, place: int, networks: dict[str, Any]) -> Any:
    """A model by its name; a network that is given as an object is noted by a name of its place."""
    options = dict(item) if isinstance(item, Mapping) else {"name": item}
    if isinstance(options.get("name"), str | None):
        return item
    from torch import nn

    network = options["name"]
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"models.{place}: expected the name of a model, a mapping, or a torch.nn.Module, found "
            f"{type(network).__name__}"
        )
    if "weights" in options:
        raise ConfigError(
            f"models.{place}: a network that is given as an object has its weights: expected no "
            f"key 'weights', found {options['weights']!r}"
        )
    name = f"network_{place}"
    networks[name] = network
    label = options.get("label") or type(network).__name__
    return {**options, "name": f"wsol_bench.models.given:{name}", "label": label}


@contextmanager
def _given(networks: dict[str, Any], engine: Engine | None) -> Iterator[None]:
    """Let the experiment find its networks; ConfigError if the engine's processes could not."""
    if not networks:
        yield
        return
    from wsol_bench.models.given import given
    from wsol_bench.runs.engines.local import LocalEngine

    if engine is not None and not isinstance(engine, LocalEngine):
        kinds = ", ".join(type(network).__name__ for network in networks.values())
        raise ConfigError(
            "models: other processes cannot be given a network as an object: expected the import "
            f"path of a function that builds it, my_module:builder, found {kinds}"
        )
    with given(networks):
        yield


def _named_plugin(item: Any, where: str) -> Any:
    """A method or a metric by its registered name."""
    options = dict(item) if isinstance(item, Mapping) else {"name": item}
    plugin = options.get("name")
    if isinstance(plugin, str | None):
        return item
    from wsol_bench.methods.base import cam_methods
    from wsol_bench.methods.network_free import network_free_methods
    from wsol_bench.metrics.base import metrics

    name = getattr(plugin, "name", getattr(plugin, "__name__", type(plugin).__name__))
    registries = (metrics,) if where.startswith("metrics") else (cam_methods, network_free_methods)
    if not any(name in registry and registry.get(name) is plugin for registry in registries):
        kind, decorator = (
            ("metric", "metric(...)")
            if len(registries) == 1
            else (
                "map method",
                "cam_method(..., plan=Plan(...))",
            )
        )
        raise ConfigError(
            f"{where}: expected the name of a {kind}, what its decorator returns, or a mapping "
            f"with that as 'name' and options beside it; found {name}, which is not registered: "
            f"is @{decorator} above the function?"
        )
    return {**options, "name": name}


# Options of the command line that messages name, and how Python says them. An option stands behind
# a blank or a parenthesis: others are parts of a path.
_SPOKEN = (
    (r"(?<![^\s(])--(?:set|option) (?=[\w.]+=)", ""),
    (r"(?<![^\s(])--(force|strict)\b(?!-)", r"\1=True"),
    (r"(?<![^\s(])--engine ray\b", "engine=RayEngine()"),
    (r"(?<![^\s(])--(limit|shard|device) (\d+)\b", r"\1=\2"),
    (r"(?<![^\s(])--(out|limit|shard|device|engine|against)\b(?!-)(?: [A-Z]+\b)?", r"\1=..."),
)


@contextmanager
def _in_words_of_python() -> Iterator[None]:
    """Let errors speak of parameters, where those of the command line speak of options."""
    try:
        yield
    except WsolBenchError as error:
        error.args = (_in_python(str(error)), *error.args[1:])
        raise


def _in_python(text: str) -> str:
    """A message with parameters in place of options; lines with a whole command stay."""
    lines = []
    for line in text.split("\n"):
        if "wsol-bench " not in line:
            for option, parameter in _SPOKEN:
                line = re.sub(option, parameter, line)
        lines.append(line)
    return "\n".join(lines)


def _html_table(table: pd.DataFrame) -> str:
    """A table of text as HTML; what others have written stays text."""
    return str(table.to_html(index=False, escape=True, border=0))
