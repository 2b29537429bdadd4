"""Networks of which several layers are recorded, and how their records and probes are compared."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torchvision import models

from wsol_bench.models.target_layers import Target, target_of

N_CLASSES = 6


CLASSES = torch.tensor([[4, 1], [0, 5]])


def images(n: int = 2, *, seed: int = 5) -> Tensor:
    return torch.randn(n, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


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


def small_vit() -> nn.Module:
    vit = models.VisionTransformer(64, 16, 3, 2, 32, 64, num_classes=N_CLASSES)
    nn.init.normal_(vit.heads.head.weight)  # it is zero at first, and so were every gradient
    return vit


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: models.resnet18(num_classes=N_CLASSES),
    "densenet": lambda: models.DenseNet(8, (2, 2), 16, num_classes=N_CLASSES),
    "vit": small_vit,
    "parallel": Parallel,
}


LAYERS = {
    "resnet18": ["layer2", "layer4.1", "layer4"],
    "densenet": ["features.denseblock1", "features"],
    "vit": ["encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_2.ln_1"],
    "parallel": ["left", "right"],
}


def build(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BUILDERS[name]().eval()


@cache
def network(name: str) -> nn.Module:
    return build(name)


def targets_of(net: nn.Module, name: str) -> list[Target]:
    if name == "parallel":
        return [Target(layer) for layer in LAYERS[name]]
    return [target_of(net, layer=layer) for layer in LAYERS[name]]


def assert_same(result: Tensor | None, expected: Tensor | None) -> None:
    assert result is not None and expected is not None
    size = expected.abs().max()
    assert size > 0
    torch.testing.assert_close(result / size, expected / size, rtol=0, atol=1e-4)
