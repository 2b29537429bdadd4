"""Eigen-Grad-CAM: the first principal component of gradients times activations."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method
from wsol_bench.methods.eigen_cam import first_component

__all__ = ["eigen_grad_cam"]


@cam_method(
    "eigen_grad_cam",
    plan=Plan(gradients=True),
    paper="https://github.com/jacobgil/pytorch-grad-cam",
)
def eigen_grad_cam(record: Record, *, centered: bool = True) -> Float[Tensor, "batch k h w"]:
    """EigenGradCAM of pytorch-grad-cam: Eigen-CAM of the gradients times the activations.

    It is Eigen-CAM with ``dy^c / dA_k A_k``, (h, w), in the place of the activations ``A_k`` of
    each channel k, where ``y^c`` is the score of class c before softmax. The map is signed: its
    sign is that of the products' sum over the channels, where pytorch-grad-cam leaves the sign to
    the decomposition. The method has no paper.

    Args:
        record: a record of one layer.
        centered: whether each channel's mean over the positions is subtracted first, as
            pytorch-grad-cam does.
    """
    # Slot by slot: all products at once are as large as the gradients.
    products = (gradients * record.activations for gradients in record.gradients.unbind(dim=1))
    return torch.stack([first_component(product, centered=centered) for product in products], 1)
