"""Networks of TS-CAM (Gao et al., ICCV 2021, arXiv:2103.14862): DeiT whose patch tokens are scored.

Parameters have the names of the authors' checkpoints, which are those of DeiT but for the head.
"""

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["TSCAM", "deit_base", "deit_small", "deit_tiny"]


def deit_tiny(
    num_classes: int = 1000, *, img_size: int = 224, depth: int = 12, **options: Any
) -> nn.Module:
    """DeiT-T/16 with the token-semantic head: 192 channels, 3 heads; see ``TSCAM``."""
    return TSCAM(192, 3, num_classes, img_size=img_size, depth=depth, **options)


def deit_small(
    num_classes: int = 1000, *, img_size: int = 224, depth: int = 12, **options: Any
) -> nn.Module:
    """DeiT-S/16 with the token-semantic head: 384 channels, 6 heads; see ``TSCAM``."""
    return TSCAM(384, 6, num_classes, img_size=img_size, depth=depth, **options)


def deit_base(
    num_classes: int = 1000, *, img_size: int = 224, depth: int = 12, **options: Any
) -> nn.Module:
    """DeiT-B/16 with the token-semantic head: 768 channels, 12 heads; see ``TSCAM``."""
    return TSCAM(768, 12, num_classes, img_size=img_size, depth=depth, **options)


class TSCAM(nn.Module):
    """A DeiT whose logits are the means of a 3x3 convolution over the last block's patch tokens.

    The convolution's output, one map for each class, is the semantic map. The class token takes
    part in the attention of all blocks, but the head does not read it.

    Args:
        channels: number of channels of a token.
        heads: number of heads of each block.
        num_classes: number of outputs.
        img_size: side in pixels of the images, a multiple of 16; the positions are learned for it.
        depth: number of blocks.
    """

    # Attention of this class token is what the authors localize by, though the head does not read
    # it (``capture.backward.attention``).
    localizes_by_class_token = True

    def __init__(
        self, channels: int, heads: int, num_classes: int, *, img_size: int, depth: int
    ) -> None:
        super().__init__()
        self.pretrained_cfg = {
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "input_size": (3, img_size, img_size),
        }
        n_patches = (img_size // 16) ** 2
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, channels))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, n_patches + 1, channels))
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(3, channels, 16, 16)))
        self.blocks = nn.Sequential(*(_Block(channels, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.head = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "_ classes"]:
        """Logits of normalized images of the size that the network is built for."""
        patches = self.patch_embed(images)
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), tokens], dim=1)
        tokens = self.norm(self.blocks(tokens + self.pos_embed))
        grid = tokens[:, 1:].transpose(1, 2).unflatten(2, patches.shape[2:])
        logits: Tensor = self.avgpool(self.head(grid)).flatten(1)
        return logits


class _Block(nn.Module):
    """Self-attention and a perceptron, each behind a layer norm and beside a skip connection."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = _Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(channels, 4 * channels),
                act=nn.GELU(),
                fc2=nn.Linear(4 * channels, channels),
            )
        )

    def forward(self, tokens: Float[Tensor, "n t c"]) -> Float[Tensor, "_ t c"]:
        tokens = tokens + self.attn(self.norm1(tokens))
        result: Tensor = tokens + self.mlp(self.norm2(tokens))
        return result


class _Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, tokens: Float[Tensor, "n t c"]) -> Float[Tensor, "_ t c"]:
        # (n, t, 3 heads d) to three of (n, heads, t, d).
        parts = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts.unbind(0))
        result: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return result
