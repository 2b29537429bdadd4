"""Grad-CAM++: gradients weighted pixel by pixel."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["grad_cam_pp", "pixel_coefficients"]


@cam_method("grad_cam_pp", plan=Plan(gradients=True), paper="arXiv:1710.11063")
def grad_cam_pp(record: Record) -> Float[Tensor, "batch k h w"]:
    """Grad-CAM++ (Chattopadhay et al., WACV 2018, eq. 7 and 19), as the paper prints it.

    ``w_k^c = sum_ij alpha_k^c(i, j) ReLU(dy^c / dA_k(i, j))``, ``L^c = ReLU(sum_k w_k^c A_k)``,
    where ``A_k``, (h, w), is the activation of channel k at the target layer, ``y^c`` the score of
    class c before softmax, and ``alpha_k^c``, (h, w), the coefficients of ``pixel_coefficients``.
    The paper's score is ``exp(y^c)``, whose value cancels in alpha and is a positive factor of the
    whole map.
    """
    coefficients = pixel_coefficients(record.gradients, record.activations)
    weights = (coefficients * record.gradients.relu()).sum(dim=(-2, -1))
    return torch.einsum("bkc,bchw->bkhw", weights, record.activations).relu()


def pixel_coefficients(
    slopes: Float[Tensor, "batch k c h w"], activations: Float[Tensor, "batch c h w"]
) -> Float[Tensor, "batch k c h w"]:
    """The coefficients alpha of Grad-CAM++ (eq. 19): ``g^2 / (2 g^2 + S g^3)``.

    g is the gradient, and S the sum of A over all positions. The coefficients are computed as
    ``1 / (2 + S g)``: g^2 is about 2e-7 on real networks, so that no epsilon may stand beside it.
    Where g is 0, alpha does not matter. If no activation is negative, alpha lies between 0 and
    1/2 wherever g is positive; with a negative S (networks without a ReLU) the formula has a pole,
    and at the pole itself the coefficient is 0.

    Args:
        slopes: g; for averages over noisy images, the ratio of mean g^3 to mean g^2.
        activations: A.
    """
    denominators = 2 + activations.sum(dim=(-2, -1))[:, None, :, None, None] * slopes
    return torch.where(denominators == 0, 0.0, 1 / denominators)
