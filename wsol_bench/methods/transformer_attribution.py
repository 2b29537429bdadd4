"""Transformer attribution: attention, weighted by the class score's gradients."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
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

    ``A_l' = I + E_h[ReLU(dy^c / dA_l * R_l)]`` and ``C = A_L' ... A_1'``, rows not normalized,
    where ``A_l``, (heads, n, n), is the attention of block l of L over n tokens, ``R_l``,
    (heads, n, n), its relevance, ``E_h`` the mean over heads, and ``y^c`` the score of class c
    before softmax. The map is the class token's row of C over the patch tokens.

    Args:
        record: a record of any layer.
        relevance: the choice of ``R_l``. ``lrp``: the attention's layer-wise relevance, as in the
            CVPR 2021 paper (eq. 13 and 14), with the rules of the authors' code. ``attention``:
            ``A_l`` itself, as in the ICCV 2021 paper (eq. 5 and 6; any transformer).

    Raises:
        NotApplicableError: the network is no stack of self-attention blocks over one grid of patch
            tokens behind a class token; or, with ``lrp``, it runs an operation that has no
            rule of relevance.
    """
    blocks = record.probe.attention(record.classes)
    if relevance == "lrp":
        factors = record.probe.relevance(record.classes)
    else:
        factors = [block.weights[:, None] for block in blocks]
    batch, k = record.classes.shape
    row = blocks[0].weights.new_zeros(batch, k, blocks[0].weights.shape[-1])
    row[..., 0] = 1
    # The map is one row of C: vector times matrix, from the left.
    for block, factor in zip(reversed(blocks), reversed(factors), strict=True):
        assert block.gradients is not None
        relevant = (block.gradients * factor).relu().mean(2)
        row = row + torch.einsum("bki,bkij->bkj", row, relevant)
    return blocks[0].on_grid(row)
