"""FullGrad: the decomposition is complete, and the sum equals that of the authors' code."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from gradient_worlds import gap_head, network_with, record_of, relu_head
from networks import images
from torch import Tensor, nn

from wsol_bench.methods.full_grad import full_grad, spatial_bias

# ---- FullGrad


@pytest.mark.parametrize("head", [gap_head, relu_head])
def test_gradients_of_input_and_biases_add_up_to_the_score(head: Any) -> None:
    """The completeness of the decomposition (eq. 4), linear layers' biases included."""
    net, batch = network_with(head), images(2, 8)
    of = record_of(net, batch)
    total = (of.probe.pixel_gradients(of.classes) * batch[:, None]).sum((2, 3, 4))
    for name, module in net.named_modules():
        bias = module.bias.detach() if isinstance(module, nn.Linear) else spatial_bias(module)
        if bias is not None:
            _, slopes = of.probe.gradients_at([name], of.classes)[name]
            total += torch.einsum("bkc...,c->bk", slopes, bias)
    scores = of.logits.gather(1, of.classes)
    torch.testing.assert_close(total, scores, rtol=1e-4, atol=1e-5)


def test_full_grad_sums_rescaled_layers_at_the_size_of_the_image() -> None:
    """As the authors' code does it, one image and layer at a time."""
    net, batch = network_with(relu_head), images(2, 8)
    of = record_of(net, batch)
    maps = full_grad(of)
    assert maps.shape == (2, 3, 8, 8)

    def psi(product: Tensor) -> Tensor:
        size = product.abs() - product.abs().min()
        return size / size.max()

    names = ["features.0", "features.1", "features.4", "head.0"]
    actual = of.probe.gradients_at(names, of.classes)
    pixels = of.probe.pixel_gradients(of.classes)
    for b in range(2):
        for slot in range(3):
            expected = psi(pixels[b, slot] * batch[b]).sum(0)
            for name in names:
                bias = spatial_bias(net.get_submodule(name))
                assert bias is not None
                of_layer = psi(actual[name][1][b, slot] * bias[:, None, None])
                resized = F.interpolate(of_layer[None], (8, 8), mode="bilinear", align_corners=True)
                expected = expected + resized[0].sum(0)
            torch.testing.assert_close(maps[b, slot], expected, rtol=1e-4, atol=1e-4)


def test_a_module_adds_its_bias_to_each_channel() -> None:
    norm = nn.BatchNorm2d(1).eval()
    norm.running_mean = torch.tensor([3.0])
    norm.running_var = torch.tensor([4.0 - norm.eps])
    nn.init.constant_(norm.weight, 5)
    nn.init.constant_(norm.bias, 7)
    bias = spatial_bias(norm)
    assert bias is not None
    assert bias.tolist() == [7 - 3 * 5 / 2]
    assert spatial_bias(nn.Conv2d(1, 1, 1, bias=False)) is None
    assert spatial_bias(nn.Linear(1, 1)) is None
    assert spatial_bias(nn.BatchNorm2d(1, track_running_stats=False)) is None


def test_full_grad_does_not_depend_on_the_scale_of_the_scores() -> None:
    """No epsilon beside ranges as small as the gradients are."""
    net, batch = network_with(relu_head), images(2, 8)
    of = record_of(net, batch)
    expected = full_grad(of)
    with torch.no_grad():
        net.get_submodule("head.5").weight *= 1e-6
    torch.testing.assert_close(
        full_grad(record_of(net, batch, of.classes)), expected, rtol=1e-3, atol=1e-3
    )
