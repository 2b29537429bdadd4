"""Parts of the networks of wsolevaluation, and their classes, which the target-layer table knows.

ResNet-50 with CAM and ADL is torchvision's ResNet.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.inception import BasicConv2d

__all__ = [
    "Acol",
    "InceptionCam",
    "Mixed6a",
    "ResNetSpg",
    "VggCam",
    "VggSpg",
    "pooling",
    "rectified",
    "spg_beside",
]


class Chain(nn.Module):
    """Modules that run one after the other, beside others that take no part in the logits.

    Args:
        steps: the modules that run, by name, in order.
        beside: the other modules of the weights file, by name.
    """

    def __init__(
        self,
        steps: Mapping[str, nn.Module],
        beside: Mapping[str, nn.Module] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        for name, module in {**steps, **beside}.items():
            self.add_module(name, module)
        self._steps = tuple(steps)

    def forward(self, images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch n"]:
        """The scores before softmax."""
        values = images
        for name in self._steps:
            values = self.get_submodule(name)(values)
        return values


class VggCam(Chain):
    """VGG-16 whose fully connected layers are a convolution, average pooling and a linear layer."""


class InceptionCam(Chain):
    """Inception-v3 up to Mixed_6e, two convolutions, a class convolution and average pooling."""


class VggSpg(Chain):
    """VGG-16 of SPG, which ends in a class convolution and average pooling."""


class ResNetSpg(Chain):
    """ResNet-50 of SPG, which ends in a class convolution and average pooling."""


class Acol(Chain):
    """A backbone with the two classifiers of ACoL.

    Args:
        backbone: its modules, by name, in order.
        channels: channels of the backbone's features.
        num_classes: number of outputs.
    """

    def __init__(self, backbone: Mapping[str, nn.Module], channels: int, num_classes: int) -> None:
        branch_a, branch_b = (
            nn.Sequential(
                *rectified(channels, 1024),
                *rectified(1024, 1024),
                nn.Conv2d(1024, num_classes, 1),
            )
            for _ in range(2)
        )
        super().__init__(
            {**backbone, "classifier_A": branch_a, **pooling()}, {"classifier_B": branch_b}
        )


def rectified(inputs: int, outputs: int) -> nn.Sequential:
    """A 3 x 3 convolution with its ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())


def pooling() -> dict[str, nn.Module]:
    """Global average pooling, and the module that takes its positions away."""
    return {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}


def spg_beside(first: int, second: int, last: int, b: int) -> dict[str, nn.Module]:
    """The branches B and C of SPG: one-channel maps that guide the training.

    Args:
        first, second, last: channels of the features that B (twice) and C read.
        b: channels within B.
    """
    return {
        "SPG_B_1a": rectified(first, b),
        "SPG_B_2a": rectified(second, b),
        "SPG_B_shared": nn.Sequential(*rectified(b, b), nn.Conv2d(b, 1, 1)),
        "SPG_C": nn.Sequential(*rectified(last, 512), nn.Conv2d(512, 1, 1)),
    }


class Mixed6a(nn.Module):
    """The block that halves the grid in Inception-v3, without doing so."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = BasicConv2d(288, 384, kernel_size=3, padding=1)
        self.branch3x3dbl_1 = BasicConv2d(288, 64, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)

    def forward(self, x: Float[Tensor, "batch 288 h w"]) -> Float[Tensor, "batch 768 h w"]:
        """The channels of the three branches."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, self.pool(x)], dim=1)
