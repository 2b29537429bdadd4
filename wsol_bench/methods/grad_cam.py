"""Gradient-weighted class activation mapping."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["grad_cam"]


@cam_method("grad_cam", plan=Plan(gradients=True), paper="arXiv:1610.02391", generalizes_cam=True)
def grad_cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """Grad-CAM (Selvaraju et al., ICCV 2017, eq. 1 and 2).

    ``alpha_k^c = mean_ij dy^c / dA_k(i, j)``, ``L^c = ReLU(sum_k alpha_k^c A_k)``, with the score
    ``y^c`` before softmax. On a GAP + linear network it is ReLU(CAM) up to a positive factor.
    """
    alpha = record.gradients.mean(dim=(-2, -1))
    return torch.einsum("bkc,bchw->bkhw", alpha, record.activations).relu()
