"""Commands that say what an experiment can contain: list, schema."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wsol_bench.common.harmless import printable
from wsol_bench.errors import ConfigError

if TYPE_CHECKING:
    from wsol_bench.common.catalog import Catalog, Description

__all__ = ["list_names", "schema"]

Kind = Literal["methods", "metrics", "models", "datasets", "protocols"]


def list_names(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="What to list.", show_default=False)],
) -> None:
    """List the names that an experiment can use.

    Prints a line for each name, with the paper or a description, and a line for each of its
    options. Names that installed packages offer are listed, too.
    """
    for line in _names(kind):
        print(printable(line))


def schema() -> None:
    """Print the JSON schema of an experiment file.

    An editor that knows the schema completes and checks the keys of an experiment.
    """
    from wsol_bench.runs.experiment_config import ExperimentConfig

    print(json.dumps(ExperimentConfig.model_json_schema(), indent=2))


def _names(kind: Kind) -> Iterator[str]:
    """The lines of a list: every name with a description and its options."""
    from wsol_bench.common.catalog import DATASETS, METHODS, METRICS, NETWORK_FREE

    if kind == "models":
        from wsol_bench.models.names import model_names

        yield from (*model_names(), "timm/<name>", "<module>:<builder>")
    elif kind == "protocols":
        from wsol_bench.protocols.load import load_protocol, protocol_names

        for protocol in map(load_protocol, protocol_names()):
            yield f"{protocol.name:24} {protocol.hash}  {protocol.paper}"
    elif kind == "methods":
        yield from _lines(METHODS)
        yield from _lines(NETWORK_FREE)
        yield ", ".join(f"{prefix}/<class>" for prefix in METHODS.families)
    else:
        yield from _lines({"metrics": METRICS, "datasets": DATASETS}[kind])


def _lines(catalog: "Catalog") -> Iterator[str]:
    """The lines of all names of a catalog; the modules of built-in names are not imported."""
    for name in catalog:
        description = catalog.describe(name)
        if description is not None:
            yield f"{name:24} {_text(description)}"
            yield from description.options
            continue
        try:
            lines = _plugin_lines(catalog, name)
        except ConfigError as error:  # another distribution's module may not be importable
            lines = [f"{name:24} {error}"]
        yield from lines


def _text(description: "Description") -> str:
    """The description of a built-in name: its paper, or the first line of its docstring."""
    words, paper = description.arguments, description.paper
    if "better" in words:  # a metric
        source = f" ({paper})" if paper else ""
        return f"{words['better']} is better, per {words['per']}: {description.summary}{source}"
    if "gives" in words and not paper:  # a network-free method
        return f"{words['gives']} without a network"
    return paper or description.summary


def _plugin_lines(catalog: "Catalog", name: str) -> list[str]:
    """The lines of a name that another distribution offers; its module is imported for them."""
    from wsol_bench.common.catalog import METHODS, METRICS
    from wsol_bench.common.plugin_options import option_lines

    if catalog is METHODS:
        from wsol_bench.methods.base import cam_methods

        method = cam_methods.get(name)
        return [f"{name:24} {method.paper}", *option_lines(method.function)]
    if catalog is METRICS:
        from wsol_bench.metrics.base import metrics

        metric = metrics.get(name)
        text = f"{metric.better} is better, per {metric.per}: {metric.summary}"
        return [f"{name:24} {text}", *option_lines(metric.function)]
    from wsol_bench.datasets import datasets

    if name in datasets:
        loader = datasets.get(name)
        return [f"{name:24} {loader.summary}", *option_lines(loader.load)]
    from wsol_bench.methods.network_free import network_free_methods

    network_free = network_free_methods.get(name)
    text = network_free.paper or network_free.gives
    return [f"{name:24} {text}", *option_lines(network_free.opener)]
