"""What calls from Python have and command lines have not: objects by name, words of Python.

An experiment is text, so networks, methods and metrics that are given as objects get names. Errors
that speak of the options of a command speak of parameters here. And ``explain`` has options for
some keys of a model.
"""

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, SupportsIndex

from wsol_bench.errors import ConfigError, WsolBenchError, did_you_mean, shown
from wsol_bench.models.names import GIVEN

__all__ = [
    "given_networks",
    "in_options",
    "in_python",
    "in_words_of_options",
    "in_words_of_python",
    "named_model",
    "named_plugin",
    "one_of",
    "path_of",
    "seed_of",
    "with_names",
]


def with_names(content: Mapping[str, Any], networks: dict[str, Any]) -> dict[str, Any]:
    """An experiment in which networks and methods that are given as objects are named.

    Args:
        content: the experiment.
        networks: receives the networks that are given as objects, by their names.
    """
    named = dict(content)
    for key in {"models", "methods", "metrics"} & {*content}:
        if content[key] is None:
            continue
        if not isinstance(content[key], list | tuple):
            raise ConfigError(
                f"{key}: expected a list of {key}, found {shown(content[key])}; put it into [...]"
            )
        named[key] = [
            named_model(item, f"models.{n}", f"network_{n}", networks)
            if key == "models"
            else named_plugin(item, f"{key}.{n}")
            for n, item in enumerate(content[key])
        ]
    return named


def named_model(item: Any, where: str, name: str, networks: dict[str, Any]) -> Any:
    """A model by its name; ConfigError if it is neither text nor a network.

    Args:
        item: the model as an experiment has it, or a network, or a mapping with one.
        where: its place, for errors.
        name: the name of a network that is given as an object.
        networks: receives this network, and a function that is its ``output``.
    """
    options = dict(item) if isinstance(item, Mapping) else {"name": item}
    if callable(function := options.get("output")):
        networks[f"{name}_output"] = function
        item = options = {**options, "output": f"{GIVEN}{name}_output"}
    if "name" not in options or isinstance(options["name"], str):
        return item
    from torch import nn

    network = options["name"]
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"{where}: expected the name of a model, a mapping, or a torch.nn.Module, found "
            f"{type(network).__name__}"
        )
    if options.get("weights") is not None:
        raise ConfigError(
            f"{where}: a network that is given as an object has its weights: expected no "
            f"'weights', found {str(options['weights'])!r}"
        )
    networks[name] = network
    label = options.get("label") or type(network).__name__
    return {**options, "name": f"{GIVEN}{name}", "label": label}


def one_of(name: str, value: Any, known: Iterable[str]) -> Any:
    """The value of a parameter; ConfigError unless it is one of some texts."""
    if value not in (known := list(known)):
        suggestion = did_you_mean(str(value), known)
        raise ConfigError(
            f"{name}: expected one of these names, found {shown(value)}; {suggestion}"
        )
    return value


def path_of(name: str, value: Any) -> Path:
    """The path that a parameter is; ConfigError if it is none."""
    if not isinstance(value, str | Path):
        raise ConfigError(f"{name}: expected a path, found {type(value).__name__}")
    return Path(value)


def seed_of(value: Any) -> int:
    """The seed that a parameter is; ConfigError unless it is a whole number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex) or operator.index(value) < 0:
        raise ConfigError(f"seed: expected a whole number of at least 0, found {shown(value)}")
    return operator.index(value)


@contextmanager
def given_networks(networks: Mapping[str, Any]) -> Iterator[None]:
    """Let ``load_classifier`` find networks by the names that ``named_model`` gave them."""
    if not networks:
        yield
        return
    from wsol_bench.models.given import given

    with given(networks):
        yield


def named_plugin(item: Any, where: str) -> Any:
    """A method or a metric by its registered name; ConfigError if it is not registered.

    Args:
        item: the method as an experiment has it, or what a decorator returns, or a mapping with
            that.
        where: its place, which begins with "methods" or "metrics".
    """
    options = dict(item) if isinstance(item, Mapping) else {"name": item}
    if "name" not in options or isinstance(plugin := options["name"], str):
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
            else ("map method", "cam_method(..., plan=Plan(...))")
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
    (r"(?<![^\s(])--(\w+)(?=:)", r"\1"),
    (r"(?<![^\s(])--(limit|shard|device) (\d+)\b", r"\1=\2"),
    (r"(?<![^\s(])--(classes|format) ([a-z]+)\b", r"\1='\2'"),
    (r"(?<![^\s(])--actors\b", "n_actors=..."),
    (r"(?<![^\s(])--(\w+)\b(?!-)(?: [A-Z][A-Z,]*\b)?", r"\1=..."),
)


# Keys of a model that ``explain`` has options for.
_OPTIONS = {"weights": "--weights FILE", "classes": "--classes FILE", "layer": "--layer NAME"}
_OTHER_KEYS = {"arguments", "head", "key", "layout", "output", "probabilities", "token_grid"}
_KEY = re.compile(r"(?:the model's )?'(\w+):[^']*'")


def in_words_of_options() -> AbstractContextManager[None]:
    """Let errors of a model speak of the options of ``explain`` instead of an experiment's keys."""
    return _translated(in_options)


def in_options(text: str) -> str:
    """A message with options in place of a model's keys; it says where other keys belong."""
    others = [key for key in _KEY.findall(text) if key in _OTHER_KEYS]
    text = _KEY.sub(lambda match: _OPTIONS.get(match[1], match[0]), text)
    where = ". A model has such keys in an experiment, or as a mapping in Python's explain()"
    return f"{text}{where}" if others else text


def in_words_of_python() -> AbstractContextManager[None]:
    """Let errors speak of parameters, where those of the command line speak of options."""
    return _translated(in_python)


@contextmanager
def _translated(words: Callable[[str], str]) -> Iterator[None]:
    """Let errors of this package have other words."""
    try:
        yield
    except WsolBenchError as error:
        error.args = (words(str(error)), *error.args[1:])
        raise


def in_python(text: str) -> str:
    """A message with parameters in place of options; lines with a whole command stay."""
    lines = []
    for line in text.split("\n"):
        if "wsol-bench " not in line:
            for option, parameter in _SPOKEN:
                line = re.sub(option, parameter, line)
        lines.append(line)
    return "\n".join(lines)
