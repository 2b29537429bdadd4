"""Small networks and images that the tests of networks and of map methods share.

`network` and `calibrated_network` make an architecture of `ARCHITECTURES` at a fixed seed, once: a
test that changes a network calls `build_network`. Most are torchvision's at a size that takes
milliseconds, with the module names of the originals. Networks that serve one test stay in its file.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torchvision import models

from wsol_bench.models.shapes_net import ShapesNet

N_CLASSES = 6


def images(n: int = 2, height: int = 64, width: int | None = None, *, seed: int = 7) -> Tensor:
    """(n, 3, height, width) pixels of a standard normal distribution; square by default."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, height, width or height, generator=generator)


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A network built at a seed, in evaluation mode; the caller's random state is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().eval()


# ---- small architectures


def small_vit(
    num_classes: int = N_CLASSES,
    *,
    image_size: int = 64,
    patch_size: int = 16,
    num_layers: int = 2,
    num_heads: int = 2,
    hidden_dim: int = 32,
    mlp_dim: int = 64,
) -> models.VisionTransformer:
    """torchvision's vision transformer: a class token and 4 x 4 patches, in two blocks.

    Its head is random: torchvision's head starts at zero, so that all gradients would be zero.
    """
    net = models.VisionTransformer(
        image_size, patch_size, num_layers, num_heads, hidden_dim, mlp_dim, num_classes=num_classes
    )
    nn.init.normal_(net.heads.head.weight)
    return net


def small_swin(num_classes: int = N_CLASSES) -> models.SwinTransformer:
    """A Swin transformer of two stages: channels come last."""
    return models.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=num_classes)


def small_densenet(num_classes: int = N_CLASSES) -> models.DenseNet:
    """A DenseNet of two blocks: a functional ReLU behind its last module."""
    return models.DenseNet(8, (2, 2), 16, num_classes=num_classes)


def small_convnext(num_classes: int = N_CLASSES) -> models.ConvNeXt:
    """A ConvNeXt of two stages: layer normalization and GELU.

    Its blocks count: at torchvision's scale of 1e-6 they would add next to nothing.
    """
    stage = models.convnext.CNBlockConfig
    net = models.ConvNeXt([stage(8, 16, 1), stage(16, None, 2)], num_classes=num_classes)
    for name, parameter in net.named_parameters():
        if "layer_scale" in name:
            nn.init.ones_(parameter)
        elif parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.3)
    return net


def small_vgg11(num_classes: int = N_CLASSES) -> models.VGG:
    """VGG-11 with an eighth of the channels: no batch normalization, hidden layers in its head."""
    with torch.device("meta"):  # the head of the original takes a second to draw
        net = models.VGG(nn.Identity(), init_weights=False)
    widths = [8, "M", 16, "M", 32, 32, "M", 64, 64, "M", 64, 64, "M"]
    net.features = models.vgg.make_layers(widths)
    for module in net.features:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    net.classifier = nn.Sequential(
        nn.Linear(64 * 7 * 7, 64), nn.ReLU(True), nn.Dropout(),
        nn.Linear(64, 64), nn.ReLU(True), nn.Dropout(), nn.Linear(64, num_classes),
    )  # fmt: skip
    return net


def small_alexnet(num_classes: int = N_CLASSES) -> models.AlexNet:
    """AlexNet with 64 units in each hidden layer of its head."""
    with torch.device("meta"):
        net = models.AlexNet()
    net.features.to_empty(device="cpu")
    for module in net.features:
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    net.classifier = nn.Sequential(
        nn.Dropout(), nn.Linear(256 * 6 * 6, 64), nn.ReLU(True),
        nn.Dropout(), nn.Linear(64, 64), nn.ReLU(True), nn.Linear(64, num_classes),
    )  # fmt: skip
    return net


def _googlenet(num_classes: int) -> nn.Module:
    return models.googlenet(
        num_classes=num_classes, aux_logits=False, init_weights=False, transform_input=True
    )


def _inception(num_classes: int) -> nn.Module:
    return models.inception_v3(num_classes=num_classes, aux_logits=False, init_weights=False)


# By the name of the class; each is in the target-layer table.
ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "AlexNet": small_alexnet,
    "ConvNeXt": small_convnext,
    "DenseNet": small_densenet,
    "EfficientNet": lambda num_classes: models.efficientnet_b0(num_classes=num_classes),
    "GoogLeNet": _googlenet,
    "Inception3": _inception,
    "MaxVit": lambda num_classes: models.MaxVit(
        (64, 64), 16, 2, [16, 32], [1, 1], 16, 0.0, num_classes=num_classes
    ),
    "MNASNet": lambda num_classes: models.mnasnet0_5(num_classes=num_classes),
    "MobileNetV2": lambda num_classes: models.mobilenet_v2(num_classes=num_classes, width_mult=0.5),
    "MobileNetV3": lambda num_classes: models.mobilenet_v3_small(num_classes=num_classes),
    "RegNet": lambda num_classes: models.regnet_x_400mf(num_classes=num_classes),
    "ResNet": lambda num_classes: models.resnet18(num_classes=num_classes),
    "ShapesNet": ShapesNet,
    "ShuffleNetV2": lambda num_classes: models.shufflenet_v2_x0_5(num_classes=num_classes),
    "SqueezeNet": lambda num_classes: models.squeezenet1_1(num_classes=num_classes),
    "SwinTransformer": small_swin,
    "VGG": small_vgg11,
    "VisionTransformer": small_vit,
}


