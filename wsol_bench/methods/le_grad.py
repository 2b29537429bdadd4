"""LeGrad: the gradients of class scores with respect to the attention of each block."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.base import cam_method

__all__ = ["le_grad"]


@cam_method("le_grad", plan=Plan(), scope="image", classes="label", paper="arXiv:2404.03214")
def le_grad(
    record: Record,
    *,
    score: Literal["class_token", "mean_tokens"] = "class_token",
    blocks: PositiveInt | None = None,
) -> Float[Tensor, "batch k h w"]:
    """LeGrad (Bousselham et al., ICCV 2025), for vision transformers that read a class token.

    ``E_l(j) = 1 / (heads n) sum_h sum_i ReLU(G_l)_hij`` and ``L^c = 1 / layers sum_l E_l``, over
    the patch tokens j. ``G_l = ds_l^c / dA_l``, (heads, n, n), where ``A_l`` is the attention of
    block l over n tokens, and ``s_l^c`` the score of class c at that block: the final norm and the
    head applied to a token of block l in the place of the last block's class token.

    The authors' code for CLIP is ``score: mean_tokens, blocks: 2``; its score is the cosine to a
    text. The min-max normalization of the map is left to the protocol, as for every method here.

    Args:
        record: a record of any layer.
        score: the token that is scored: ``class_token``, that of block l, or ``mean_tokens``, the
            mean of all tokens of block l, the class token among them.
        blocks: number of blocks, counted from the last one; by default all, as in the paper.

    Raises:
        NotApplicableError: the network is no stack of self-attention blocks over one grid of patch
            tokens behind a class token, or has fewer blocks.
    """
    attention = record.probe.attention(record.classes, score=score)
    if blocks is not None and blocks > len(attention):
        raise NotApplicableError(f"blocks: expected at most {len(attention)}, found {blocks}")
    per_block = []
    for block in attention if blocks is None else attention[-blocks:]:
        gradients = block.layer_gradients
        assert gradients is not None
        # Rows that are not recorded are zero, and count in the mean over the n query tokens.
        per_block.append(gradients.relu().sum(-2).mean(-2) / gradients.shape[-1])
    return attention[0].on_grid(torch.stack(per_block).mean(0))
