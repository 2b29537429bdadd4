"""Class activation mapping."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["cam"]


@cam_method("cam", plan=Plan(), paper="arXiv:1512.04150")
def cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """CAM (Zhou et al., CVPR 2016, eq. 2): ``M_c(x, y) = sum_k w_k^c A_k(x, y)``.

    ``w`` are the weights of the linear layer behind the global average pooling (or of the class
    convolution before it). Signed: neither bias nor ReLU.
    """
    return torch.einsum("bkc,bchw->bkhw", record.class_weights, record.activations)
