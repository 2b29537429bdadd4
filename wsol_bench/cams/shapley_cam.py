"""ShapleyCAM: Grad-CAM with the curvature of the score."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from wsol_bench.cams.base import cam_method
from wsol_bench.capture import Plan, Record
from wsol_bench.errors import NotApplicableError

__all__ = ["shapley_cam"]

# Half-precision gradients would underflow; a power of two is exact.
_SCALE = 2.0**10


@cam_method("shapley_cam", plan=Plan(), paper="arXiv:2501.06261", generalizes_cam=True)
def shapley_cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """ShapleyCAM (Cai, 2025): weights by a second-order expansion of the Shapley value.

    ``w_k^c = mean_ij (g - 1/2 H A)_k(i, j)``, ``L^c = ReLU(sum_k w_k^c A_k)``, with the gradient g
    and the Hessian H of ``y^c`` with respect to A, by one Hessian-vector product a class. Where the
    network behind the layer is piecewise linear (ReLU, pooling, linear) H is 0 and it is Grad-CAM.
    ``y^c`` is the score before softmax, as for every other method here; the paper also proposes
    another one (ReST), which is not this.

    Raises:
        NotApplicableError: something behind the layer has no second derivative (a hard sigmoid).
    """
    batch = len(record.activations)
    # The fused kernels of attention have no second derivative.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        activations = record.activations.detach().clone().requires_grad_(True)
        images = torch.arange(batch, device=activations.device)
        logits = record.head(activations, images)
        scores = logits.gather(1, record.classes).sum(dim=0)
        alpha = torch.stack([_weights(score, activations) for score in scores], dim=1)
    record.probe.cost.backward += 2 * record.classes.numel()
    return torch.einsum("bkc,bchw->bkhw", alpha, record.activations).relu()


def _weights(
    score: Float[Tensor, ""], activations: Float[Tensor, "batch c h w"]
) -> Float[Tensor, "batch c"]:
    (slopes,) = torch.autograd.grad(score * _SCALE, activations, create_graph=True)
    curvature = None
    if slopes.requires_grad:
        try:
            (curvature,) = torch.autograd.grad(
                slopes, activations, activations.detach(), retain_graph=True, allow_unused=True
            )
        except RuntimeError as error:
            if "is not implemented" not in str(error):
                raise
            raise NotApplicableError(
                f"behind the layer runs what has no second derivative: {error}"
            ) from error
    # Without a path from A to its own gradient the score is linear.
    second = 0.0 if curvature is None else curvature / 2
    return (slopes.detach() - second).mean(dim=(-2, -1)) / _SCALE
