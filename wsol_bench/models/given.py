"""Networks that a script or a notebook gives as objects, by import paths of this module.

An experiment names its networks, so that it can be written down. ``wsol_bench.run`` hands a network
over here, and names it ``wsol_bench.models.given:ResNet`` in the experiment.
"""

import copy
from typing import Any

from torch import nn

__all__ = ["name_of_given"]

_given: dict[str, nn.Module] = {}


class _Builder:
    """A builder, as ``my_module:builder`` names one, that returns a copy of a given network."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self) -> nn.Module:
        # A run puts the network into evaluation mode and on a device of its own.
        return copy.deepcopy(self._module)


def name_of_given(module: nn.Module, label: str) -> str:
    """Hand a network over; return the name by which an experiment finds it in this process.

    Args:
        module: the network, with its weights.
        label: the network's name in the results. A network that was given by the same label before
            is replaced.
    """
    _given[label] = module
    return f"{__name__}:{label}"


def __getattr__(label: str) -> Any:
    if label not in _given:
        raise AttributeError(f"no network {label!r} was given in this process")
    return _Builder(_given[label])
