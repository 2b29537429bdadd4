"""Networks of which several layers are recorded."""

from functools import cache

import torch
from networks import N_CLASSES, build_network, seeded
from torch import Tensor, nn

from wsol_bench.models.target_layers import Target, target_of

CLASSES = torch.tensor([[4, 1], [0, 5]])


class Parallel(nn.Module):
    """Two branches of one stem; the second does not depend on the first."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.left = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Tanh())
        self.right = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Sigmoid())
        self.fc = nn.Linear(4, N_CLASSES)

    def forward(self, batch: Tensor) -> Tensor:
        x = self.stem(batch)
        left = self.left(x).mean((2, 3))
        return self.fc(left * self.right(x).mean((2, 3)))


LAYERS = {
    "ResNet": ["layer2", "layer4.1", "layer4"],
    "DenseNet": ["features.denseblock1", "features"],
    "VisionTransformer": ["encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1.ln_1"],
    "parallel": ["left", "right"],
}


def build(name: str) -> nn.Module:
    """A new network of `LAYERS`."""
    return seeded(Parallel) if name == "parallel" else build_network(name)


@cache
def network_of(name: str) -> nn.Module:
    """A network of `LAYERS`, made once: no test may change it."""
    return build(name)


def targets_of(net: nn.Module, name: str) -> list[Target]:
    if name == "parallel":
        return [Target(layer) for layer in LAYERS[name]]
    return [target_of(net, layer=layer) for layer in LAYERS[name]]
