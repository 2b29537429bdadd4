"""Networks with rectifiers, and gradients at the pixels by hooks at each rectifier."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.capture import Plan, Record, capture
from wsol_bench.models.target_layers import Target, target_of

RULES = ["plain", "guided", "deconvnet"]
CLASSES = [[4, 1], [0, 5]]  # two slots of two images


def record_of(net: nn.Module, batch: Tensor, classes: list[list[int]], **options: Any) -> Record:
    rows = torch.tensor(classes)
    target = Target("relu") if isinstance(net, Tiny) else target_of(net)
    return capture(net, batch, [target], Plan(gradients=True), classes=rows, **options)


# ---- by hand: one pixel, four units behind a rectifier, two classes


class Rectifier(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Tiny(nn.Module):
    """Four rectified units (r, g, b, -r), and scores with weights 3, -2, 5, -7 and -1, 4, -2, 6."""

    def __init__(self, function: Callable[[Tensor], Any] = F.relu) -> None:
        super().__init__()
        self.units = nn.Conv2d(3, 4, 1, bias=False)
        self.relu = Rectifier(function)
        self.fc = nn.Linear(4, 2, bias=False)
        units = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]]
        self.units.weight.data = torch.tensor(units)[:, :, None, None]
        self.fc.weight.data = torch.tensor([[3.0, -2.0, 5.0, -7.0], [-1.0, 4.0, -2.0, 6.0]])

    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(self.relu(self.units(batch)).mean((2, 3)))


PIXEL = torch.tensor([1.0, 2.0, -1.0]).view(1, 3, 1, 1)  # units: 1, 2, -1, -1


def tiny(function: Callable[[Tensor], Any] = F.relu, pixel: Tensor = PIXEL) -> Record:
    return record_of(Tiny(function), pixel, [[0, 1]])


# The gradient of each class at the units, and so at the colors.
BY_HAND = {
    "plain": [[3, -2, 0], [-1, 4, 0]],  # where the unit is positive
    "guided": [[3, 0, 0], [0, 4, 0]],  # and what comes is positive, too
    "deconvnet": [[3, 0, 5], [-6, 4, 0]],  # where what comes is positive, 6 to -r among it
}


def dropped(method: str, **arguments: float) -> Callable[[Tensor], Tensor]:
    """A tensor's method that works in place, called without use of its result."""

    def work(x: Tensor) -> Tensor:
        getattr(x, method)(**arguments)
        return x

    return work


# Architectures whose rectifiers differ: ReLU in place and not, ReLU6, hardswish, SiLU, GELU.
NETWORKS = [
    "VGG", "ResNet", "GoogLeNet", "DenseNet", "MobileNetV2", "MobileNetV3", "EfficientNet",
    "ConvNeXt", "VisionTransformer",
]  # fmt: skip


def ruled(function: Callable[..., Tensor], rule: str, *args: Any, **kwargs: Any) -> Tensor:
    """A rectifier whose backward pass is written with a hook on a tensor, never in place."""
    kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
    inputs, *rest = args
    rest = [value for value in rest if not isinstance(value, bool)]
    output = function(inputs, *rest, **kwargs)
    if rule == "deconvnet":
        output = inputs + (output - inputs).detach()
    output.register_hook(lambda gradient: gradient.clamp(min=0))
    return output


@contextmanager
def patched(rule: str) -> Iterator[None]:
    """Replace the functions that the rectifiers among torchvision's modules call."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("relu", "hardtanh", "hardswish", "silu", "gelu") if rule != "plain" else ():
            patch.setattr(F, name, partial(ruled, getattr(F, name), rule))
        yield


def by_hooks(net: nn.Module, batch: Tensor, classes: list[list[int]], rule: str) -> Tensor:
    """Gradients (batch, k, 3, h, w) at the pixels, with a hook at each rectifier."""
    pixels = batch.clone().requires_grad_()
    with patched(rule):
        logits = net(pixels)
    slots = [
        torch.autograd.grad(
            logits.gather(1, torch.tensor(classes))[:, slot].sum(), pixels, retain_graph=True
        )[0]
        for slot in range(len(classes[0]))
    ]
    return torch.stack(slots, dim=1)


def without_work_in_place(net: nn.Module) -> nn.Module:
    """A copy of the network whose ReLUs do not work in place."""
    net = deepcopy(net)
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return net


def by_captum(name: str, net: nn.Module, batch: Tensor, **options: Any) -> Tensor:
    """Attributions (batch, k, 3, h, w) of a class of captum."""
    captum = pytest.importorskip("captum.attr")
    method = getattr(captum, name)(without_work_in_place(net))
    slots = []
    for slot in zip(*CLASSES, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it sets hooks, and requires_grad on the input
            attribution = method.attribute(batch.clone(), target=torch.tensor(slot), **options)
        slots.append(attribution.detach())
    return torch.stack(slots, dim=1)
