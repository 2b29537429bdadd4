"""XGrad-CAM: axiom-based Grad-CAM."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["xgrad_cam"]


@cam_method("xgrad_cam", plan=Plan(gradients=True), paper="arXiv:2008.02312", generalizes_cam=True)
def xgrad_cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """XGrad-CAM (Fu et al., BMVC 2020): gradients averaged in proportion to the activations.

    ``alpha_k^c = sum_ij (A_k(i, j) / S_k) dy^c / dA_k(i, j)``, ``S_k = sum_ij A_k(i, j)``,
    ``L^c = ReLU(sum_k alpha_k^c A_k)``, where ``A_k``, (h, w), is the activation of channel k at
    the target layer and ``y^c`` the score of class c before softmax. A channel whose S is 0 (a
    silent channel behind a ReLU) has weight 0.
    """
    totals = record.activations.sum(dim=(-2, -1), keepdim=True)
    shares = torch.where(totals == 0, 0.0, record.activations / totals)
    alpha = torch.einsum("bkchw,bchw->bkc", record.gradients, shares)
    return torch.einsum("bkc,bchw->bkhw", alpha, record.activations).relu()
