"""The kinds of methods: only methods are ranked, baselines and sanity checks stand beside them."""

from typing import Literal, get_args

from wsol_bench.common.catalog import NETWORK_FREE
from wsol_bench.common.vocabulary import Sanity
from wsol_bench.methods.network_free import network_free_methods
from wsol_bench.runs.identity import Identity

__all__ = ["Kind", "kind_of"]

Kind = Literal["method", "baseline", "sanity"]

# The beginnings of the names of sanity checks.
_SANITY = tuple(f"{sanity}(" for sanity in get_args(Sanity))


def kind_of(identity: Identity, method: str) -> Kind:
    """The kind of a method; runs that were made before it was recorded tell it by the name."""
    if method in identity.sources:
        is_baseline = identity.sources[method].baseline
        if is_baseline is None:
            name = method.partition("+")[0]
            is_baseline = name in NETWORK_FREE and network_free_methods.get(name).baseline
        return "baseline" if is_baseline else "method"
    sanity = identity.methods[method].sanity
    is_sanity = method.startswith(_SANITY) if sanity is None else bool(sanity)
    return "sanity" if is_sanity else "method"
