"""HiResCAM: high-resolution class activation mapping."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["hires_cam"]


@cam_method("hires_cam", plan=Plan(gradients=True), paper="arXiv:2011.08891", generalizes_cam=True)
def hires_cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """HiResCAM (Draelos and Carin, 2020): gradients times activations, position by position.

    ``ReLU(sum_k dy^c / dA_k A_k)``, where ``A_k``, (h, w), is the activation of channel k at the
    target layer and ``y^c`` the score of class c before softmax. It is Grad-CAM without the average
    of the gradients. If the layer is followed by one linear layer, what is summed is each
    position's contribution to the score; ReLU is for visualization, as in Grad-CAM. On a network of
    global average pooling and a linear layer it is Grad-CAM.
    """
    return torch.einsum("bkchw,bchw->bkhw", record.gradients, record.activations).relu()
