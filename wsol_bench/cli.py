"""The command line. Each command imports what it needs, so that ``--help`` is instant."""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wsol_bench import __version__
from wsol_bench.errors import ConfigError, PredictionError, WsolBenchError

if TYPE_CHECKING:
    import pandas as pd

    from wsol_bench.common.catalog import Catalog
    from wsol_bench.common.vocabulary import Verdict
    from wsol_bench.methods.base import MapMethod
    from wsol_bench.runs.engines.base import Engine
    from wsol_bench.runs.results import Results

app = typer.Typer(
    name="wsol-bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder of the run: new, empty, or the run to go on with."),
]
Force = Annotated[bool, typer.Option("--force", help="Delete the run in --out first.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON records, and nothing else.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="K=V", help="Override a key (repeatable): models.0.name=vgg16."),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Evaluate the first N images only.")
]
Kind = Literal["methods", "metrics", "models", "datasets", "protocols"]
FileFormat = Literal["devkit", "kaggle"]
EngineName = Literal["local", "ray"]
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

    results = _run(Path(__file__).with_name("demo.yaml"), out, None, limit=limit, device=device)
    sheet = results.folder.path / "figures/contact_sheet.png"
    contact_sheet(results.folder, sheet, method="grad_cam")
    _show(results.summary, as_json, results.folder.identity.named_metrics)
    _say(f"Picture: {sheet}")


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="Experiment, a YAML file.", show_default=False)],
    out: Out = None,
    overrides: Set = None,
    limit: Limit = None,
    device: Device = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at an image that cannot be evaluated.")
    ] = False,
    force: Force = False,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Every N-th part, from the I-th: see merge.")
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="Who evaluates.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; without it Ray is started here.")
    ] = None,
    actors: Annotated[
        int | None,
        typer.Option(min=1, help="Ray workers; by default one a GPU, or one a CPU core."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Carry out an experiment. An interrupted one goes on with the same command."""
    chosen: Engine | None = None
    if engine == "ray":
        from wsol_bench.runs.engines.ray import RayEngine

        chosen = RayEngine(address=address, n_actors=actors)
    elif address is not None or actors is not None:
        raise ConfigError("--address and --actors belong to --engine ray")
    results = _run(
        config, out, overrides, limit=limit, device=device, strict=strict or None,
        engine=chosen, shard=shard, force=force,
    )  # fmt: skip
    _show(results.summary, as_json, results.folder.identity.named_metrics)


@app.command()
def rescore(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Finished run.")],
    protocol: Annotated[
        str | None, typer.Option(help="Protocol, by name or file; by default the run's own.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="K=V", help="Change it: protocol.box.threshold=0.2."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder; RUN/rescored/<protocol> by default.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Score a run's stored maps by another protocol, without the model."""
    from wsol_bench.runs.folder import RunFolder
    from wsol_bench.runs.rescore import rescore as rescore_run

    results = rescore_run(
        RunFolder(run_folder), protocol, overrides=overrides or (), out=out, force=force
    )
    _show(results.summary, as_json, results.folder.identity.named_metrics)
    _say(f"Results: {results.folder.path}")


@app.command()
def merge(
    run_folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="All shards.")],
    out: Annotated[Path, typer.Option(help="Folder of the whole run.")],
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Put the shards of a run together (run --shard 1/4, 2/4, ...)."""
    from wsol_bench.runs.folder import RunFolder
    from wsol_bench.runs.merge import merge as merge_runs

    results = merge_runs([RunFolder(path) for path in run_folders], out, force=force)
    _show(results.summary, as_json, results.folder.identity.named_metrics)
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
    from wsol_bench.methods.imported.prediction_files import read_predictions, score_predictions
    from wsol_bench.runs.config import load_dataset

    content: dict[str, Any] = {"name": dataset, **({"root": str(root)} if root else {})}
    loaded = load_dataset(content, options or [])
    predictions = read_predictions(file, loaded, format=file_format)
    _show(score_predictions(predictions, loaded, name=file.name), as_json)


@app.command("score-maps")
def score_maps(
    folder: Annotated[
        Path, typer.Argument(help="Maps: <image id>.npy or .npz.", show_default=False)
    ],
    dataset: Annotated[str, typer.Option(help="Data set that the maps are of.")] = "imagenet",
    root: Annotated[Path | None, typer.Option(help="Its root folder.")] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="K=V", help="Option of the data set: subset=FILE."),
    ] = None,
    protocol: Annotated[str, typer.Option(help="By name or file.")] = "gradcam-2017",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="K=V", help="Change it: protocol.box.threshold=0.2."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the run in this folder.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Score maps that any tool made, without a model."""
    from wsol_bench.runs.config import load_config
    from wsol_bench.runs.run import run as run_experiment

    config = {
        "name": "score-maps",
        "dataset": {"name": dataset, **({"root": str(root)} if root else {})},
        "methods": [{"name": "maps_from", "path": str(folder), "label": folder.resolve().name}],
        "protocol": {"name": protocol},
    }
    changes = [f"dataset.{option}" for option in options or []] + (overrides or [])
    experiment = load_config(config, changes)
    with tempfile.TemporaryDirectory(prefix="wsol_bench-") as temporary:
        results = run_experiment(experiment, out=out or Path(temporary, "run"), force=force)
    _show(results.summary, as_json, results.folder.identity.named_metrics)
    if out is not None:
        _say(f"Results: {out}")


@app.command()
def analyze(
    run_folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Finished runs.")],
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Say how sure the numbers are, which methods differ, and why boxes failed."""
    from wsol_bench.report.analysis import analyze as analyze_runs
    from wsol_bench.report.analysis import for_people, write_tables
    from wsol_bench.report.tables import records
    from wsol_bench.runs.folder import RunFolder

    runs = [RunFolder(path) for path in run_folders]
    tables = analyze_runs(runs, seed=seed)
    if len(runs) == 1:
        write_tables(runs[0], tables)
        _say(f"Tables: {runs[0].path / 'tables'}")
    if as_json:
        print(json.dumps({name: records(table) for name, table in tables.items()}, indent=2))
        return
    named = [name for run in runs for name in run.identity.named_metrics]
    for title, table in for_people(tables, named):
        _print_table(table, title)


@app.command()
def export(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    file_format: Annotated[FileFormat, typer.Option("--format", help="Format of the files.")],
    out: Annotated[Path | None, typer.Option(help="Folder; RUN/predictions by default.")] = None,
    devkit: Annotated[
        Path | None, typer.Option(help="Devkit folder, where the run's data set had no IDs.")
    ] = None,
    tight: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="The same run rescored at a higher threshold: 2 + 2 + 1 boxes."
        ),
    ] = None,
) -> None:
    """Write a run's predictions for the official tools."""
    from wsol_bench.report.export import export_run
    from wsol_bench.runs.folder import RunFolder

    folder = RunFolder(run_folder)
    target = out or folder.path / "predictions"
    tighter = None if tight is None else RunFolder(tight)
    for line in export_run(folder, target, format=file_format, devkit=devkit, tight=tighter):
        print(line)


@app.command("list")
def list_things(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List the names that a configuration can use."""
    for line in _names(kind):
        print(line)


@app.command()
def schema() -> None:
    """Print the JSON schema of an experiment."""
    from wsol_bench.runs.config import ExperimentConfig

    print(json.dumps(ExperimentConfig.model_json_schema(), indent=2))


@app.command()
def doctor(
    config: Annotated[Path, typer.Argument(help="Experiment, a YAML file.", show_default=False)],
    overrides: Set = None,
) -> None:
    """Check an experiment before it is run."""
    from wsol_bench.runs.config import load_config
    from wsol_bench.runs.doctor import diagnose

    for line in diagnose(load_config(config, overrides or [])):
        print(_printable(line))


@app.command()
def check(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="As in a config: my_module:my_cam, grad_cam."),
    ],
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="K=V", help="Option of the methods: samples=4."),
    ] = None,
) -> None:
    """Check that a map method or a metric keeps its contract; nothing is downloaded."""
    from wsol_bench.common.catalog import METHODS, METRICS, NETWORK_FREE
    from wsol_bench.common.registry import import_object
    from wsol_bench.metrics.base import Metric, metrics

    passed = []
    for name in names:
        named = name in METRICS and name not in METHODS and name not in NETWORK_FREE
        if named or (":" in name and isinstance(import_object(name, "metric"), Metric)):
            from wsol_bench.contracts.metric import check_metric

            metric = metrics.get(name).with_options(_options_of(options), f"metrics.{name}")
            passed.append(_passes(metric.name, check_metric(metric)))
        else:
            from wsol_bench.contracts.map_method import check as check_method

            passed += [_passes(one.name, check_method(one)) for one in _methods(name, options)]
    if not all(passed):
        sys.exit(1)


def _options_of(options: list[str] | None) -> dict[str, Any]:
    """``key=value`` each, the value in YAML."""
    from wsol_bench.common.validation import parse_yaml

    pairs = [option.partition("=") for option in options or []]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise ConfigError(f"--option: expected key=value, found {key!r}")
    return {key: parse_yaml(text, f"--option {key}") for key, _, text in pairs}


def _methods(name: str, options: list[str] | None) -> "list[MapMethod]":
    """The map methods that a configuration makes of a name."""
    from wsol_bench.runs.config import load_config
    from wsol_bench.runs.methods import build_methods

    # Of the methods alone, the configuration says nothing else.
    content = {"name": "check", "dataset": "shapes", "protocol": "gradcam-2017"}
    changes = [f"methods.0.{option}" for option in options or []]
    experiment = load_config({**content, "models": ["shapes_net"], "methods": [name]}, changes)
    methods, network_free = build_methods(experiment)
    if network_free:
        raise ConfigError(
            f"{network_free[0].name!r} reads what was made elsewhere: nothing to check"
        )
    return list(methods)


def _passes(name: str, verdicts: "Iterable[Verdict]") -> bool:
    """Print verdicts as they come; whether none failed."""
    words = {True: "passed", False: "FAILED", None: "-"}
    counts = dict.fromkeys(words, 0)
    begin = time.perf_counter()
    out = sys.stdout
    print(f"{name}:")
    # Standard output is for the verdicts: what a method prints goes elsewhere.
    with contextlib.redirect_stdout(sys.stderr):
        for verdict in verdicts:
            counts[verdict.ok] += 1
            detail = f": {verdict.detail}" if verdict.detail else ""
            line = _printable(f"  {words[verdict.ok]:7} {verdict.clause}{detail}")
            print(line, file=out, flush=True)
    seconds = time.perf_counter() - begin
    print(
        f"{name}: {counts[True]} passed, {counts[False]} failed, {counts[None]} not "
        f"applicable or not checked, in {seconds:.1f} s"
    )
    return not counts[False]


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
    *,
    engine: "Engine | None" = None,
    shard: str | None = None,
    force: bool = False,
    **flags: object,
) -> "Results":
    """Carry out an experiment in ``out``, or below results/; flags that are given change it."""
    from wsol_bench.runs.config import load_config
    from wsol_bench.runs.run import run as run_experiment
    from wsol_bench.runs.run import run_below

    given = {key: value for key, value in flags.items() if value is not None}
    experiment = load_config(config, overrides or []).model_copy(update=given)
    # Standard output is for results: what libraries print there (downloads) goes elsewhere.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            if out is not None:
                results = run_experiment(
                    experiment, out=out, engine=engine, shard=shard, force=force
                )
            else:
                if force:
                    raise ConfigError("--force deletes the run in --out, which is not given")
                results = run_below(
                    experiment, Path("results") / experiment.name, engine=engine, shard=shard
                )
        except KeyboardInterrupt:
            without = " without --force" if force else ""
            _say(f"Interrupted. The same command{without} goes on where this one stood.")
            sys.exit(130)
    if results.n_before:
        n_parts, began = len(results.folder.parts()), results.folder.manifest.started
        _say(
            f"{results.n_before} of {n_parts} parts were done before; the run began {began}. To "
            "evaluate everything anew: --force, or another --out"
        )
    _say(f"Results: {results.folder.path}")
    return results


def _show(summary: "pd.DataFrame", as_json: bool, named: Mapping[str, bool] | None = None) -> None:
    from wsol_bench.report.tables import (
        SEEDS_TITLE,
        columns_for_people,
        footer,
        records,
        seeds_for_people,
    )

    if as_json:
        print(json.dumps(records(summary), indent=2))
        return
    _print_table(columns_for_people(summary, named or {}))
    print(footer(summary))
    if len(spread := seeds_for_people(summary)):
        _print_table(spread, SEEDS_TITLE)


def _print_table(shown: "pd.DataFrame", title: str | None = None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*shown.columns, title=title, title_justify="left")
    for line in shown.itertuples(index=False):
        table.add_row(*(Text(str(cell)) for cell in line))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _names(kind: Kind) -> Iterable[str]:
    from wsol_bench.common.catalog import DATASETS, METHODS, METRICS, NETWORK_FREE

    if kind == "methods":
        families = [f"{prefix}/<class>" for prefix in METHODS.families]
        return [
            *(line for name in METHODS for line in _described(METHODS, name)),
            *(line for name in NETWORK_FREE for line in _described(NETWORK_FREE, name)),
            ", ".join(families),
        ]
    if kind == "metrics":
        return [line for name in METRICS for line in _described(METRICS, name)]
    if kind == "models":
        from wsol_bench.models.classifiers import model_names

        return [*model_names(), "timm/<name>", "<module>:<builder>"]
    if kind == "datasets":
        return [line for name in DATASETS for line in _described(DATASETS, name)]
    from wsol_bench.protocols.load import load_protocol, protocol_names

    return [f"{p.name:24} {p.hash}  {p.paper}" for p in map(load_protocol, protocol_names())]


def _described(catalog: "Catalog", name: str) -> list[str]:
    """What a list says of a thing: from its source where it is built in, else of the thing."""
    built_in = catalog.describe(name)
    if built_in is not None:
        words = built_in.words
        said = built_in.paper or built_in.about
        if "gives" in words and not built_in.paper:
            said = f"{words['gives']} without a network"
        if "better" in words:
            paper = f" ({built_in.paper})" if built_in.paper else ""
            said = f"{words['better']} is better, per {words['per']}: {built_in.about}{paper}"
        return [f"{name:24} {said}", *built_in.options]
    try:
        return _described_plugin(catalog, name)
    except ConfigError as error:  # somebody's distribution
        return [f"{name:24} {error}"]


def _described_plugin(catalog: "Catalog", name: str) -> list[str]:
    from wsol_bench.common.catalog import METHODS, METRICS
    from wsol_bench.common.options import option_lines

    if catalog is METHODS:
        from wsol_bench.methods.base import cam_methods

        method = cam_methods.get(name)
        return [f"{name:24} {method.paper}", *option_lines(method.function)]
    if catalog is METRICS:
        from wsol_bench.metrics.base import metrics

        metric = metrics.get(name)
        said = f"{metric.better} is better, per {metric.per}: {metric.about}"
        return [f"{name:24} {said}", *option_lines(metric.function)]
    from wsol_bench.datasets import datasets

    if name in datasets:
        loader = datasets.get(name)
        return [f"{name:24} {loader.summary}", *option_lines(loader.load)]
    from wsol_bench.methods.network_free import network_free_methods

    source = network_free_methods.get(name)
    return [f"{name:24} {source.paper or source.gives}", *option_lines(source.opener)]


def _printable(text: str) -> str:
    """File names and words are other people's: nothing in them may steer the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
