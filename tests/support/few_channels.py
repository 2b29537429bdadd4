"""A network of four channels with slow passes, and a slow method, for measured costs."""

import time
from collections import OrderedDict

import torch
from torch import Tensor, nn

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import MapMethod

CHANNELS = 4
SECONDS_A_PASS = 0.004
SECONDS_OF_SLEEPY = 0.05


class FewChannels(nn.Sequential):
    def forward(self, images: Tensor) -> Tensor:
        time.sleep(SECONDS_A_PASS)
        return super().forward(images)


def few_channels(num_classes: int = 16) -> nn.Module:
    """A convolution to 7 x 7 positions of a 224 x 224 image, its average, a linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FewChannels(
            OrderedDict(
                features=nn.Sequential(nn.Conv2d(3, CHANNELS, 32, stride=32), nn.ReLU()),
                pool=nn.AdaptiveAvgPool2d(1),
                flat=nn.Flatten(),
                fc=nn.Linear(CHANNELS, num_classes),
            )
        )


def _sleepy(record: Record) -> Tensor:
    time.sleep(SECONDS_OF_SLEEPY)
    return record.activations[:, :1].expand(-1, record.classes.shape[1], -1, -1)


sleepy = MapMethod("sleepy", _sleepy, Plan(), "")
