"""Networks whose scores of masked images are known, for methods that ask the network again."""

import torch
from networks import calibrated_network, images
from torch import Tensor, nn

from wsol_bench.capture import BestClasses, Plan, Record, capture
from wsol_bench.models.target_layers import Target, target_of


def record_of(net: nn.Module, batch: Tensor, classes: Tensor | None = None, k: int = 3) -> Record:
    """The record of a batch at the table's target layer, or at `features` of a made-up network."""
    by_table = type(net).__module__.startswith("torchvision")
    target = target_of(net) if by_table else Target("features")
    return capture(
        net, batch, [target], Plan(), classes=BestClasses(k) if classes is None else classes
    )


SIZE = (10, 12)  # height and width of images for `curved_net`; they differ, so swapped sides show


# By hand: the layer is the image's red and green, a score is the sum of one of them.
RED, GREEN = torch.tensor([[0.0, 4.0], [2.0, 2.0]]), torch.tensor([[3.0, 0.0], [0.0, 3.0]])
RED_AND_GREEN = torch.stack([RED, GREEN, torch.zeros(2, 2)])[None]


class Sums(nn.Module):
    """A network with logits (sum of red, sum of green); its layer is a 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(2, 3)[:, :, None, None])

    def forward(self, batch: Tensor) -> Tensor:
        return self.features(batch).sum((2, 3))


# Layers of few channels: the loops take one pass for each channel.
LAYERS = {
    "ResNet": "layer1",
    "VGG": "features.2",
    "DenseNet": None,
    "SqueezeNet": "features.4",
}


def record_at(name: str, k: int = 2) -> Record:
    """The record of two small images at the layer of `LAYERS`."""
    net = calibrated_network(name)
    return capture(
        net, images(2, 32), [target_of(net, layer=LAYERS[name])], Plan(), classes=BestClasses(k)
    )


class Linear(nn.Module):
    """A network in which the probability of class 0 is ``sum(weights * image) + 0.1``."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 1, 1)
        self.weights = weights

    def forward(self, batch: Tensor) -> Tensor:
        self.features(batch)
        p = (batch * self.weights).sum((1, 2, 3)) + 0.1
        return torch.stack([p, 1 - p], dim=1).log()


def one_pixel(side: int = 12) -> tuple[nn.Module, Tensor]:
    """A network and an image in which only the pixel (3, 4) counts, with a weight of 0.8."""
    weights = torch.zeros(3, side, side)
    weights[0, 3, 4] = 0.8
    return Linear(weights), torch.ones(1, 3, side, side)
