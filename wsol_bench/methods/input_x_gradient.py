"""Input times gradient: the contribution of each pixel to the class score."""

from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["input_x_gradient", "size_of_sum"]


@cam_method(
    "input_x_gradient", plan=Plan(), scope="image", classes="label", paper="arXiv:1605.01713"
)
def input_x_gradient(record: Record) -> Float[Tensor, "batch k height width"]:
    """Input times gradient (Shrikumar et al., 2016): each pixel's contribution to the score.

    ``|sum_rgb x dS_c / dx|``, where ``S_c`` is the score of class c before softmax and x,
    (3, height, width), the normalized input, so that a pixel of the mean color counts for nothing.
    The channels of a pixel are parts of one contribution to the score: they are added with their
    signs, and the map is the absolute value of the sum (as captum shows attributions by default).
    """
    gradients = record.probe.pixel_gradients(record.classes)
    return size_of_sum(gradients * record.probe.images[:, None])


def size_of_sum(
    contributions: Float[Tensor, "batch k channels height width"],
) -> Float[Tensor, "batch k height width"]:
    """The absolute value of the sum over the color channels, at each pixel."""
    return contributions.sum(dim=2).abs()
