"""Contrastive excitation backprop: excitation for a class minus excitation against the class."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["c_mwp"]


@cam_method("c_mwp", plan=Plan(), scope="image", classes="label", paper="arXiv:1608.00507")
def c_mwp(
    record: Record,
    *,
    map_layer: str | None = None,
    residual: Literal["positive", "signed", "branch"] = "positive",
) -> Float[Tensor, "batch k h w"]:
    """Contrastive marginal winning probability, c-MWP (Zhang et al., ECCV 2016, section 3.3).

    ``L^c = ReLU(sum_n (p_n^c - p_n^not-c))`` over the channels n of a lower layer, where ``p^c``,
    (channels, h, w), is excitation backprop from class c, and ``p^not-c`` is excitation backprop
    from a unit whose weights are those of c negated.

    Args:
        record: a record of any layer.
        map_layer: dotted name of that lower layer; by default the one in the target-layer table
            (``wsol_bench.models.target_layers``).
        residual: how a sum shares out p: ``positive``, ``signed`` or ``branch``; see excitation_bp.

    Raises:
        NotApplicableError: a module behind the lower layer has no excitation rule, or the table
            names no lower layer for the network.
    """
    p = record.probe.excitation(
        record.classes, contrastive=True, map_layer=map_layer, residual=residual
    )
    return p.sum(dim=2).relu()
