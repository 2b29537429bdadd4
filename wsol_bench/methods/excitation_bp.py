"""Excitation backprop: probabilities passed from the class score down to a layer."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["excitation_bp"]


@cam_method("excitation_bp", plan=Plan(), scope="image", classes="label", paper="arXiv:1608.00507")
def excitation_bp(
    record: Record,
    *,
    map_layer: str | None = None,
    residual: Literal["positive", "signed", "branch"] = "positive",
) -> Float[Tensor, "batch k h w"]:
    """Excitation backprop (Zhang et al., ECCV 2016, section 3.2).

    ``L^c = sum_n p_n^c`` over the channels n of a lower layer, where p, (channels, h, w), is the
    marginal winning probability: ``p'_j = x_j * sum_i W+_ij p_i / (W+ x)_i`` from ``p = 1`` at the
    logit of class c. x is the input of a layer and ``W+`` the positive part of its weights; p is
    the probability of the layer's outputs i, and ``p'`` that of its inputs j.

    Args:
        record: a record of any layer.
        map_layer: dotted name of that lower layer; by default the one in the target-layer table
            (``wsol_bench.models.target_layers``).
        residual: how the sum ``a + b`` of a residual block shares out p, on which the paper says
            nothing. ``positive``: ``a+ / (a+ + b+)``. ``signed``: ``a / (a + b)``, which is
            negative or above 1 if the signs differ, as in TorchRay and in the authors' Caffe code
            since April 2017. ``branch``: all to the residual branch and nothing to the shortcut, as
            in the authors' README and in their code before.

    Raises:
        NotApplicableError: a module behind the lower layer has no excitation rule, or the table
            names no lower layer for the network.
    """
    p = record.probe.excitation(
        record.classes, contrastive=False, map_layer=map_layer, residual=residual
    )
    return p.sum(dim=2)
