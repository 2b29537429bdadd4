"""Attention rollout: the attention of all blocks of a vision transformer, multiplied."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["attention_rollout"]


@cam_method(
    "attention_rollout", plan=Plan(), scope="image", classes="label", paper="arXiv:2005.00928"
)
def attention_rollout(
    record: Record, *, fusion: Literal["mean", "max", "min"] = "mean"
) -> Float[Tensor, "batch k h w"]:
    """Attention rollout (Abnar and Zuidema, ACL 2020, section 3), for vision transformers.

    ``A_l' = 0.5 E_h[A_l] + 0.5 I``, rows normalized, and ``R = A_L' ... A_1'``, where ``A_l``,
    (heads, n, n), is the attention of block l of L over n tokens, ``E_h`` the mean over heads and I
    the identity. R, (n, n), is how much of each input token arrives in each token of the last
    block, if attention were all that mixes tokens and half of each block's output came by the skip
    connection. The map is the class token's row of R over the patch tokens. It does not depend on
    the class: all slots have the same map.

    Args:
        record: a record of any layer.
        fusion: how the heads of a block are fused (``E_h``); the paper takes the mean.

    Raises:
        NotApplicableError: the network is no stack of self-attention blocks over one grid of patch
            tokens behind a class token.
    """
    blocks = record.probe.attention(None)
    row = torch.zeros_like(blocks[0].weights[:, 0, 0])
    row[:, 0] = 1
    # The map is one row of the product: vector times matrix, from the left.
    for block in reversed(blocks):
        heads = block.weights
        fused = {"mean": heads.mean(1), "max": heads.amax(1), "min": heads.amin(1)}[fusion]
        mixed = 0.5 * fused + 0.5 * torch.eye(fused.shape[-1], device=fused.device)
        mixed = mixed / mixed.sum(-1, keepdim=True)
        row = torch.einsum("bi,bij->bj", row, mixed)
    return blocks[0].on_grid(row)[:, None].repeat(1, record.classes.shape[1], 1, 1)
