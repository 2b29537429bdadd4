"""How excitation backprop shares out probability at the sum of a residual block."""

from typing import Any

import pytest
import torch
from excitation_networks import Behind, Do, Join, assert_same, linear
from networks import build_network, calibrate, images
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from wsol_bench.capture.backward.excitation import excitation
from wsol_bench.errors import NotApplicableError

PIXELS = torch.tensor([1.0, 6.0, 0.0]).reshape(1, 3, 1, 1)
FIRST_PIXEL = Do(lambda x: x.flatten(1)[:, :1])


def p_of(branch: list[float], residual: Any, *, branch_first: bool = False) -> Tensor:
    """The p of three pixels; the sum is the first pixel plus a linear branch."""
    pair = [FIRST_PIXEL, nn.Sequential(nn.Flatten(), linear([branch]))]
    net = Behind(Join(*(pair[::-1] if branch_first else pair), torch.add), nn.ReLU(), linear([[1]]))
    return excitation(net, PIXELS, torch.tensor([[0]]), "here", residual=residual)[0, 0, :, 0, 0]


@pytest.mark.parametrize(
    ("residual", "expected"),
    [("positive", [0.25, 0.75, 0]), ("signed", [0.25, 0.75, 0]), ("branch", [0.0, 1, 0])],
)
def test_a_sum_of_positive_numbers(residual: str, expected: list[float]) -> None:
    """1 + 0.5 * 6 = 4."""
    for branch_first in (True, False):
        assert_same(p_of([0, 0.5, 0], residual, branch_first=branch_first), torch.tensor(expected))


@pytest.mark.parametrize(
    ("residual", "expected"),
    [
        ("positive", [1.0, 0, 0]),
        # 1 / 0.56, and -0.44 / 0.56 to the branch, whose only positive weight is the second.
        ("signed", [1 / 0.56, -0.44 / 0.56, 0]),
        ("branch", [0, 1.0, 0]),
    ],
)
def test_a_sum_with_a_negative_branch(residual: str, expected: list[float]) -> None:
    """1 - 0.5 * 1 + 0.01 * 6 = 0.56."""
    assert_same(p_of([-0.5, 0.01, 0], residual), torch.tensor(expected))


def test_a_signed_sum_of_zero_passes_nothing() -> None:
    """1 + 0.5 * 6 - 4 = 0 behind a sum that p reaches without weights."""
    pair = [FIRST_PIXEL, nn.Sequential(nn.Flatten(), linear([[0, 0.5, 0]], bias=-4))]
    net = Behind(Join(*pair, torch.add))
    p = excitation(net, PIXELS, torch.tensor([[0]]), "here", residual="signed")
    assert not p.any()


def test_the_branch_is_the_summand_behind_more_layers_with_weights() -> None:
    """An average in the shortcut is no such layer; two branches of one layer each are refused."""
    layer = nn.Sequential(nn.Flatten(), linear([[0, 0.5, 0]]))
    averaged = nn.Sequential(nn.AvgPool2d(1), FIRST_PIXEL)
    for pair in ((averaged, layer), (layer, averaged)):
        net = Behind(Join(*pair, torch.add), linear([[1]]))
        p = excitation(net, PIXELS, torch.tensor([[0]]), "here", residual="branch")
        assert_same(p[0, 0, :, 0, 0], torch.tensor([0.0, 1, 0]))
    both = Behind(Join(layer, layer, torch.add), linear([[1]]))
    with pytest.raises(NotApplicableError, match="one summand behind more layers with weights"):
        excitation(both, PIXELS, torch.tensor([[0]]), "here", residual="branch")


def by_block(net: nn.Module, batch: Tensor, output: int, residual: str) -> Tensor:
    """p at layer3 of a ResNet of basic blocks, written out from the papers' and codes' equations.

    ``signed`` is the sum of TorchRay and of the Caffe code since April 2017, ``branch`` that of
    the Caffe code before. Batch normalization has positive scales, and passes p as it is.
    """

    def marginal(layer: nn.Module, x: Tensor, p: Tensor) -> Tensor:
        x = x.clone().requires_grad_(True)
        positive = layer.weight.clamp(min=0)
        if isinstance(layer, nn.Linear):
            excited = F.linear(x, positive)
        else:
            excited = F.conv2d(x, positive, None, layer.stride, layer.padding)
        safe = torch.where(excited == 0, 1.0, excited)
        (passed,) = torch.autograd.grad(excited, x, torch.where(excited == 0, 0.0, p / safe))
        return x.detach() * passed

    with torch.no_grad():
        x = net.layer2(net.layer1(net.maxpool(net.bn1(net.conv1(batch).clone()).relu())))
        x = net.layer3(x)
        seen = []
        for block in net.layer4:
            hidden = block.bn1(block.conv1(x)).relu()
            branch = block.bn2(block.conv2(hidden))
            shortcut = x if block.downsample is None else block.downsample(x)
            seen.append((block, x, hidden, branch, shortcut))
            x = (branch + shortcut).relu()
    start = F.one_hot(torch.full((len(x),), output), net.fc.out_features).float()
    p = marginal(net.fc, x.mean((2, 3)), start)
    p = x * (p / x.sum((2, 3)).clamp(min=1e-12))[:, :, None, None]
    for block, below, hidden, branch, shortcut in reversed(seen):
        if residual == "signed":
            whole = branch + shortcut
            safe = torch.where(whole == 0, 1.0, whole)
            of_branch, of_shortcut = (p * term / safe for term in (branch, shortcut))
        else:
            of_branch, of_shortcut = p, torch.zeros_like(p)
        if block.downsample is not None:
            of_shortcut = marginal(block.downsample[0], below, of_shortcut)
        p = marginal(block.conv1, below, marginal(block.conv2, hidden, of_branch)) + of_shortcut
    return p


@pytest.mark.parametrize("residual", ["signed", "branch"])
def test_a_resnet_follows_the_code_that_is_written_out(residual: Any) -> None:
    batch = images(2, 64)
    net = calibrate(build_network("ResNet"), batch)
    actual = excitation(net, batch, torch.tensor([[3], [3]]), "layer3", residual=residual)[:, 0]
    expected = by_block(net, batch, 3, residual)
    size = expected.abs().max()
    torch.testing.assert_close(actual / size, expected / size, rtol=0, atol=1e-5)
    other = excitation(net, batch, torch.tensor([[3], [3]]), "layer3")[:, 0]
    assert ((other - expected).abs().max() / size) > 0.01


def test_the_branch_is_found_in_either_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's RegNet writes ``shortcut + branch``, its ResNet ``branch += shortcut``."""
    batch, classes = images(1, 64), torch.tensor([[0]])
    net = calibrate(build_network("RegNet"), batch)
    layer = "trunk_output.block3"
    expected = excitation(net, batch, classes, layer, residual="branch")
    assert not torch.allclose(expected, excitation(net, batch, classes, layer))

    def turned(block: Any, x: Tensor) -> Tensor:
        shortcut = x if block.proj is None else block.proj(x)
        return block.activation(block.f(x) + shortcut)

    monkeypatch.setattr(models.regnet.ResBottleneckBlock, "forward", turned)
    assert_same(excitation(net, batch, classes, layer, residual="branch"), expected)
