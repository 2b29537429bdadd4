"""Gradient saliency: the gradient of the class score at the pixels."""

from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["backprop", "strongest_channel"]


@cam_method("backprop", plan=Plan(), scope="image", classes="label", paper="arXiv:1312.6034")
def backprop(record: Record) -> Float[Tensor, "batch k height width"]:
    """Image-specific class saliency (Simonyan et al., ICLR 2014 workshop, section 3.1).

    ``M^c(i, j) = max_rgb |dS_c / dI(i, j, rgb)|``, where ``S_c`` is the score of class c before
    softmax and I, (3, height, width), the normalized input.
    """
    return strongest_channel(record.probe.pixel_gradients(record.classes))


def strongest_channel(
    gradients: Float[Tensor, "batch k channels height width"],
) -> Float[Tensor, "batch k height width"]:
    """The largest absolute value over the color channels, at each pixel."""
    return gradients.abs().amax(dim=2)
