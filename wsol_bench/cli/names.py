"""Commands that say what an experiment can contain: list, schema."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from wsol_bench.cli.completion import names_to_list
from wsol_bench.cli.process import print_message
from wsol_bench.common.harmless import printable
from wsol_bench.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from wsol_bench.common.catalog import Catalog, Description
    from wsol_bench.common.option_texts import Option

__all__ = ["list_names", "schema"]

Kind = Literal["methods", "metrics", "models", "datasets", "protocols", "papers"]

# The width of the list, the column of its texts, and up to how many names have their options shown.
_WIDTH, _COLUMN, _FEW = 80, 25, 3


class _Entry(NamedTuple):
    """A name that can be listed.

    Attributes:
        name: the name.
        text: what it stands for, in one line or several.
        options: its options; None if it can have none, or if they are not known.
    """

    name: str
    text: str = ""
    options: "Sequence[Option] | None" = None

    def holds(self, word: str) -> bool:
        """Return whether a word stands in the name or the text, in any case."""
        return word.casefold() in f"{self.name} {self.text}".casefold()

    def lines(self, *, with_options: bool) -> Iterator[str]:
        """The lines for people: the text beside the name, and below it the options."""
        beside = " " * _COLUMN
        text = [line for part in self.text.split("\n") for line in _wrapped(part)]
        name = printable(self.name)
        fits = text and len(name) < _COLUMN
        yield f"{name:{_COLUMN}}{text[0]}" if fits else name
        yield from (f"{beside}{line}" for line in (text[1:] if fits else text))
        if with_options and self.options is not None:
            options = [line for option in self.options for line in _option_lines(option)]
            yield from (f"{beside}{line}" for line in options or ["no options"])


def _wrapped(text: str, indent: str = "", hanging: str = "") -> list[str]:
    """A text in lines for the column of texts."""
    return textwrap.wrap(
        printable(text), _WIDTH - _COLUMN, initial_indent=indent,
        subsequent_indent=indent + hanging, break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _option_lines(option: "Option") -> list[str]:
    """Name, type and default of an option, and below them what it means."""
    return [*_wrapped(f"- {option.line}", hanging="  "), *_wrapped(option.meaning, "    ")]


def list_names(
    kind: Annotated[
        Kind,
        typer.Argument(
            metavar="KIND",
            help="What to list: methods, metrics, models, datasets, protocols, or papers (tables).",
            show_default=False,
        ),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="List only what has this name, or all of these words in its name, description or "
            "paper.",
            autocompletion=names_to_list,
            show_default=False,
        ),
    ] = None,
) -> None:
    """List the names that an experiment can use.

    Prints for each name what it is, its paper, and its cost if that is more than the one pass that
    all methods share. Names that installed packages offer are listed, too. If few are left, their
    options are printed with types, defaults and meanings.
    """
    entries = list(_names(kind))
    words = words or []
    named = [entry for entry in entries if entry.name in words]
    are_names = bool(words) and {entry.name for entry in named} == set(words)
    chosen = named if are_names else [one for one in entries if all(map(one.holds, words))]
    if not chosen:
        names = [entry.name for entry in entries]
        known = did_you_mean(words[0], names, listed_by=f"wsol-bench list {kind}")
        raise ConfigError(f"no {kind} have {' and '.join(map(repr, words))}; {known}")
    for entry in chosen:
        for line in entry.lines(with_options=are_names or (bool(words) and len(chosen) <= _FEW)):
            print(line)
    if are_names:
        return
    if len(chosen) < len(entries):
        given = " and ".join(map(repr, words))
        print_message(f"{len(chosen)} of {len(entries)} {kind} have {given}.")
    elif example := next((entry.name for entry in entries if entry.options), None):
        print_message(f"The options of one of them: wsol-bench list {kind} {example}")


def schema() -> None:
    """Print the JSON schema of an experiment file.

    An editor that knows the schema completes and checks the keys of an experiment.
    """
    from wsol_bench.runs.experiment_config import ExperimentConfig

    print(json.dumps(ExperimentConfig.model_json_schema(), indent=2))


def _names(kind: Kind) -> Iterator[_Entry]:
    """Everything of a kind that can be listed."""
    from wsol_bench.common.catalog import DATASETS, METHODS, METRICS, NETWORK_FREE

    if kind == "models":
        from wsol_bench.models.names import model_names

        yield from map(
            _Entry, (*model_names(), "timm/<name>", "hf/<folder or id>", "<module>:<builder>")
        )
    elif kind == "papers":
        from wsol_bench.papers.shelf import table_names, table_purpose

        for name in table_names():
            yield _Entry(name, table_purpose(name))
    elif kind == "protocols":
        from wsol_bench.protocols.load import SUMMARIES, load_protocol, protocol_names

        for protocol in map(load_protocol, protocol_names()):
            paper = f"{protocol.paper}, " if protocol.paper else ""
            text = f"{SUMMARIES[protocol.name]}\n{paper}hash {protocol.hash}"
            yield _Entry(protocol.name, f"{text[0].upper()}{text[1:]}")
    elif kind == "methods":
        yield from _entries(METHODS)
        yield from _entries(NETWORK_FREE)
        for prefix in METHODS.families:
            yield _Entry(f"{prefix}/<class>", f"A method of the package {prefix}.")
    else:
        yield from _entries({"metrics": METRICS, "datasets": DATASETS}[kind])


def _entries(catalog: "Catalog") -> Iterator[_Entry]:
    """All names of a catalog; the modules of built-in names are not imported."""
    for name in catalog:
        description = catalog.describe(name)
        if description is not None:
            yield _Entry(name, _text(description), description.options)
            continue
        try:
            yield _plugin_entry(catalog, name)
        except ConfigError as error:  # another distribution's module may not be importable
            yield _Entry(name, str(error))


def _text(description: "Description") -> str:
    """The description of a built-in name: the first line of its docstring, paper and cost."""
    words, source = description.arguments, description.summary
    if "better" in words:  # a metric
        source = f"{words['better']} is better, per {words['per']}: {source}"
    elif "gives" in words:  # a network-free method
        source = f"{source} Gives {words['gives']} without a network."
    paper = f" {description.paper}" if description.paper else ""
    cost = f"\nCost: {description.cost}" if description.cost else ""
    return f"{source}{paper}{cost}"


def _plugin_entry(catalog: "Catalog", name: str) -> _Entry:
    """A name that another distribution offers; its module is imported for its description."""
    from wsol_bench.common.catalog import METHODS, METRICS
    from wsol_bench.common.plugin_options import options_of_function

    if catalog is METHODS:
        from wsol_bench.methods.base import cam_methods

        method = cam_methods.get(name)
        return _Entry(name, method.paper, options_of_function(method.function))
    if catalog is METRICS:
        from wsol_bench.metrics.base import metrics

        metric = metrics.get(name)
        text = f"{metric.better} is better, per {metric.per}: {metric.summary}"
        return _Entry(name, text, options_of_function(metric.function))
    from wsol_bench.datasets import datasets

    if name in datasets:
        loader = datasets.get(name)
        return _Entry(name, loader.summary, options_of_function(loader.load))
    from wsol_bench.methods.network_free import network_free_methods

    network_free = network_free_methods.get(name)
    text = network_free.paper or network_free.gives
    return _Entry(name, text, options_of_function(network_free.opener))
