"""ShapleyCAM: Grad-CAM with the curvature of the score."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from wsol_bench.capture import Plan, Record
from wsol_bench.capture.cotangents import one_hot, second_order
from wsol_bench.methods.base import cam_method

__all__ = ["shapley_cam"]


@cam_method("shapley_cam", plan=Plan(), paper="arXiv:2501.06261", generalizes_cam=True)
def shapley_cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """ShapleyCAM (Cai, 2025): weights by a second-order expansion of the Shapley value.

    ``w_k^c = mean_ij (g - 1/2 H A)_k(i, j)``, ``L^c = ReLU(sum_k w_k^c A_k)``, where ``A_k``,
    (h, w), is the activation of channel k at the target layer, and g and H are the gradient and the
    Hessian of the score ``y^c`` with respect to A, by one Hessian-vector product a class. If the
    network behind the layer is piecewise linear (ReLU, pooling, linear), H is 0 and it is Grad-CAM.
    ``y^c`` is the score before softmax, as for every other method here; the paper also proposes
    another score (ReST), which is not implemented.

    Raises:
        NotApplicableError: an operation behind the layer has no second derivative (a hard sigmoid).
    """
    # The fused kernels of attention have no second derivative.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        activations = record.activations.detach().clone().requires_grad_(True)
        images = torch.arange(len(activations), device=activations.device)
        logits = record.head(activations, images)
        weights = []
        for cotangent in one_hot(record.classes, logits).unbind(1):
            slopes, curvature = second_order(logits, activations, cotangent, cost=record.probe.cost)
            weights.append((slopes - curvature / 2).mean(dim=(-2, -1)))
    alpha = torch.stack(weights, dim=1)
    return torch.einsum("bkc,bchw->bkhw", alpha, record.activations).relu()
