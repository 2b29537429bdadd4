"""High-resolution class activation mapping."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["hires_cam"]


@cam_method("hires_cam", plan=Plan(gradients=True), paper="arXiv:2011.08891", generalizes_cam=True)
def hires_cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """HiResCAM (Draelos and Carin, 2020): ``ReLU(sum_k dy^c / dA_k A_k)``, position by position.

    Grad-CAM without the average of the gradients. What is summed is each position's contribution
    to the score where the layer is followed by one linear layer; ReLU is for visualization, as in
    Grad-CAM. On a GAP + linear network it is Grad-CAM.
    """
    return torch.einsum("bkchw,bchw->bkhw", record.gradients, record.activations).relu()
