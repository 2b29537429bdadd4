"""A small SqueezeNet and its classes, for the tests that read weights files."""

import torch
from networks import seeded
from torch import Tensor, nn
from torchvision import models

WNIDS = tuple(f"n{index:08d}" for index in range(3, 15))


SIDE = 64


def squeezenet(seed: int = 1) -> nn.Module:
    return seeded(lambda: models.squeezenet1_1(num_classes=len(WNIDS)), seed)


def logits(module: nn.Module) -> Tensor:
    with torch.no_grad():
        return module(torch.linspace(-1, 1, 3 * SIDE * SIDE).reshape(1, 3, SIDE, SIDE))
