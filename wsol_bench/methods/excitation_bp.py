"""Excitation backprop."""

from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["excitation_bp"]


@cam_method("excitation_bp", plan=Plan(), scope="image", classes="label", paper="arXiv:1608.00507")
def excitation_bp(record: Record, *, map_layer: str | None = None) -> Float[Tensor, "batch k h w"]:
    """Excitation backprop (Zhang et al., ECCV 2016, section 3.2).

    ``L^c = sum_n p_n^c`` over the channels of a lower layer, p being the marginal winning
    probability: ``p'_j = x_j * sum_i W+_ij p_i / (W+ x)_i`` from ``p = 1`` at the logit of class c.

    Args:
        record: of any layer.
        map_layer: that lower layer, by its dotted name; by default the table's
            (``wsol_bench.models.target_layers``).
    """
    p = record.probe.excitation(record.classes, contrastive=False, map_layer=map_layer)
    return p.sum(dim=2)
