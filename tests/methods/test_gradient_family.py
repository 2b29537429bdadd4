"""Methods that weigh activations by gradients: common properties; XGrad-CAM, HiResCAM by hand."""

from typing import Any

import pytest
import torch
from gradient_worlds import (
    ACTIVATIONS,
    GRADIENTS,
    HEADS,
    SLOPES,
    assert_maps,
    gap_head,
    maps_of_pytorch_grad_cam,
    network_with,
    record,
    record_of,
    relu_head,
    smooth_head,
    weighted,
)
from map_methods import assert_correlated, named, with_options
from networks import images
from torch import nn

from wsol_bench.capture import BestClasses, capture
from wsol_bench.methods.base import MapMethod, cam_methods
from wsol_bench.methods.cam import cam
from wsol_bench.methods.eigen_cam import eigen_cam
from wsol_bench.methods.eigen_grad_cam import eigen_grad_cam
from wsol_bench.methods.elementwise_grad_cam import elementwise_grad_cam
from wsol_bench.methods.finer_cam import finer_cam
from wsol_bench.methods.full_grad import full_grad
from wsol_bench.methods.grad_cam import grad_cam
from wsol_bench.methods.grad_cam_pp import grad_cam_pp
from wsol_bench.methods.grad_cam_pp_authors import grad_cam_pp_authors
from wsol_bench.methods.hires_cam import hires_cam
from wsol_bench.methods.layer_cam import layer_cam
from wsol_bench.methods.shapley_cam import shapley_cam
from wsol_bench.methods.smooth_grad_cam_pp import smooth_grad_cam_pp
from wsol_bench.methods.xgrad_cam import xgrad_cam
from wsol_bench.models.target_layers import Target

OF_ONE_RECORD = [
    grad_cam_pp, grad_cam_pp_authors, xgrad_cam, layer_cam, hires_cam, elementwise_grad_cam,
    eigen_cam, eigen_grad_cam,
]  # fmt: skip

OF_A_NETWORK = [shapley_cam, finer_cam, smooth_grad_cam_pp, full_grad]


def test_xgrad_cam_averages_gradients_in_proportion_to_the_activations() -> None:
    assert_maps(
        xgrad_cam(record()),
        weighted((1 * 1 - 1 * 4) / 7, (2 * 3 + 0.5 * 0) / 6),
        weighted((-1 + 2 + 2) / 7, (3 - 1 - 4) / 6),
    )


def test_a_silent_channel_has_no_weight_in_xgrad_cam() -> None:
    silent = torch.cat([ACTIVATIONS, torch.zeros(1, 1, 2, 2)], dim=1)
    slopes = torch.cat([SLOPES, torch.full((1, 2, 1, 2, 2), 9.0)], dim=2)
    assert torch.equal(xgrad_cam(record(silent, slopes)), xgrad_cam(record()))


def test_hires_cam_sums_contributions_before_it_rectifies() -> None:
    assert_maps(hires_cam(record()), [[1 + 6, 0], [0, 0]], [[-1 + 3, 0], [2, 0]])


def test_elementwise_grad_cam_rectifies_each_contribution() -> None:
    activations = torch.tensor([[[[-1.0, 2.0]], [[3.0, 1.0]]]])
    slopes = torch.tensor([[[[[-4.0, 1.0]], [[2.0, -5.0]]]]])
    assert elementwise_grad_cam(record(activations, slopes)).tolist() == [[[[4 + 6, 2]]]]
    # LayerCAM differs if the activation is negative.
    assert layer_cam(record(activations, slopes)).tolist() == [[[[6, 2]]]]


# ---- all of them


@pytest.mark.parametrize("method", OF_ONE_RECORD, ids=named)
def test_without_a_gradient_or_an_activation_the_map_is_zero(method: MapMethod) -> None:
    zero = torch.zeros_like
    assert not method(record(zero(ACTIVATIONS), SLOPES)).any()
    assert not method(record(zero(ACTIVATIONS), zero(SLOPES))).any()
    if method is not eigen_cam:
        assert not method(record(ACTIVATIONS, zero(SLOPES))).any()


@pytest.mark.parametrize("method", OF_ONE_RECORD, ids=named)
def test_activations_of_either_sign_give_finite_maps(method: MapMethod) -> None:
    draw = torch.Generator().manual_seed(5)
    activations = torch.randn(2, 6, 3, 5, generator=draw)
    slopes = torch.randn(2, 3, 6, 3, 5, generator=draw)
    maps = method(record(activations, slopes))
    assert maps.shape == (2, 3, 3, 5)
    assert maps.isfinite().all()


