"""Grad-CAM++ as its authors' code computes it."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method
from wsol_bench.methods.grad_cam_pp import pixel_coefficients

__all__ = ["grad_cam_pp_authors"]


@cam_method(
    "grad_cam_pp_authors",
    plan=Plan(gradients=True),
    paper="arXiv:1710.11063, https://github.com/adityac94/Grad_CAM_plus_plus",
)
def grad_cam_pp_authors(record: Record) -> Float[Tensor, "batch k h w"]:
    """Grad-CAM++ with the normalization of its authors' code, which the paper does not print.

    In each channel, the coefficients alpha (eq. 19; see grad_cam_pp) are divided by their sum over
    the positions where the gradient g is positive: the weight ``w_k^c`` is a mean of the positive
    gradients, and not a sum. On a network of global average pooling and a linear layer it is
    exactly ReLU(g), the positive class weights of CAM.
    """
    positive = record.gradients.relu()
    coefficients = pixel_coefficients(record.gradients, record.activations) * (positive > 0)
    totals = coefficients.sum(dim=(-2, -1))
    weights = (coefficients * positive).sum(dim=(-2, -1)) / torch.where(totals == 0, 1.0, totals)
    return torch.einsum("bkc,bchw->bkhw", weights, record.activations).relu()
