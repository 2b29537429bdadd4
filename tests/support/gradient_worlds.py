"""Two channels over 2 x 2 positions, and small networks, for methods that weigh by gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from networks import FeaturesAndHead, seeded
from torch import Tensor, nn

from wsol_bench.capture import BestClasses, Layer, Plan, Record, capture
from wsol_bench.models.target_layers import Target

N_CLASSES = 7
GRADIENTS = Plan(gradients=True)

# By hand: two channels over 2 x 2 positions, one image, two classes.
ACTIVATIONS = torch.tensor([[[[1.0, 0.0], [2.0, 4.0]], [[3.0, 1.0], [0.0, 2.0]]]])  # sums: 7 and 6
SLOPES = torch.tensor(
    [
        [
            [[[1.0, 0.0], [0.0, -1.0]], [[2.0, 0.0], [0.5, 0.0]]],
            [[[-1.0, 2.0], [1.0, 0.5]], [[1.0, -1.0], [1.0, -2.0]]],
        ]
    ]
)


def record(activations: Tensor = ACTIVATIONS, gradients: Tensor | None = SLOPES) -> Record:
    batch, slots = activations.shape[0], 2 if gradients is None else gradients.shape[1]
    return Record(
        logits=torch.zeros(batch, slots),
        classes=torch.arange(slots).expand(batch, -1),
        layers=(Layer("x", activations, gradients),),
    )


def assert_maps(maps: Tensor, *expected: list[list[float]]) -> None:
    torch.testing.assert_close(maps[0, : len(expected)], torch.tensor(expected).float())


def weighted(first: float, second: float) -> list[list[float]]:
    return (first * ACTIVATIONS[0, 0] + second * ACTIVATIONS[0, 1]).relu().tolist()


def gap_head() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, N_CLASSES))


def relu_head() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(10, 6, 3), nn.ReLU(True), nn.Flatten(), nn.Linear(6 * 4, 9), nn.ReLU(True),
        nn.Linear(9, N_CLASSES),
    )  # fmt: skip


def smooth_head() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(10, 6, 3), nn.SiLU(), nn.Flatten(), nn.Linear(6 * 4, 9), nn.GELU(),
        nn.Linear(9, N_CLASSES),
    )  # fmt: skip


HEADS = [gap_head, relu_head, smooth_head]


def network_with(head: Callable[[], nn.Module]) -> FeaturesAndHead:
    """Two convolutions to 4 x 4 positions of 8 x 8 pixels, then a head.

    The target layer ends in a ReLU that does not work in place; the normalization's scales have
    both signs.
    """

    def build() -> FeaturesAndHead:
        behind = head()
        norm = nn.BatchNorm2d(8)
        features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            norm,
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 10, 3, padding=1),
            nn.ReLU(),
        )
        assert norm.running_mean is not None
        for values in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(values)
        return FeaturesAndHead(features, behind)

    return seeded(build, 4)


def record_of(net: nn.Module, batch: Tensor, classes: Tensor | None = None) -> Record:
    head = "head.2" if isinstance(net.get_submodule("head.0"), nn.AdaptiveAvgPool2d) else None
    return capture(
        net,
        batch,
        [Target("features", head=head)],
        GRADIENTS,
        classes=BestClasses(3) if classes is None else classes,
    )


def maps_of_pytorch_grad_cam(extractor: Any, call: Callable[[], Any]) -> Tensor:
    """The maps of pytorch-grad-cam before it resizes and scales them, rectified as it then does."""
    base = getattr(extractor, "base_cam", extractor)
    collected, original = [], base.get_cam_image

    def collecting(*args: Any) -> Any:
        collected.append(original(*args))
        return collected[-1]

    base.get_cam_image = collecting
    call()
    return torch.as_tensor(np.asarray(collected[0])).relu()