@pytest.mark.parametrize("method", [hires_cam, xgrad_cam, shapley_cam], ids=named)
def test_on_a_gap_network_the_methods_equal_grad_cam_and_cam(method: MapMethod) -> None:
    of = record_of(network_with(gap_head), images(3, 8))
    torch.testing.assert_close(method(of), grad_cam(of), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(method(of) * 16, cam(of).relu(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", [shapley_cam, finer_cam], ids=named)
def test_a_layer_that_is_not_the_first_uses_its_head(method: MapMethod) -> None:
    net, batch = network_with(relu_head), images(3, 8)
    both = capture(
        net, batch, [Target("features.2"), Target("features")], GRADIENTS, classes=BestClasses(3)
    )
    maps = method(both.at_layer(1))
    torch.testing.assert_close(maps, method(record_of(net, batch)), rtol=1e-4, atol=1e-6)
    assert method(both.at_layer(0)).shape == (3, 3, 8, 8)


@pytest.mark.parametrize("method", OF_A_NETWORK, ids=named)
@pytest.mark.parametrize("head", HEADS)
def test_frozen_parameters_change_nothing(method: MapMethod, head: Any) -> None:
    net, batch = network_with(head), images(2, 8)
    expected = method(record_of(net, batch))
    maps = method(record_of(net.requires_grad_(False), batch))
    assert maps.isfinite().all() and maps.any()
    assert not maps.requires_grad
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", OF_A_NETWORK, ids=named)
def test_an_image_has_the_same_map_alone_and_in_a_batch(method: MapMethod) -> None:
    net, batch = network_with(smooth_head), images(3, 8)
    maps = method(record_of(net, batch))
    alone = torch.cat([method(record_of(net, image[None])) for image in batch])
    torch.testing.assert_close(maps, alone, rtol=1e-3, atol=1e-5 * float(alone.abs().max()))


@pytest.mark.parametrize("method", OF_A_NETWORK, ids=named)
def test_a_network_that_ignores_its_layer_has_zero_maps(method: MapMethod) -> None:
    net = network_with(relu_head)
    last = net.get_submodule("head.5")
    nn.init.zeros_(last.weight)
    assert not method(record_of(net, images(3, 8))).any()


@pytest.mark.parametrize(
    ("method", "peer_name"),
    [
        (xgrad_cam, "XGradCAM"),
        (layer_cam, "LayerCAM"),
        (hires_cam, "HiResCAM"),
        (elementwise_grad_cam, "GradCAMElementWise"),
        (shapley_cam, "ShapleyCAM"),
        (grad_cam_pp, "GradCAMPlusPlus"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("head", [relu_head, smooth_head])
def test_agrees_with_pytorch_grad_cam(method: MapMethod, peer_name: str, head: Any) -> None:
    peer = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    net, batch = network_with(head), images(3, 8)
    with torch.no_grad():
        net.get_submodule(
            "head.5"
        ).weight *= 100  # so large that pytorch-grad-cam's epsilon beside g^2 does not matter
    of = record_of(net, batch)
    extractor = getattr(peer, peer_name)(net, [net.get_submodule("features")])
    for slot in range(3):
        wanted = [targets.ClassifierOutputTarget(int(c)) for c in of.classes[:, slot]]
        maps = maps_of_pytorch_grad_cam(extractor, lambda wanted=wanted: extractor(batch, wanted))
        assert_correlated(method(of)[:, slot], maps)
    extractor.activations_and_grads.release()


def test_all_methods_are_registered_under_their_names() -> None:
    for method in [*OF_ONE_RECORD, *OF_A_NETWORK]:
        assert cam_methods.get(method.name) is method
        assert method.paper
    assert (full_grad.scope, full_grad.classes) == ("image", "label")


@pytest.mark.parametrize(("at", "layer"), [(0, "features.2"), (1, "features")])
def test_maps_are_made_from_the_records_layer(at: int, layer: str) -> None:
    """From the activations and the gradients of this layer, if several layers are recorded."""
    net, batch = network_with(relu_head), images(2, 8)
    both = capture(
        net, batch, [Target("features.2"), Target("features")], GRADIENTS, classes=BestClasses(2)
    )
    alone = capture(net, batch, [Target(layer)], GRADIENTS, classes=both.classes)
    for method in [*OF_ONE_RECORD, with_options(smooth_grad_cam_pp, samples=2)]:
        torch.testing.assert_close(
            method(both.at_layer(at)), method(alone), rtol=1e-3, atol=1e-6, msg=method.name
        )
