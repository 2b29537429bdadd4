"""Makes a map method of a class of another library: import, name and options."""

import importlib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from types import ModuleType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from wsol_bench.capture import Plan
from wsol_bench.common.versions import UNKNOWN, installed_version
from wsol_bench.common.vocabulary import Scope
from wsol_bench.errors import ConfigError, did_you_mean
from wsol_bench.methods.base import MapFunction, MapMethod

__all__ = ["import_library", "library_class", "library_method", "options_of", "split_options"]

_PLAIN_TYPES = (bool, int, float, str, NoneType, Ellipsis)
_CONTAINERS = (Union, UnionType, tuple, list)


def import_library(name: str, module: str) -> ModuleType:
    """A module of a library.

    Args:
        name: the prefix of the library's methods, for the message.
        module: the dotted name of the module.

    Raises:
        ConfigError: the module cannot be imported; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"the methods {name}/... need a library that cannot be imported ({error}); install it "
            "with pip install 'wsol-bench[peers]'"
        ) from error


def library_class(name: str, classes: Mapping[str, type]) -> type:
    """The library's class that a method's name ``library/class`` refers to.

    Raises:
        ConfigError: there is no such class; the message suggests the nearest one.
    """
    class_name = name.partition("/")[2]
    if class_name not in classes:
        raise ConfigError(f"unknown map method {name!r}; {did_you_mean(class_name, classes)}")
    return classes[class_name]


def options_of(
    callables: Sequence[Callable[..., Any]], filled: Collection[str], **defaults: Any
) -> dict[str, inspect.Parameter]:
    """The options of a library's constructor and call, from their signatures.

    Args:
        callables: the constructor and the call; the first one that has a parameter defines it.
        filled: names of the parameters that the adapter fills itself, which are no options.
        defaults: defaults that differ from the library's.
    """
    options: dict[str, inspect.Parameter] = {}
    for function in callables:
        for name, parameter in inspect.signature(function).parameters.items():
            named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            if named and name not in options and name not in filled and name != "self":
                options[name] = parameter.replace(
                    kind=inspect.Parameter.KEYWORD_ONLY,
                    annotation=parameter.annotation if _is_plain(parameter.annotation) else Any,
                    default=defaults.get(name, parameter.default),
                )
    return options


def _is_plain(annotation: Any) -> bool:
    """Return whether a configuration can hold values of a type; others are not checked."""
    inner = get_args(annotation)
    if get_origin(annotation) in _CONTAINERS and inner:
        return all(_is_plain(member) for member in inner)
    return any(annotation is plain for plain in _PLAIN_TYPES)


def split_options(
    options: Mapping[str, Any], constructor: Callable[..., Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that a constructor has parameters for, and the others, which are for the call."""
    names = inspect.signature(constructor).parameters
    to_constructor = {name: value for name, value in options.items() if name in names}
    return to_constructor, {name: value for name, value in options.items() if name not in names}


def library_method(
    name: str,
    distribution: str,
    function: MapFunction,
    options: Mapping[str, inspect.Parameter],
    *,
    scope: Scope,
) -> MapMethod:
    """A map method whose options come from a library, not from the signature of its function.

    Args:
        name: ``library/class``.
        distribution: the library's name on the package index.
        function: ``(record, **options)``; returns the maps.
        options: the options, as ``options_of`` returns them.
        scope: see ``MapMethod.scope``.
    """
    version = installed_version(distribution)
    record = inspect.Parameter("record", inspect.Parameter.POSITIONAL_ONLY)
    # ``inspect.signature`` returns this, and options are bound by it.
    function.__signature__ = inspect.Signature([record, *options.values()])  # type: ignore[attr-defined]
    return MapMethod(
        name,
        function,
        Plan(),
        version if version == UNKNOWN else f"{distribution} {version}",
        scope=scope,
        classes="label",  # each class costs a pass, or many
    )
