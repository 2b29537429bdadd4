"""Element-wise Grad-CAM."""

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
    """GradCAMElementWise of pytorch-grad-cam: ``sum_k ReLU(dy^c / dA_k A_k)``.

    Without a paper. It differs from HiResCAM in that no channel's negative contribution cancels
    another's positive one, and from LayerCAM only where activations are negative.
    """
    # Slot by slot: no sum of products holds a ReLU, and all products at once are as large as g.
    products = (of_slot * record.activations for of_slot in record.gradients.unbind(dim=1))
    return torch.stack([product.relu().sum(dim=1) for product in products], dim=1)
