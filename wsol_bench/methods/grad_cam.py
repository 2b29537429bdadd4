"""Grad-CAM: gradient-weighted class activation mapping."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["grad_cam"]


@cam_method("grad_cam", plan=Plan(gradients=True), paper="arXiv:1610.02391", generalizes_cam=True)
def grad_cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """Grad-CAM (Selvaraju et al., ICCV 2017, eq. 1 and 2): channels weighted by mean gradients.

    ``alpha_k^c = mean_ij dy^c / dA_k(i, j)``, ``L^c = ReLU(sum_k alpha_k^c A_k)``, where ``A_k``,
    (h, w), is the activation of channel k at the target layer and ``y^c`` the score of class c
    before softmax. On a network of global average pooling and a linear layer it is ReLU(CAM) up to
    a positive factor.
    """
    alpha = record.gradients.mean(dim=(-2, -1))
    return torch.einsum("bkc,bchw->bkhw", alpha, record.activations).relu()
