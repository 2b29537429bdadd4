"""TS-CAM: the class token's attention, coupled with the classes' semantic maps."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.base import cam_method

__all__ = ["ts_cam"]


@cam_method("ts_cam", plan=Plan(), paper="arXiv:2103.14862")
def ts_cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """Token semantic coupled attention map, TS-CAM (Gao et al., ICCV 2021, section 3).

    ``M_c = A * S_c``, point by point, with ``A = 1/L sum_l E_h[A_l]``, where ``A_l``, (heads, n),
    is the class token's row of the attention of block l of L, over the patch tokens, and ``E_h``
    the mean over heads. ``S_c``, (h, w), is the semantic map of class c: the output of the class
    convolution over the last block's patch tokens, with its bias, which ``cam`` gives alone. The
    map is signed. The authors' code sums over the blocks where the paper takes the mean.

    Raises:
        NotApplicableError: the target layer is no class convolution over patch tokens with global
            average pooling behind it (the networks ``ts_cam/...``), or the network is no stack of
            self-attention blocks over one grid of patch tokens behind a class token.
    """
    semantic = torch.einsum("bkc,bchw->bkhw", record.class_weights, record.activations)
    blocks = record.probe.attention(None)
    rows = torch.stack([block.weights[:, :, 0].mean(1) for block in blocks])
    attention = blocks[0].on_grid(rows.mean(0))[:, None]
    if attention.shape[2:] != semantic.shape[2:]:
        raise NotApplicableError(
            f"the grid of layer {record.layer.name!r}, {tuple(semantic.shape[2:])}, is not that of "
            f"the patch tokens, {tuple(attention.shape[2:])}"
        )
    return attention * semantic
