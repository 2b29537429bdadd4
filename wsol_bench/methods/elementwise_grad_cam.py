"""Element-wise Grad-CAM: the positive parts of gradients times activations."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["elementwise_grad_cam"]


@cam_method(
    "elementwise_grad_cam",
    plan=Plan(gradients=True),
    paper="https://github.com/jacobgil/pytorch-grad-cam",
)
def elementwise_grad_cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """GradCAMElementWise of pytorch-grad-cam: positive parts of gradients times activations.

    ``sum_k ReLU(dy^c / dA_k A_k)``, position by position, where ``A_k``, (h, w), is the activation
    of channel k at the target layer and ``y^c`` the score of class c before softmax. The method has
    no paper. Unlike in HiResCAM, negative contributions of one channel do not cancel positive
    contributions of another; LayerCAM differs only where activations are negative.
    """
    # Slot by slot: the ReLU keeps this from being an einsum, and all products at once are as large
    # as the gradients.
    products = (gradients * record.activations for gradients in record.gradients.unbind(dim=1))
    return torch.stack([product.relu().sum(dim=1) for product in products], dim=1)
