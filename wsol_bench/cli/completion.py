"""Completion of words in a shell: names are read from source files, and nothing is imported."""

import ast
from pathlib import Path

import typer

__all__ = [
    "dataset_names",
    "experiment_keys",
    "map_methods",
    "method_of_runs",
    "methods_of_runs",
    "model_names",
    "models_of_runs",
    "names_to_check",
    "names_to_list",
    "protocol_names",
    "table_names",
]

_PACKAGE = Path(__file__).parents[1]


def dataset_names(incomplete: str) -> list[str]:
    """The built-in data sets whose names begin so."""
    from wsol_bench.common.catalog import DATASETS

    return _beginning(incomplete, DATASETS.built_in)


def protocol_names(incomplete: str) -> list[str]:
    """The built-in protocols whose names begin so."""
    files = (_PACKAGE / "protocols").glob("*.yaml")
    return _beginning(incomplete, sorted(path.stem for path in files))


def table_names(incomplete: str) -> list[str]:
    """The papers' tables whose names begin so."""
    from wsol_bench.papers.shelf import table_names as names

    return _beginning(incomplete, names())


def names_to_check(incomplete: str) -> list[str]:
    """The built-in map methods and metrics whose names begin so."""
    from wsol_bench.common.catalog import METHODS, METRICS

    return _beginning(incomplete, [*METHODS.built_in, *METRICS.built_in])


def model_names(incomplete: str) -> list[str]:
    """The networks whose names begin so, which are read from torchvision's source code."""
    from wsol_bench.models.names import model_names as names

    return _beginning(incomplete, [*names(), "timm/", "hf/"])


def map_methods(incomplete: str) -> list[str]:
    """Lists with commas whose last name is a built-in map method that begins so."""
    from wsol_bench.common.catalog import METHODS

    return _lists(incomplete, METHODS.built_in)


def method_of_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """The methods of the runs on the command line whose names begin so."""
    return _beginning(incomplete, _of_runs(ctx, 1))


def methods_of_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Lists with commas whose last name is a method of the runs that begins so."""
    return _lists(incomplete, _of_runs(ctx, 1))


def models_of_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Lists with commas whose last name is a model of the runs that begins so."""
    return _lists(incomplete, _of_runs(ctx, 0))


def _of_runs(ctx: typer.Context, kind: int) -> list[str]:
    """The models (0) or methods (1) of the runs on the command line, as their manifests say."""
    from wsol_bench.runs.run_folders import names_in

    # Behind an option that lacks its value, the parser leaves the arguments as they are.
    runs = [*(ctx.params.get("run_folders") or ()), *ctx.args]
    return list(dict.fromkeys(name for run in runs for name in names_in(Path(run))[kind]))


def names_to_list(ctx: typer.Context, incomplete: str) -> list[str]:
    """The built-in names of the kind that is to be listed which begin so, for its filter."""
    from wsol_bench.common.catalog import DATASETS, METHODS, METRICS

    catalogs = {"methods": METHODS, "metrics": METRICS, "datasets": DATASETS}
    catalog = catalogs.get(str(ctx.params.get("kind")))
    return [] if catalog is None else _beginning(incomplete, catalog.built_in)


def experiment_keys(incomplete: str) -> list[str]:
    """The keys of an experiment that begin so, each with ``=`` behind it."""
    source = (_PACKAGE / "runs" / "experiment_config.py").read_text(encoding="utf-8")
    keys = [
        f"{field.target.id}="
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "ExperimentConfig"
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    ]
    return _beginning(incomplete, keys)


def _lists(incomplete: str, names: list[str]) -> list[str]:
    """The list with commas that is typed, completed by each name that it lacks."""
    typed, comma, last = incomplete.rpartition(",")
    lacking = [name for name in names if name not in typed.split(",")]
    return [f"{typed}{comma}{name}" for name in _beginning(last, lacking)]


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
