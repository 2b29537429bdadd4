"""Attention rollout."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.capture.backward.attention import on_grid
from wsol_bench.methods.base import cam_method

__all__ = ["attention_rollout"]


@cam_method(
    "attention_rollout", plan=Plan(), scope="image", classes="label", paper="arXiv:2005.00928"
)
def attention_rollout(
    record: Record, *, fusion: Literal["mean", "max", "min"] = "mean"
) -> Float[Tensor, "batch k h w"]:
    """Attention rollout (Abnar and Zuidema, ACL 2020, section 3), for vision transformers.

    ``A_l' = 0.5 E_h[A_l] + 0.5 I``, rows normalized, and ``R = A_L' ... A_1'``: how much of each
    input token arrives in each token of the last block L, if attention were all that mixes tokens
    and half of each block's output came by the skip connection. The map is the class token's row of
    R over the patch tokens. It knows no classes: each slot has the same map.

    Args:
        record: its probe gives the attention ``A_l``, (batch, heads, n, n), of each block.
        fusion: ``E_h``, over a block's heads; the paper takes the mean.
    """
    blocks = record.probe.attention(None)
    row = torch.zeros_like(blocks[0].weights[:, 0, 0])
    row[:, 0] = 1
    # Of the product only the class token's row is asked for: vector times matrix, from the left.
    for block in reversed(blocks):
        heads = block.weights
        fused = {"mean": heads.mean(1), "max": heads.amax(1), "min": heads.amin(1)}[fusion]
        mixed = 0.5 * fused + 0.5 * torch.eye(fused.shape[-1], device=fused.device)
        mixed = mixed / mixed.sum(-1, keepdim=True)
        row = torch.einsum("bi,bij->bj", row, mixed)
    return on_grid(row)[:, None].repeat(1, record.classes.shape[1], 1, 1)
