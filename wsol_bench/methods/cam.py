"""Class activation mapping (CAM): activations weighted by the classifier."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["cam"]


@cam_method("cam", plan=Plan(), paper="arXiv:1512.04150")
def cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """Class activation mapping, CAM (Zhou et al., CVPR 2016, eq. 2).

    ``M_c(x, y) = sum_k w_k^c A_k(x, y)``, where ``A_k``, (h, w), is the activation of channel k at
    the target layer, and ``w_k^c`` the channel's weight for class c in the linear layer behind the
    global average pooling (or in the class convolution before it; also behind global max pooling,
    which the paper compares). The map is signed: it has neither bias nor ReLU.

    Raises:
        NotApplicableError: no such head directly follows the target layer.
    """
    return torch.einsum("bkc,bchw->bkhw", record.class_weights, record.activations)
