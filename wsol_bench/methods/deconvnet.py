"""DeconvNet: the class score projected back to the pixels."""

from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.backprop import strongest_channel
from wsol_bench.methods.base import cam_method

__all__ = ["deconvnet"]


@cam_method("deconvnet", plan=Plan(), scope="image", classes="label", paper="arXiv:1311.2901")
def deconvnet(record: Record) -> Float[Tensor, "batch k height width"]:
    """DeconvNet (Zeiler and Fergus, ECCV 2014, section 2.1), from the class score to the pixels.

    At each rectifier l, ``R^l = max(R^(l+1), 0)``, where R is the signal that runs backward from
    the class score (before softmax): only the sign of R counts, and no input gates it, also above 6
    at a ReLU6. Backpropagation has ``R^l = 1[f^l > 0] R^(l+1)`` there, f being the rectifier's
    input (Simonyan et al., arXiv:1312.6034, section 4; Springenberg et al., arXiv:1412.6806, figure
    1). Max pooling passes the signal to the maximum, by the paper's switches. The map is
    ``max_rgb |R^0|``, (height, width), as for backprop.

    Raises:
        NotApplicableError: the network runs no rectifier.
    """
    return strongest_channel(record.probe.pixel_gradients(record.classes, rule="deconvnet"))