def side_of(name: str) -> int:
    """Height and width of the images of an architecture: Inception needs larger ones."""
    return 128 if name == "Inception3" else 64


def build_network(name: str, num_classes: int = N_CLASSES) -> nn.Module:
    """A new network of `ARCHITECTURES` at seed 0, in evaluation mode."""
    return seeded(lambda: ARCHITECTURES[name](num_classes))


@cache
def network(name: str, num_classes: int = N_CLASSES) -> nn.Module:
    """A network of `ARCHITECTURES`, made once: no test may change it."""
    return build_network(name, num_classes)


def calibrate(net: nn.Module, batch: Tensor) -> nn.Module:
    """Set normalizations to a batch, so that a signal comes through random weights.

    Their biases are random, so that rectifiers pass more of some channels than of others.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        nn.init.normal_(norm.bias, std=0.3)
    if norms:
        with torch.no_grad():
            net.train()(batch)
    return net.eval()


@cache
def calibrated_network(name: str, num_classes: int = N_CLASSES) -> nn.Module:
    """A calibrated network of `ARCHITECTURES`, made once: no test may change it."""
    batch = images(8, side_of(name))
    return seeded(lambda: calibrate(ARCHITECTURES[name](num_classes), batch))


# ---- smaller than any architecture


class StemAndHead(nn.Module):
    """A stem of stride 4, a layer f, and a GAP + linear head; subclasses change what is between."""

    def __init__(self, stem: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = stem or nn.Conv2d(3, 12, 4, 4)
        self.f = nn.Sequential(nn.Conv2d(12, 12, 3, 1, 1), nn.ReLU())
        self.fc = nn.Linear(12, 5)

    def stem_input(self, batch: Tensor) -> Tensor:
        """What the stem sees of the images."""
        return batch

    def features(self, batch: Tensor) -> Tensor:
        """The means of the layer's channels."""
        return self.f(self.stem(self.stem_input(batch))).mean((2, 3))

    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(self.features(batch))


class FeaturesAndHead(nn.Module):
    """Two modules, one behind the other; the target layer is `features`."""

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, batch: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(batch))
        return logits


def curved_net(seed: int = 2, *, stride: int = 2) -> FeaturesAndHead:
    """A network for images of 10 x 12 pixels, with a layer of half that size and a nonlinear head.

    Its scores are so large that they differ clearly between masks.
    """

    def build() -> FeaturesAndHead:
        net = FeaturesAndHead(
            nn.Sequential(
                nn.Conv2d(3, 7, 3, stride=stride, padding=1),
                nn.ReLU(),
                nn.Conv2d(7, 5, 3, padding=1),
                nn.SiLU(),
            ),
            nn.Sequential(
                nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 9), nn.GELU(),
                nn.Linear(9, N_CLASSES),
            ),
        )  # fmt: skip
        with torch.no_grad():
            net.head[4].weight *= 5
        return net

    return seeded(build, seed)


class Residual(nn.Module):
    """A network that adds outputs from before the target layer `features` to the layer's output."""

    def __init__(self, passing: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 3, padding=1)
        self.other = nn.Conv2d(3, 5, 1)
        self.passing = passing
        self.act = nn.ReLU()
        self.block = nn.Sequential(nn.Conv2d(5, 5, 1), self.act)
        self.features = nn.Sequential(nn.Conv2d(5, 5, 1), self.act)
        self.fc = nn.Linear(5, N_CLASSES)

    def forward(self, batch: Tensor) -> Tensor:
        stem, other = self.stem(batch), self.other(batch)
        other += 0.5
        passed = self.passing(stem)
        block = self.act(self.block(passed)) - 1
        features = self.features(block)
        features += 1
        total = self.act(features + 2 * stem + 3 * passed + block + other)
        return self.fc(total.mean((2, 3)))


def residual(passing: nn.Module) -> nn.Module:
    """A `Residual` network whose stream passes through a module."""
    return seeded(lambda: Residual(passing))


class InPlaceBehind(nn.Module):
    """A convolution, behind it a ReLU that works in place, and a pooled linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 2)

    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(self.features(batch).relu_().mean((2, 3)))
