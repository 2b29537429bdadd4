"""Contrastive excitation backprop."""

from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["c_mwp"]


@cam_method("c_mwp", plan=Plan(), scope="image", classes="label", paper="arXiv:1608.00507")
def c_mwp(record: Record, *, map_layer: str | None = None) -> Float[Tensor, "batch k h w"]:
    """Contrastive marginal winning probability (Zhang et al., ECCV 2016, section 3.3).

    ``L^c = ReLU(sum_n (p_n^c - p_n^not-c))`` over the channels of a lower layer: excitation
    backprop from class c, less that from a unit whose weights are those of c negated.

    Args:
        record: of any layer.
        map_layer: that lower layer, by its dotted name; by default the table's
            (``wsol_bench.models.target_layers``).
    """
    p = record.probe.excitation(record.classes, contrastive=True, map_layer=map_layer)
    return p.sum(dim=2).relu()
