"""Guided backpropagation."""

from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.backprop import strongest_channel
from wsol_bench.methods.base import cam_method

__all__ = ["guided_backprop"]


@cam_method("guided_backprop", plan=Plan(), scope="image", classes="label", paper="arXiv:1412.6806")
def guided_backprop(record: Record) -> Float[Tensor, "batch k height width"]:
    """Guided backpropagation (Springenberg et al., ICLR 2015 workshop, section 3.4).

    The gradient of the class score (before softmax), but rectifiers pass only what is positive:
    ``R^l = 1[f^l > 0] 1[R^(l+1) > 0] R^(l+1)``. Smooth rectifiers (SiLU, GELU, ...) have their own
    derivative in the place of the first factor. The paper shows R as a color image; the map is
    ``max_rgb |R^0|``, as of backprop.

    Raises:
        NotApplicableError: a network without rectifiers, where it were the plain gradient.
    """
    return strongest_channel(record.probe.pixel_gradients(record.classes, rule="guided"))
