"""Guided backpropagation: gradients, of which rectifiers pass only the positive ones."""

from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.backprop import strongest_channel
from wsol_bench.methods.base import cam_method

__all__ = ["guided_backprop"]


@cam_method("guided_backprop", plan=Plan(), scope="image", classes="label", paper="arXiv:1412.6806")
def guided_backprop(record: Record) -> Float[Tensor, "batch k height width"]:
    """Guided backpropagation (Springenberg et al., ICLR 2015 workshop, section 3.4).

    At each rectifier l, ``R^l = 1[f^l > 0] 1[R^(l+1) > 0] R^(l+1)``, where R is the signal that
    runs backward from the class score (before softmax) and f the rectifier's input. Elsewhere R is
    the gradient. Other rectifiers (SiLU, GELU, ...) have their own derivative in the place of the
    first factor; that of ReLU6 is ``1[0 < f^l < 6]``. Rectifiers count as modules and as functions,
    while captum and pytorch-grad-cam know nn.ReLU alone. The paper shows ``R^0``,
    (3, height, width), as a color image; the map is ``max_rgb |R^0|``, as for backprop.

    Raises:
        NotApplicableError: the network runs no rectifier: the map would be that of backprop.
    """
    return strongest_channel(record.probe.pixel_gradients(record.classes, rule="guided"))
