"""ACoL by hand; tests/models/paper_networks compares it with the code of wsolevaluation."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import wsol_bench
from wsol_bench.capture import Plan, capture
from wsol_bench.errors import ConfigError, NotApplicableError
from wsol_bench.methods.acol import acol

RED = [[1.0, 3.0], [2.0, 5.0]]
GREEN = [[0.0, 4.0], [8.0, 2.0]]
# With a threshold of 0.7. Branch A finds (0, .5; .25, 1) for class 0, so that branch B sees green
# without its last position: (0, 4; 8, 0). For class 1 A finds (0, .5; 1, .25), and B sees red
# without its third position: (1, 3; 0, 5).
OF_CLASS_0 = [[0.0, 0.5], [1.0, 1.0]]
OF_CLASS_1 = [[0.2, 0.6], [1.0, 1.0]]


class TwoBranches(nn.Module):
    """The map of class 0 is red in branch A and green in B, that of class 1 the other way."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier_A, self.classifier_B = (nn.Conv2d(3, 2, 1, bias=False) for _ in range(2))
        weight = torch.eye(3)[:2, :, None, None]
        self.classifier_A.weight = nn.Parameter(weight)
        self.classifier_B.weight = nn.Parameter(weight.flip(0))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier_A(images).mean((2, 3))


class Doubled(TwoBranches):
    def forward(self, images: Tensor) -> Tensor:
        return 2 * super().forward(images)


class Unused(TwoBranches):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))[:, :2]


def image(red: list[list[float]] = RED, green: list[list[float]] = GREEN) -> Tensor:
    return torch.tensor([red, green, red])[None]


def maps_of(images: Tensor, classes: Tensor | list[int], threshold: float | None = None) -> Tensor:
    options = {} if threshold is None else {"threshold": threshold}
    method = acol.with_options(options, "acol")
    return wsol_bench.localization_maps(TwoBranches(), images, method, targets=classes)[method.name]


def test_the_second_branch_sees_what_the_first_has_not_found() -> None:
    assert_close(maps_of(image(), [0, 1]), torch.tensor([[OF_CLASS_0, OF_CLASS_1]]))


def test_a_position_at_the_threshold_is_erased() -> None:
    """At 0.5 branch B sees (0, 0; 8, 0) for class 0 and (1, 0; 0, 5) for class 1."""
    expected = torch.tensor([[[[0.0, 0.5], [1.0, 1.0]], [[0.2, 0.5], [1.0, 1.0]]]])
    assert_close(maps_of(image(), [0, 1], threshold=0.5), expected)


def test_each_image_has_its_own_classes_and_erasing() -> None:
    images = torch.cat([image(), image(GREEN, RED)])
    maps = maps_of(images, torch.tensor([[0], [0]]))
    # In the second image class 0 is green, and its branch B sees red: class 1 of the first image.
    assert_close(maps, torch.tensor([[OF_CLASS_0], [OF_CLASS_1]]))
    swapped = maps_of(images, torch.tensor([[1], [1]]))
    assert_close(swapped, torch.tensor([[OF_CLASS_1], [OF_CLASS_0]]))


def test_a_constant_map_finds_nothing() -> None:
    constant = [[3.0, 3.0], [3.0, 3.0]]
    maps = maps_of(image(red=constant), [0])
    assert_close(maps, torch.tensor(GREEN)[None, None] / 8)
    assert not maps_of(image(constant, constant), [0]).any()


def test_it_costs_a_pass_and_one_of_the_second_branch_for_each_class() -> None:
    images = torch.cat([image(), image(GREEN, RED)])
    record = capture(
        TwoBranches(), images, [], Plan(), classes=torch.tensor([[0, 1, 0], [1, 0, 0]])
    )
    with record.probe.metered() as cost:
        acol(record)
    assert (cost.forward, cost.backward, cost.head) == (2, 0, 6)


def test_other_networks_are_told_why_not() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for network, reason in (
        (plain, "Sequential: it has no module 'classifier_A', as networks of ACoL have"),
        (
            Doubled(),
            "Doubled: the means of what 'classifier_A' returns are not the network's logits",
        ),
        (Unused(), "Unused: the means of what 'classifier_A' returns are not the network's logits"),
    ):
        with pytest.raises(NotApplicableError, match=f"acol is not applicable to {reason}"):
            wsol_bench.localization_maps(network, image(), "acol", targets=[0])


def test_a_threshold_beyond_the_range_is_an_error() -> None:
    with pytest.raises(ConfigError, match="threshold"):
        maps_of(image(), [0], threshold=1.5)
