"""Networks that a script or a notebook gives as objects, by import paths of this module.

An experiment names its networks, so that it can be written down. During a run the network that is
given at the first position is ``wsol_bench.models.given:network_0``.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn

__all__ = ["given"]

# Of this thread, since runs in others give networks by the same names.
_given: ContextVar[Mapping[str, Any] | None] = ContextVar("given", default=None)


class _Builder:
    """A builder, as ``my_module:builder`` names one, that returns a copy of a given network."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self) -> nn.Module:
        # A run puts the network into evaluation mode and on a device of its own.
        return copy.deepcopy(self.network)


@contextmanager
def given(networks: Mapping[str, Any]) -> Iterator[None]:
    """Let experiments find networks in this module meanwhile, each by its name in the mapping.

    Functions that read the outputs of networks are found like them.
    """
    token = _given.set(networks)
    try:
        yield
    finally:
        _given.reset(token)


def __getattr__(name: str) -> Any:
    networks = _given.get() or {}
    if name not in networks:
        raise AttributeError(f"no network {name!r} is given in this thread")
    item = networks[name]
    return _Builder(item) if isinstance(item, nn.Module) else item
