"""How excitation backprop shares out probability at the sum of a residual block."""

from typing import Any

import pytest
import torch
from author_maps import p_of_resnet
from excitation_networks import Behind, Do, Join, assert_same, linear
from networks import calibrated_network, images
from torch import Tensor, nn
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


@pytest.mark.parametrize("residual", ["signed", "branch"])
def test_a_resnet_follows_the_code_that_is_written_out(residual: Any) -> None:
    batch = images(2, 64)
    net = calibrated_network("ResNet")
    classes = torch.tensor([[3], [3]])
    actual = excitation(net, batch, classes, "layer3", residual=residual)[:, 0]
    expected = p_of_resnet(net, batch, [3, 3], residual)
    size = expected.abs().max()
    torch.testing.assert_close(actual / size, expected / size, rtol=0, atol=1e-5)
    other = excitation(net, batch, classes, "layer3")[:, 0]
    assert (other - expected).abs().max() > 0.01 * size
    contrast = excitation(net, batch, classes, "layer3", "avgpool", residual=residual)[:, 0]
    expected = p_of_resnet(net, batch, [3, 3], residual, contrastive=True)
    size = expected.abs().max()
    torch.testing.assert_close(contrast / size, expected / size, rtol=0, atol=1e-4)


def test_the_branch_is_found_in_either_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's RegNet writes ``shortcut + branch``, its ResNet ``branch += shortcut``."""
    batch, classes = images(1, 64), torch.tensor([[0]])
    net = calibrated_network("RegNet")
    layer = "trunk_output.block3"
    expected = excitation(net, batch, classes, layer, residual="branch")
    assert not torch.allclose(expected, excitation(net, batch, classes, layer))

    def turned(block: Any, x: Tensor) -> Tensor:
        shortcut = x if block.proj is None else block.proj(x)
        return block.activation(block.f(x) + shortcut)

    monkeypatch.setattr(models.regnet.ResBottleneckBlock, "forward", turned)
    assert_same(excitation(net, batch, classes, layer, residual="branch"), expected)
