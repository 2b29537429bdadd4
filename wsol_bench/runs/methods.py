"""The methods of an experiment, built from its configuration."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from wsol_bench.common.catalog import NETWORK_FREE
from wsol_bench.common.plugin_options import has_option
from wsol_bench.common.registry import import_object, uniquely_named
from wsol_bench.errors import ConfigError
from wsol_bench.methods.network_free import NetworkFreeMethod, network_free_methods
from wsol_bench.runs.experiment_config import ExperimentConfig, MethodConfig

if TYPE_CHECKING:
    from wsol_bench.methods.base import MapMethod

__all__ = ["Methods", "build_methods", "built"]


class Methods(NamedTuple):
    """The methods of an experiment, with their options bound.

    Attributes:
        map_methods: the methods that need a model.
        network_free: the methods that need no network.
    """

    map_methods: "Sequence[MapMethod]"
    network_free: Sequence[NetworkFreeMethod]


def build_methods(config: ExperimentConfig) -> Methods:
    """The methods of a configuration.

    Raises:
        ConfigError: an unknown name, an option that does not fit, two methods with one name, a map
            method without a model, or faithfulness without a map of the first prediction.
    """
    if not config.models:  # told before torch is imported
        for named in config.methods:
            if named.name not in NETWORK_FREE and ":" not in named.name:
                raise _needs_a_model(named.label or named.name)
    methods = uniquely_named(method for named in config.methods for method in built(named))
    network_free = [method for method in methods if isinstance(method, NetworkFreeMethod)]
    map_methods: list[Any] = [
        method for method in methods if not isinstance(method, NetworkFreeMethod)
    ]
    if config.faithfulness is not None and not map_methods:
        raise ConfigError(
            "faithfulness: expected a map method under 'methods', on whose maps it is measured, "
            "found none"
        )
    if config.faithfulness is not None and all(method.classes == "label" for method in map_methods):
        raise ConfigError(
            "faithfulness is measured on the map of the first prediction, but these methods make "
            "maps of the image's label alone; give one of them 'classes: all'"
        )
    if map_methods and not config.models:
        raise _needs_a_model(map_methods[0].name)
    return Methods(map_methods, network_free)


def _needs_a_model(name: str) -> ConfigError:
    return ConfigError(
        f"map method {name!r} needs a model; name a model under 'models' (methods that need no "
        f"model are {', '.join(network_free_methods)})"
    )


def built(named: MethodConfig) -> list[Any]:
    """A method of an experiment as it is evaluated: as many times as it has seeds.

    Raises:
        ConfigError: there is no such method, or it has no such option.
    """
    if named.seeds is None:
        return [_with_options(named, named.options, "")]
    where = f"methods.{named.name}"
    if "seed" in named.options:
        raise ConfigError(f"{where}: give 'seed' or 'seeds', not both")
    method = _get(named.name)
    function = method.opener if isinstance(method, NetworkFreeMethod) else method.function
    if not has_option(function, "seed"):
        raise ConfigError(
            f"{where}.seeds: the method has no option 'seed', since it draws no random numbers"
        )
    return [
        _with_options(named, {**named.options, "seed": seed}, f"+seed={seed}")
        for seed in range(named.seeds)
    ]


def _with_options(named: MethodConfig, options: dict[str, Any], suffix: str) -> Any:
    """A named method with options, and with the label, classes and sanity of its configuration."""
    where = f"methods.{named.name}"
    method = _get(named.name).with_options(options, where)
    if named.label is not None:
        method = replace(method, name=named.label + suffix)
    if isinstance(method, NetworkFreeMethod):
        if named.classes or named.sanity:
            raise ConfigError(
                f"{where}: 'classes' and 'sanity' are only for methods that need a model"
            )
        return method
    if named.classes is not None:
        method = replace(method, classes=named.classes)
    if named.sanity is not None:
        method = replace(method, name=f"{named.sanity}({method.name})", sanity=named.sanity)
    return method


def _get(name: str) -> Any:
    """The method of this name; torch is imported only for a map method."""
    if name in NETWORK_FREE:
        return network_free_methods.get(name)
    if ":" in name:
        method = import_object(name, "map method")
        if isinstance(method, NetworkFreeMethod):
            return method
    from wsol_bench.methods.base import cam_methods

    return cam_methods.get(name)
