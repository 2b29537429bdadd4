"""ShapleyCAM against Hessians, and on networks without a second derivative."""

import pytest
import torch
from gradient_worlds import GRADIENTS, network_with, record_of, relu_head, smooth_head
from networks import images, network
from torch import Tensor
from torchvision import models

from wsol_bench.capture import capture
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.grad_cam import grad_cam
from wsol_bench.methods.localization_maps import localization_maps
from wsol_bench.methods.shapley_cam import shapley_cam
from wsol_bench.models.target_layers import target_of


def test_shapley_cam_is_refused_without_a_second_derivative() -> None:
    net = models.mobilenet_v3_small(num_classes=4).eval()
    with pytest.raises(NotApplicableError, match=r"no second derivative.*hardsigmoid"):
        localization_maps(net, images(1, 8), "shapley_cam", layer="features.9")


def test_shapley_cam_is_grad_cam_if_the_network_is_piecewise_linear() -> None:
    of = record_of(network_with(relu_head), images(3, 8))
    assert grad_cam(of).any()
    torch.testing.assert_close(shapley_cam(of), grad_cam(of), rtol=1e-4, atol=1e-6)


def test_shapley_cam_subtracts_half_of_the_hessian_times_the_activations() -> None:
    net, batch = network_with(smooth_head), images(2, 8)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 2  # so large that SiLU and GELU are not almost linear
    of = record_of(net, batch)
    for b in range(2):
        for slot in range(3):
            row = of.activations[b : b + 1]

            def score(activations: Tensor, output: int = int(of.classes[b, slot])) -> Tensor:
                scores: Tensor = net.head(activations)
                return scores[0, output]

            hessian = torch.autograd.functional.hessian(score, row).reshape(row.numel(), -1)
            slopes = torch.autograd.functional.jacobian(score, row)
            curved = (hessian @ row.flatten()).reshape(row.shape)
            assert curved.abs().max() > 0.01 * slopes.abs().max()
            weights = (slopes - curved / 2).mean((2, 3))[0]
            expected = torch.einsum("c,chw->hw", weights, row[0]).relu()
            torch.testing.assert_close(shapley_cam(of)[b, slot], expected, rtol=1e-3, atol=1e-5)


def test_shapley_cam_passes_attention_twice() -> None:
    net = network("VisionTransformer")
    of = capture(net, images(), [target_of(net)], GRADIENTS)
    maps = shapley_cam(of)
    assert maps.isfinite().all()
    assert (maps - grad_cam(of)).abs().max() > 1e-3 * maps.max()
