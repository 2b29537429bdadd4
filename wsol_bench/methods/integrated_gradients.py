"""Integrated gradients: gradients along a path from a baseline to the image."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.capture.insertion_deletion import blurred
from wsol_bench.common.progress import second_bar
from wsol_bench.errors import ConfigError, NotApplicableError
from wsol_bench.methods.base import cam_method
from wsol_bench.methods.input_x_gradient import size_of_sum

__all__ = ["attributions", "integrated_gradients"]

Color = tuple[float] | tuple[float, float, float] | tuple[float, float, float, float]
Baseline = Literal["mean", "black", "blur"] | Color


@cam_method(
    "integrated_gradients", plan=Plan(), scope="image", classes="label", paper="arXiv:1703.01365"
)
def integrated_gradients(
    record: Record,
    *,
    steps: PositiveInt = 50,
    baseline: Baseline = "mean",
) -> Float[Tensor, "batch k height width"]:
    """Integrated gradients (Sundararajan et al., ICML 2017, eq. 1 and 3).

    ``|sum_rgb IG|``, where IG, (3, height, width), are the attributions of the class score (see
    ``attributions``). The attributions of all pixels add up to the score, so a pixel's channels are
    added with their signs; the map is the absolute value of the sum, as for input_x_gradient.

    Cost: a forward pass for each step, and a backward pass for each class and step.

    Args:
        record: a record of any layer.
        steps: number of steps of the integral; the paper finds 20 to 300 enough.
        baseline: where the path starts. ``mean`` is the mean color, 0 in the normalized input.
            ``black`` is the paper's baseline for images. ``blur`` is the image under the blur of
            the insertion metric (a Gaussian of sigma 5 within 11 x 11 pixels). A number for each
            channel is another color, in the network's normalized input.

    Raises:
        NotApplicableError: the baseline is ``black``, and the record was made without the color of
            black in the normalized input (a run gives it).
        ConfigError: the color has not a number for each channel.
    """
    return size_of_sum(attributions(record, steps=steps, baseline=baseline))


def attributions(
    record: Record, *, steps: int, baseline: Baseline
) -> Float[Tensor, "batch k channels height width"]:
    """The attributions of integrated gradients, signed.

    ``IG(x) = (x - x') * integral_0^1 dS_c(x' + a (x - x')) / dx da``, where x, (3, height, width),
    is the normalized input, ``x'`` the baseline and ``S_c`` the score of class c before softmax.
    Completeness: IG adds up to ``S_c(x) - S_c(x')``. The integral is the mean of the gradients at
    the midpoints ``a = (step + 1/2) / steps``. Along the path the gradient of a piecewise linear
    network jumps, where Gauss-Legendre nodes are no better, and midpoints never meet the ends.
    """
    probe = record.probe
    start = _start(record, baseline)
    path = probe.images - start
    mean = torch.zeros((), device=path.device)
    with second_bar("steps to the image", steps) as advance:
        for step in range(steps):
            images = start + (step + 0.5) / steps * path
            mean = mean + probe.pixel_gradients(record.classes, images=images) / steps
            advance(1)
    return path[:, None] * mean


def _start(record: Record, baseline: Baseline) -> Float[Tensor, "#batch channels #height #width"]:
    """The image of the baseline, or its color for all images."""
    images, black = record.probe.images, record.probe.black
    if baseline == "blur":
        return blurred(images)
    if baseline == "mean":
        return torch.zeros_like(images[:, :, :1, :1])
    color = black if baseline == "black" else baseline
    if color is None:
        raise NotApplicableError(
            "baseline: 'black' needs the mean and std by which the input was normalized, and these "
            "maps were asked for without them; give the color instead, -mean / std (with "
            "ImageNet's: [-2.118, -2.036, -1.804])"
        )
    if len(color) != images.shape[1]:
        raise ConfigError(
            f"baseline: expected a number for each of the input's {images.shape[1]} channels, "
            f"found {len(color)}"
        )
    return images.new_tensor(color)[None, :, None, None]
