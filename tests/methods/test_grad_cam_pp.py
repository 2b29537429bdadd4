"""Grad-CAM++ (by the paper and by its authors' code) and Smooth Grad-CAM++."""

import pytest
import torch
from gradient_worlds import (
    ACTIVATIONS,
    SLOPES,
    assert_maps,
    gap_head,
    network_with,
    record,
    record_of,
    relu_head,
    smooth_head,
    weighted,
)
from map_methods import named, with_options
from networks import images

from wsol_bench.methods.base import MapMethod
from wsol_bench.methods.grad_cam_pp import grad_cam_pp
from wsol_bench.methods.grad_cam_pp_authors import grad_cam_pp_authors
from wsol_bench.methods.layer_cam import layer_cam
from wsol_bench.methods.smooth_grad_cam_pp import smooth_grad_cam_pp


def test_grad_cam_pp_weighs_each_positive_gradient_by_its_own_coefficient() -> None:
    """alpha = 1 / (2 + S g): 1/9 for g = 1, S = 7; 1/14 and 1/5 for g = 2 and 1/2, S = 6."""
    assert_maps(grad_cam_pp(record()), weighted(1 / 9, 2 / 14 + 0.5 / 5))


def test_the_authors_divide_by_the_coefficients_of_positive_gradients() -> None:
    """The one positive gradient of channel 0; in channel 1 the mean of 2 and 1/2 by 1/14, 1/5."""
    assert_maps(grad_cam_pp_authors(record()), weighted(1, (2 / 14 + 0.5 / 5) / (1 / 14 + 1 / 5)))


def test_grad_cam_pp_has_no_epsilon_beside_the_square_of_a_gradient() -> None:
    """For tiny gradients S g vanishes beside 2, and alpha is 1/2."""
    tiny = SLOPES * 1e-12
    expected = torch.einsum("bkc,bchw->bkhw", tiny.relu().sum((3, 4)) / 2, ACTIVATIONS)
    torch.testing.assert_close(grad_cam_pp(record(gradients=tiny)), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("method", [grad_cam_pp, grad_cam_pp_authors], ids=named)
def test_at_the_pole_of_a_negative_sum_a_pixel_counts_for_nothing(method: MapMethod) -> None:
    """S = -2 and g = 1: alpha would be 1/0. The other channel has S = 2: 1 / (2 + 2)."""
    activations = torch.tensor([[[[-3.0, 1.0]], [[2.0, 0.0]]]])
    slopes = torch.tensor([[[[[1.0, 0.0]], [[1.0, 0.0]]]]])
    weight = 1 / 4 if method is grad_cam_pp else 1
    assert method(record(activations, slopes)).tolist() == [[[[2 * weight, 0]]]]


def test_on_a_gap_network_the_authors_weights_are_the_positive_gradients() -> None:
    of = record_of(network_with(gap_head), images(3, 8))
    positive = torch.einsum("bkc,bchw->bkhw", of.class_weights.relu(), of.activations)
    torch.testing.assert_close(grad_cam_pp_authors(of) * 16, positive, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer_cam(of) * 16, positive, rtol=1e-4, atol=1e-5)


# ---- Smooth Grad-CAM++


def test_smooth_grad_cam_pp_without_noise_is_grad_cam_pp() -> None:
    of = record_of(network_with(relu_head), images(3, 8))
    maps = with_options(smooth_grad_cam_pp, samples=3, noise=0)(of)
    torch.testing.assert_close(maps, grad_cam_pp(of), rtol=1e-4, atol=1e-7)


def test_smooth_grad_cam_pp_averages_powers_of_the_gradients_over_noisy_images() -> None:
    net, batch = network_with(smooth_head), images(2, 8)
    of = record_of(net, batch)
    generators = of.probe.noise(7)
    spread = torch.stack([0.5 * (image.max() - image.min()) for image in batch])
    slopes = []
    for _ in range(2):
        noise = torch.stack([torch.randn(3, 8, 8, generator=generator) for generator in generators])
        noisy = batch + spread[:, None, None, None] * noise
        slopes.append(record_of(net, noisy, of.classes).gradients.double())
    first, second, third = ((slopes[0] ** p + slopes[1] ** p) / 2 for p in (1, 2, 3))
    totals = of.activations.double().sum((2, 3))[:, None, :, None, None]
    alpha = second / (2 * second + totals * third)
    weights = (alpha * first.relu()).sum((3, 4)).float()
    expected = torch.einsum("bkc,bchw->bkhw", weights, of.activations).relu()
    maps = with_options(smooth_grad_cam_pp, samples=2, noise=0.5, seed=7)(of)
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-6)


def test_smooth_grad_cam_pp_depends_on_the_seed_alone() -> None:
    of = record_of(network_with(relu_head), images(3, 8))
    few = with_options(smooth_grad_cam_pp, samples=2)
    assert torch.equal(few(of), few(of))
    other = with_options(smooth_grad_cam_pp, samples=2, seed=1)(of)
    assert not torch.allclose(few(of), other, rtol=1e-2)
