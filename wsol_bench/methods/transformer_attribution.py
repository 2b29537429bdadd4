"""Attribution through a transformer's attention by gradients and relevance, or attention."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.capture.backward.attention import on_grid
from wsol_bench.methods.base import cam_method

__all__ = ["transformer_attribution"]


@cam_method(
    "transformer_attribution",
    plan=Plan(),
    scope="image",
    classes="label",
    paper="arXiv:2012.09838, arXiv:2103.15679",
)
def transformer_attribution(
    record: Record, *, relevance: Literal["lrp", "attention"] = "lrp"
) -> Float[Tensor, "batch k h w"]:
    """Transformer attribution (Chefer et al., CVPR 2021 and ICCV 2021), for vision transformers.

    ``A_l' = I + E_h[ReLU(dy^c / dA_l * R_l)]``, mean over heads, with the score ``y^c`` before
    softmax, and ``C = A_L' ... A_1'``, rows not normalized. The map is the class token's row of C
    over the patch tokens.

    Args:
        record: its probe gives the attention ``A_l``, (batch, heads, n, n), of each block, and the
            gradients.
        relevance: what ``R_l`` is. ``lrp``: its layer-wise relevance, the CVPR 2021 paper (eq. 13
            and 14) with the rules of the authors' code; networks without rules are refused.
            ``attention``: ``A_l`` itself, the ICCV 2021 paper (eq. 5 and 6; any transformer).
    """
    blocks = record.probe.attention(record.classes)
    if relevance == "lrp":
        factors = record.probe.relevance(record.classes)
    else:
        factors = [block.weights[:, None] for block in blocks]
    batch, k = record.classes.shape
    row = blocks[0].weights.new_zeros(batch, k, blocks[0].weights.shape[-1])
    row[..., 0] = 1
    # Of C only the class token's row is asked for: vector times matrix, from the left.
    for block, factor in zip(reversed(blocks), reversed(factors), strict=True):
        assert block.gradients is not None
        relevant = (block.gradients * factor).relu().mean(2)
        row = row + torch.einsum("bki,bkij->bkj", row, relevant)
    return on_grid(row)
