"""LeGrad: the gradients of class scores with respect to the attention of each block."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["le_grad"]


@cam_method("le_grad", plan=Plan(), scope="image", classes="label", paper="arXiv:2404.03214")
def le_grad(record: Record) -> Float[Tensor, "batch k h w"]:
    """LeGrad (Bousselham et al., ICCV 2025), for vision transformers that read a class token.

    ``E_l(j) = 1 / (heads n) sum_h sum_i ReLU(G_l)_hij`` and ``L^c = 1 / layers sum_l E_l``, over
    the patch tokens j. ``G_l = ds_l^c / dA_l``, (heads, n, n), where ``A_l`` is the attention of
    block l over n tokens, and ``s_l^c`` the score of class c at that block: the final norm and the
    head applied to the class token of block l instead of the last.

    All blocks count, as in the paper; the authors' code takes as many of the last blocks as the
    user asks for, and for CLIP scores a layer by the mean of all its tokens. The paper's min-max
    normalization of the map is left to the protocol, as for every method here.

    Raises:
        NotApplicableError: the network is no stack of self-attention blocks over one grid of patch
            tokens behind a class token.
    """
    per_block = []
    blocks = record.probe.attention(record.classes)
    for block in blocks:
        gradients = block.layer_gradients
        assert gradients is not None
        # Rows that are not recorded are zero, and count in the mean over the n query tokens.
        per_block.append(gradients.relu().sum(-2).mean(-2) / gradients.shape[-1])
    return blocks[0].on_grid(torch.stack(per_block).mean(0))
