"""The pass leaves the model as it was, whether it ends or fails."""

from collections.abc import Callable

import pytest
import torch
from networks import N_CLASSES, build_network, images
from torch import nn
from torchvision import models
from traces import fail, unchanged

from wsol_bench.capture import Plan, capture
from wsol_bench.models.target_layers import target_of

GRADIENTS = Plan(gradients=True)


def as_trained(net: nn.Module) -> None:
    net.train()


def with_frozen_statistics(net: nn.Module) -> None:
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def with_frozen_parameters(net: nn.Module) -> None:
    net.requires_grad_(False)


def with_a_frozen_stem(net: nn.Module) -> None:
    for index, parameter in enumerate(net.parameters()):
        parameter.requires_grad_(index % 2 == 0)


CONDITIONS = [as_trained, with_frozen_statistics, with_frozen_parameters, with_a_frozen_stem]


@pytest.mark.parametrize("grad_mode", [True, False])
@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.__name__)
def test_the_model_is_left_unchanged(
    condition: Callable[[nn.Module], None], grad_mode: bool
) -> None:
    net = build_network("ResNet").train()
    condition(net)
    net.layer4.register_forward_hook(lambda module, inputs, output: None)
    with torch.set_grad_enabled(grad_mode), unchanged(net):
        capture(net, images(), [target_of(net)], GRADIENTS)


@pytest.mark.parametrize("grad_mode", [True, False])
@pytest.mark.parametrize("where", ["layer1", "layer4", "avgpool", "fc"])
def test_the_model_is_left_unchanged_also_where_it_fails(where: str, grad_mode: bool) -> None:
    net = build_network("ResNet").train()
    with_frozen_statistics(net)
    with_a_frozen_stem(net)
    net.get_submodule(where).register_forward_hook(fail)
    with torch.set_grad_enabled(grad_mode), unchanged(net):  # noqa: SIM117
        with pytest.raises(RuntimeError, match="out of luck"):
            capture(net, images(), [target_of(net)], GRADIENTS)


@pytest.mark.parametrize("where", ["features", "classifier"])
def test_the_search_for_a_functional_relu_ends_where_the_model_fails(where: str) -> None:
    net = models.DenseNet(8, (2, 2), 16, num_classes=N_CLASSES)
    net.get_submodule(where).register_forward_hook(fail)
    with unchanged(net), pytest.raises(RuntimeError, match="out of luck"):
        capture(net, images(), [target_of(net)], GRADIENTS)
