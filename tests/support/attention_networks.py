"""Small vision transformers with attention that is far from uniform, and bare attention."""

from collections.abc import Callable
from typing import Any

import timm
import torch
import torch.nn.functional as F
from networks import seeded, small_vit
from torch import Tensor, nn

N_CLASSES = 7

CLASSES = torch.tensor([[0, 3], [5, 1]])


def sharp(build: Callable[[], nn.Module]) -> nn.Module:
    """A network with weights so large that attention is far from uniform; its head is not zero."""

    def build_sharp() -> nn.Module:
        net = build()
        for name, parameter in net.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=3 / parameter.shape[1] ** 0.5)
            elif name.endswith(("class_token", "cls_token", "dist_token", "pos_embed")):
                nn.init.normal_(parameter)
            elif name.endswith("bias"):
                nn.init.normal_(parameter, std=0.1)
        return net

    return seeded(build_sharp)


def torchvision_vit() -> nn.Module:
    return sharp(lambda: small_vit(N_CLASSES, hidden_dim=16, mlp_dim=32))


def timm_vit(name: str = "vit_tiny_patch16_224", depth: int = 2, **options: Any) -> nn.Module:
    small = {"img_size": 64, "embed_dim": 16, "num_heads": 2, "depth": depth}
    return sharp(lambda: timm.create_model(name, num_classes=N_CLASSES, **small, **options))


def timm_deit() -> nn.Module:
    return timm_vit("deit_tiny_distilled_patch16_224")


NETWORKS = {
    "torchvision": torchvision_vit,
    "timm": timm_vit,
    "timm distilled": timm_deit,
    "timm registers": lambda: timm_vit(reg_tokens=4, depth=3),
    "timm one block": lambda: timm_vit(depth=1),
}


def blocks_of(net: nn.Module) -> list[nn.Module]:
    return list(net.encoder.layers if hasattr(net, "encoder") else net.blocks)


def toy_tokens(images: Tensor) -> Tensor:
    """(batch, 5, 3) tokens: a constant class token, and the mean colors of the four quarters."""
    patches = F.adaptive_avg_pool2d(images, 2).flatten(2).mT
    return torch.cat([torch.ones_like(patches[:, :1]), 10 * patches], 1)


class Masked(nn.Module):
    """Two blocks of bare attention under a mask."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Bare(options), Bare(options)])

    def forward(self, images: Tensor) -> Tensor:
        tokens = toy_tokens(images)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens[:, 0]


class Bare(nn.Module):
    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        self.options = options

    def forward(self, tokens: Tensor) -> Tensor:
        heads = tokens[:, None]
        mixed = F.scaled_dot_product_attention(heads, 2 * heads, heads, **self.options)
        return tokens + mixed[:, 0]


def name_of_last_norm(net: nn.Module) -> str:
    return next(
        name
        for name, module in net.named_modules()
        if module is (blocks_of(net)[-1].ln_1 if hasattr(net, "encoder") else net.blocks[-1].norm1)
    )
