"""A small network, inputs, maps and classes, for the tests of faithfulness."""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from networks import seeded
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from wsol_bench.capture.insertion_deletion import Faithfulness

N_CLASSES = 4


SIDE = 28


def build() -> nn.Module:
    """A network whose layer "0" has the input's size; dropout and batch norm show the mode."""

    def build_confident() -> nn.Module:
        net = nn.Sequential(
            nn.Conv2d(3, 8, 5, padding=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(144, N_CLASSES),
        )
        # Weights so large that a changed input has another probability.
        nn.init.normal_(net[-1].weight, std=1.0)
        net[1].running_mean += torch.randn(8) / 4
        return net

    return seeded(build_confident, 3)


@cache
def network() -> nn.Module:
    return build()


@cache
def world(n: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs with structure (so that a blur changes them), maps without ties, and classes."""
    generator = torch.Generator().manual_seed(11)
    coarse = torch.randn(n, 3, 7, 7, generator=generator)
    inputs = F.interpolate(coarse, (SIDE, SIDE)) + torch.randn(
        n, 3, SIDE, SIDE, generator=generator
    )
    maps = torch.randn(n, SIDE, SIDE, generator=generator)
    classes = torch.randint(N_CLASSES, (n,), generator=generator)
    return inputs, maps, classes


def close(first: Faithfulness, second: Faithfulness, *, within: float = 1e-6) -> bool:
    return all(
        np.allclose(a, b, rtol=0, atol=within, equal_nan=True)
        for a, b in zip(first, second, strict=True)
    )


def blurred_by_rise(image: Tensor) -> Tensor:
    """RISE's substrate of insertion: a Gaussian-filtered impulse of 11 x 11 as the kernel."""
    impulse = np.zeros((11, 11))
    impulse[5, 5] = 1
    kernel = torch.from_numpy(gaussian_filter(impulse, 5)).float()
    weight = torch.zeros(3, 3, 11, 11)
    for channel in range(3):
        weight[channel, channel] = kernel
    return F.conv2d(image, weight, padding=5)
