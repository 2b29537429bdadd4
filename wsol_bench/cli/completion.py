"""Completion of words in a shell: names are read from source files, and nothing is imported."""

import ast
from pathlib import Path

import typer

__all__ = ["dataset_names", "experiment_keys", "names_to_check", "names_to_list", "protocol_names"]

_PACKAGE = Path(__file__).parents[1]


def dataset_names(incomplete: str) -> list[str]:
    """The built-in data sets whose names begin so."""
    from wsol_bench.common.catalog import DATASETS

    return _beginning(incomplete, DATASETS.built_in)


def protocol_names(incomplete: str) -> list[str]:
    """The built-in protocols whose names begin so."""
    files = (_PACKAGE / "protocols").glob("*.yaml")
    return _beginning(incomplete, sorted(path.stem for path in files))


def names_to_check(incomplete: str) -> list[str]:
    """The built-in map methods and metrics whose names begin so."""
    from wsol_bench.common.catalog import METHODS, METRICS

    return _beginning(incomplete, [*METHODS.built_in, *METRICS.built_in])


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


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
