"""Excitation backprop refuses operations without a rule, and leaves the network unchanged."""

from collections.abc import Callable

import pytest
import torch
from excitation_networks import (
    TWO_SLOTS,
    Behind,
    Do,
    assert_same,
    at_random,
    head,
    mass,
    p_of,
    uniform,
)
from torch import Tensor, nn
from traces import unchanged

from wsol_bench.capture.backward.excitation import excitation
from wsol_bench.errors import ModelError, NotApplicableError


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x * 2, "Tensor.mul"),
        (lambda x: x.mul_(2), "Tensor.mul_"),
        (lambda x: x + 1, "anything but two activations"),
        (lambda x: x + nn.Parameter(torch.ones(x.shape)), "anything but two activations"),
        (lambda x: x + x[:, :1], "a sum with weights or of different shapes"),
        (lambda x: torch.add(x, x, alpha=2), "a sum with weights or of different shapes"),
        (lambda x: x.detach(), "detach"),
        (lambda x: x @ x, "matmul"),
        (lambda x: nn.functional.dropout(x), "dropout at random"),
        (lambda x: nn.functional.softmax(x, 1), "softmax"),
        (lambda x: nn.functional.avg_pool2d(x - x.detach(), 2), "sub|detach"),
        (lambda x: nn.functional.conv2d(x, x[:1]), "weights that depend on the image"),
    ],
    ids=[
        "product", "product in place", "sum with a number", "sum with a parameter",
        "sum of other shapes", "weighted sum", "detach", "matmul", "dropout", "softmax",
        "difference", "convolution with the image",
    ],
)  # fmt: skip
def test_an_operation_without_a_rule_is_refused(
    function: Callable[[Tensor], Tensor], message: str
) -> None:
    net = Behind(Do(function), nn.AdaptiveAvgPool2d(1), *head(3, 1))
    with pytest.raises(NotApplicableError, match=rf"behind\.0 \(Do\): .*({message})"):
        p_of(net)


def test_operations_before_the_map_layer_need_no_rule() -> None:
    net = at_random(
        Behind(Do(lambda x: torch.sigmoid(x * -2) - 0.5), nn.Conv2d(3, 4, 1), *head(4, 6))
    )
    with pytest.raises(NotApplicableError):
        p_of(net)
    with pytest.raises(NotApplicableError, match=r"behind\.3 \(Linear\).*>= 0"):
        excitation(net, uniform(2, 3, 6, 6), TWO_SLOTS, "behind.1")
    net.behind[1].bias.data.fill_(9.0)
    p = excitation(net, uniform(2, 3, 6, 6), TWO_SLOTS, "behind.1")
    torch.testing.assert_close(mass(p), torch.ones(2, 2), rtol=0, atol=1e-4)


# ---- errors


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("heer", None), "no layer 'heer'"),
        (
            ("behind.2", None),
            r"layer 'behind.2': expected an output of shape \(b, c, h, w\), found \(2, 108\)",
        ),
        (("here", "unused"), "layer 'unused' did not run"),
        (("behind.0.0", None), r"layer 'behind\.0\.0' ran 2 times"),
        (("behind.0", "here"), "contrast layer 'here' does not depend on layer 'behind.0'"),
        (("here", "behind.3"), "no layer with weights stands behind layer 'behind.3'"),
    ],
)
def test_a_layer_that_cannot_be_used_is_an_error(
    layers: tuple[str, str | None], message: str
) -> None:
    relu = nn.ReLU()
    net = Behind(nn.Sequential(relu), relu, *head(3, 6))
    net.unused = nn.ReLU()
    with pytest.raises(ModelError, match=message):
        excitation(net, uniform(2, 3, 6, 6), TWO_SLOTS, *layers)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("here", None), "the logits do not depend on layer 'here'"),
        (("behind.0", None), "the logits do not depend on layer 'behind.0'"),
        (("pixels", "behind.0"), "the logits do not depend on layer 'behind.0'"),
    ],
)
def test_logits_that_do_not_depend_on_the_layer_are_an_error(
    layers: tuple[str, str | None], message: str
) -> None:
    class Apart(Behind):
        def forward(self, images: Tensor) -> Tensor:
            x = self.pixels(images)
            self.behind[0](x)
            logits = self.behind[1:](x)
            self.here(images)
            return logits

    net = Apart(nn.ReLU(), *head(3, 6))
    net.pixels = nn.Identity()
    with pytest.raises(ModelError, match=message):
        excitation(net, uniform(2, 3, 6, 6), TWO_SLOTS, *layers)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("inference", [False, True])
def test_the_model_is_left_unchanged(fails: bool, inference: bool) -> None:
    net = at_random(
        Behind(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
            nn.Sigmoid() if fails else nn.Dropout(), *head(4, 4),
        )
    )  # fmt: skip
    net.train()
    net.behind[1].eval()
    net.behind[0].weight.requires_grad_(False)
    net.behind[2].compile(backend="eager")
    net.here.register_forward_hook(lambda module, inputs, output: None)
    with unchanged(net), torch.inference_mode(inference):
        images = uniform(2, 3, 6, 6)
        if fails:
            with pytest.raises(NotApplicableError, match="Sigmoid"):
                excitation(net, images, TWO_SLOTS, "here", "behind.2")
        else:
            p = excitation(net, images, TWO_SLOTS, "here", "behind.2")
            assert not p.requires_grad and p.dtype == torch.float32
            assert mass(p).abs().max() < 1e-4 and p.abs().max() > 0


def test_inference_mode_and_autocast_change_nothing() -> None:
    with torch.inference_mode():
        net = at_random(Behind(nn.Conv2d(3, 4, 3), nn.ReLU(), *head(4, 4)))
    expected = p_of(at_random(Behind(nn.Conv2d(3, 4, 3), nn.ReLU(), *head(4, 4))))
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(p_of(net), expected)
