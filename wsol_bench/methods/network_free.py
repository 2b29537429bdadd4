"""Network-free methods: map methods that need no network, and their registry.

The baselines (``methods.baselines``) are such methods, and so are maps and boxes that other tools
made (``methods.imported``). Each is one function, its opener, and one decorator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wsol_bench.common.catalog import NETWORK_FREE
from wsol_bench.common.plugin_errors import blamed
from wsol_bench.common.plugin_options import bind_options, name_with_options
from wsol_bench.common.registry import Registry
from wsol_bench.common.vocabulary import Gives
from wsol_bench.datasets import Dataset
from wsol_bench.errors import PluginError
from wsol_bench.methods.maps_or_boxes import ImageBoxes, ImageMaps, MapsOrBoxes

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
        baseline: whether its maps or boxes say nothing about the image.
        options: values of the opener's keyword-only parameters.
    """

    name: str
    opener: Opener
    paper: str
    gives: Gives
    baseline: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self, dataset: Dataset | None) -> MapsOrBoxes:
        """The method's maps or boxes.

        The opener gets a data set of its own, so that it cannot change that of the run.

        Raises:
            ConfigError: a file or folder does not exist, or is not what the method reads.
            PredictionError: a file cannot be read.
            PluginError: the opener fails, or returns neither maps nor boxes. The same error comes
                later if one of the maps cannot be made.
        """
        whose = f"method {self.name!r}"
        with blamed(whose, self.opener):
            opened = self.opener(None if dataset is None else dataset.apart(), **self.options)
        if isinstance(opened, ImageMaps):
            return replace(
                opened,
                map_of=_Maker(whose, opened.map_of),
                covers=_Blamed(whose, opened.covers),
            )
        if not isinstance(opened, ImageBoxes):
            raise PluginError(
                f"{whose}: expected ImageMaps or ImageBoxes, found {type(opened).__name__}"
            )
        return opened

    def with_options(self, options: Mapping[str, Any], where: str) -> "NetworkFreeMethod":
        """The method with its options bound; ConfigError if they do not fit."""
        bound = bind_options(self.opener, options, where)
        name = name_with_options(self.name, options)
        return replace(self, name=name, options=bound)


@dataclass(frozen=True)
class _Blamed:
    """A function of an image id, whose exceptions become errors that say whose it is."""

    whose: str
    function: Callable[[str], Any]

    def __call__(self, image_id: str) -> Any:
        with blamed(f"{self.whose}, image {image_id}", self.function):
            return self.function(image_id)


class _Maker(_Blamed):
    """A function that makes the map of an image."""

    def __call__(self, image_id: str) -> Any:
        map = super().__call__(image_id)
        if map is not None and not (isinstance(map, np.ndarray) and map.ndim == 2 and map.size):
            found = f"shape {map.shape}" if isinstance(map, np.ndarray) else type(map).__name__
            raise PluginError(
                f"{self.whose}, image {image_id}: expected a map as an array (h, w), or None for "
                f"no map, found {found}"
            )
        return map


network_free_methods: Registry[NetworkFreeMethod] = Registry(NetworkFreeMethod, NETWORK_FREE)


def network_free_method(
    name: str, *, gives: Gives, paper: str = "", baseline: bool = False
) -> Callable[[Opener], NetworkFreeMethod]:
    """Register an opener as a network-free method; its keyword-only parameters are options.

    Args:
        name, gives, paper, baseline: see ``NetworkFreeMethod``.
    """

    def register(opener: Opener) -> NetworkFreeMethod:
        method = NetworkFreeMethod(name, opener, paper, gives, baseline)
        return network_free_methods.register(name, method, opener)

    return register
