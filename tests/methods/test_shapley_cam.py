"""ShapleyCAM against Hessians, and on networks without a second derivative."""

import pytest
import torch
from attention_networks import torchvision_vit
from gradient_worlds import GRADIENTS, network_with, record_of, relu_head, smooth_head
from map_methods import with_options
from networks import images, network
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision import models

from wsol_bench.capture import Plan, capture
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.grad_cam import grad_cam
from wsol_bench.methods.localization_maps import localization_maps
from wsol_bench.methods.shapley_cam import shapley_cam
from wsol_bench.models.target_layers import find_module, target_of


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


def test_all_tokens_count_in_the_second_order_term_if_asked() -> None:
    """Hessians of the network behind the layer norm, with the class token and without it."""
    net, batch = torchvision_vit().double(), images(1).double()
    blocks = list(net.encoder.layers)
    target = target_of(net)
    assert target.layer == "encoder.layers.encoder_layer_1.ln_1"
    of = capture(net, batch, [target], Plan(), classes=torch.tensor([[4]]))
    tokens, before = list[Tensor](), list[Tensor]()

    def note(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        tokens.append(output.detach())
        before.append(inputs[0].detach())

    handle = blocks[1].ln_1.register_forward_hook(note)
    net(batch)
    handle.remove()

    def score(normed: Tensor) -> Tensor:
        mixed = blocks[1].self_attention(normed, normed, normed)[0] + before[0]
        x = mixed + blocks[1].mlp(blocks[1].ln_2(mixed))
        logits: Tensor = net.heads(net.encoder.ln(x)[:, 0])
        return logits[0, 4]

    with sdpa_kernel(SDPBackend.MATH):
        hessian = torch.autograd.functional.hessian(score, tokens[0])
        slopes = torch.autograd.functional.jacobian(score, tokens[0])[0]
    by_option = {}
    for name, n_left_out in (("all", 0), ("patches", 1)):
        direction = tokens[0].clone()
        direction[:, :n_left_out] = 0
        curvature = torch.tensordot(hessian, direction, dims=3)[0]
        weights = (slopes - curvature / 2)[1:].mean(0)
        expected = (tokens[0][0, 1:] @ weights).reshape(4, 4).relu().float()
        actual = with_options(shapley_cam, tokens=name)(of)[0, 0]
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)
        by_option[name] = actual
    difference = (by_option["all"] - by_option["patches"]).abs().max()
    assert difference > 1e-3 * by_option["all"].max()


def test_all_tokens_of_a_layer_without_class_token_are_its_patches() -> None:
    of = record_of(network_with(smooth_head), images(3, 8))
    assert torch.equal(with_options(shapley_cam, tokens="all")(of), shapley_cam(of))


def test_all_tokens_are_those_of_pytorch_grad_cam() -> None:
    """Its class fails on tokens (its activations stay a sequence); its weights can be had."""
    peer = pytest.importorskip("pytorch_grad_cam")
    net, batch = torchvision_vit(), images()
    target = target_of(net)
    of = capture(net, batch, [target], Plan(), classes=torch.tensor([[4], [1]]))
    layer = find_module(net, target.layer)
    extractor = peer.ShapleyCAM(net, [layer], reshape_transform=of.layer.grid.to_channels)
    with sdpa_kernel(SDPBackend.MATH):
        logits = extractor.activations_and_grads(batch.clone().requires_grad_(True))
        score = logits[0, 4] + logits[1, 1]
        hidden = extractor.activations_and_grads.activations[0]
        (slopes,) = torch.autograd.grad(score, hidden, create_graph=True)
        weights = torch.from_numpy(extractor.get_cam_weights(batch, layer, None, hidden, slopes))
    for handle in extractor.activations_and_grads.handles:
        handle.remove()
    # Its release, which __del__ calls, fails on gradients that are views.
    extractor.activations_and_grads.release = lambda: None
    expected = torch.einsum("bc,bchw->bhw", weights, of.activations).relu()
    actual = with_options(shapley_cam, tokens="all")(of)[:, 0]
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-5)
