"""Guided Grad-CAM: fine detail from the pixels, class from the layer."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.backprop import strongest_channel
from wsol_bench.methods.base import cam_method
from wsol_bench.methods.grad_cam import grad_cam

__all__ = ["guided_grad_cam"]


@cam_method("guided_grad_cam", plan=Plan(gradients=True), classes="label", paper="arXiv:1610.02391")
def guided_grad_cam(record: Record) -> Float[Tensor, "batch k height width"]:
    """Guided Grad-CAM (Selvaraju et al., ICCV 2017, section 3.2).

    ``R^0 * up(L^c)``, pixel by pixel, where ``R^0``, (3, height, width), is guided backpropagation,
    and ``up(L^c)`` is the map of Grad-CAM, bilinearly resized to the input (pixel areas aligned,
    not corners). The map is ``max_rgb |.|`` of the product. Grad-CAM is not negative and the same
    for all colors, so it multiplies the map of guided backpropagation.

    Raises:
        NotApplicableError: the network runs no rectifier.
    """
    guided = record.probe.pixel_gradients(record.classes, rule="guided")
    resized = F.interpolate(
        grad_cam(record), guided.shape[-2:], mode="bilinear", align_corners=False
    )
    return strongest_channel(guided) * resized
