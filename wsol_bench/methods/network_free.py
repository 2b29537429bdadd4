"""Network-free methods: map methods that need no network, and their registry.

The baselines (``methods.baselines``) are such methods, and so are maps and boxes that other tools
made (``methods.imported``). Each is one function, its opener, and one decorator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wsol_bench.common.catalog import NETWORK_FREE
from wsol_bench.common.plugin_options import bind_options, name_with_options
from wsol_bench.common.registry import Registry
from wsol_bench.common.vocabulary import Gives
from wsol_bench.datasets import Dataset
from wsol_bench.methods.maps_or_boxes import MapsOrBoxes

__all__ = ["NetworkFreeMethod", "network_free_method", "network_free_methods"]

Opener = Callable[..., MapsOrBoxes]


@dataclass(frozen=True)
class NetworkFreeMethod:
    """A map method that needs no network.

    Attributes:
        name: the method's name in configurations and results.
        opener: ``(dataset, **options)``; returns the method's maps or boxes. Maps must not depend
            on the data set, which is None when stored results are scored again.
        paper: where the method is defined.
        gives: whether the opener returns maps, which any protocol can score again, or boxes.
        options: values of the opener's keyword-only parameters.
    """

    name: str
    opener: Opener
    paper: str
    gives: Gives
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self, dataset: Dataset | None) -> MapsOrBoxes:
        """The method's maps or boxes.

        Raises:
            ConfigError: a file or folder does not exist, or is not what the method reads.
            PredictionError: a file cannot be read.
        """
        return self.opener(dataset, **self.options)

    def with_options(self, options: Mapping[str, Any], where: str) -> "NetworkFreeMethod":
        """The method with its options bound; ConfigError if they do not fit."""
        bound = bind_options(self.opener, options, where)
        name = name_with_options(self.name, options)
        return replace(self, name=name, options=bound)


network_free_methods: Registry[NetworkFreeMethod] = Registry(NetworkFreeMethod, NETWORK_FREE)


def network_free_method(
    name: str, *, gives: Gives, paper: str = ""
) -> Callable[[Opener], NetworkFreeMethod]:
    """Register an opener as a network-free method; its keyword-only parameters are options."""

    def register(opener: Opener) -> NetworkFreeMethod:
        return network_free_methods.register(name, NetworkFreeMethod(name, opener, paper, gives))

    return register
