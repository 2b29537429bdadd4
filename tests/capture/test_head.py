"""The part of a network behind a layer, run alone on activations."""

from typing import Any

import pytest
import torch
from masked_networks import SIZE, record_of
from networks import build_network, calibrated_network, curved_net, images, residual
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from traces import fail, unchanged

from wsol_bench.capture import BestClasses, Plan, capture
from wsol_bench.capture.head import Head
from wsol_bench.models.target_layers import target_of


@pytest.mark.parametrize(("n_images", "size"), [(1, 16), (16, 16), (20, 20)])
def test_chunks_are_as_large_as_a_batch_or_as_16(n_images: int, size: int) -> None:
    probe = record_of(curved_net(), images(n_images, *SIZE)).probe
    parts = list(probe.chunks(45, "numbers"))
    assert [number for part in parts for number in range(45)[part]] == list(range(45))
    assert [part.stop - part.start for part in parts[:-1]] == [size] * (len(parts) - 1)


# ---- the part behind the layer, alone


NETWORKS = [
    "ResNet", "VGG", "DenseNet", "SqueezeNet", "MobileNetV2", "GoogLeNet",
    "VisionTransformer", "SwinTransformer", "ConvNeXt",
]  # fmt: skip

WITH_GRADIENTS = Plan(gradients=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_of_the_recorded_activations_gives_the_networks_logits(name: str) -> None:
    net = calibrated_network(name)
    of = capture(net, images(), [target_of(net)], WITH_GRADIENTS, classes=BestClasses(2))
    order = torch.tensor([1, 0, 1])
    scores = of.head(of.activations[order], order)
    torch.testing.assert_close(scores, of.logits[order], rtol=1e-4, atol=1e-5)
    activations = of.activations.clone().requires_grad_(True)
    with torch.enable_grad():
        scores = of.head(activations, torch.arange(2))
    for slot in range(2):
        wanted = scores.gather(1, of.classes[:, [slot]]).sum()
        (slopes,) = torch.autograd.grad(wanted, activations, retain_graph=True)
        scale = float(of.gradients.abs().max())
        torch.testing.assert_close(slopes, of.gradients[:, slot], rtol=1e-3, atol=1e-4 * scale)
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_uses_the_given_activations(name: str) -> None:
    net, batch = calibrated_network(name), images()
    of = capture(net, batch, [target_of(net)], Plan(), classes=BestClasses(1))
    other = capture(net, batch.flip(0), [target_of(net)], Plan(), classes=BestClasses(1))
    if name == "VisionTransformer":  # other tokens and the residual stream are still the image's
        changed = of.head(other.activations, torch.arange(2))
        assert (changed - of.logits).abs().max() > 1e-3
        return
    scores = of.head(other.activations, torch.arange(2))
    torch.testing.assert_close(scores, other.logits, rtol=1e-4, atol=1e-5)


def kept(head: Head) -> list[str]:
    """The modules whose outputs a head keeps."""
    names = {module: name for name, module in head._model.named_modules()}
    return [
        names[module]
        for module, calls in head._tape.calls.items()
        if any(getattr(leaf, "value", None) is not None for leaf in tree_leaves(calls))
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_that_no_operation_takes_are_not_kept(name: str) -> None:
    net = calibrated_network(name)
    head = Head(net, images(), target_of(net))
    residual = ["conv_proj", "encoder.layers.encoder_layer_0"]
    assert kept(head) == (residual if name == "VisionTransformer" else [])


def test_neither_modules_before_the_layer_nor_the_layer_run_again() -> None:
    net = calibrated_network("ResNet")
    of = record_of(net, images())
    ran = []
    handles = [
        net.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
        for name in ("layer1.0.conv1", "layer4.0.conv1", "fc")
    ]
    of.head(of.activations, torch.arange(2))
    # One run in the pass that notes the outputs, and one in that of another batch size; of the part
    # behind the layer, two more for the activations themselves and for those that were asked for.
    assert ran == ["layer1.0.conv1", "layer4.0.conv1", "fc"] * 2 + ["fc", "fc"]
    ran.clear()
    of.head(of.activations, torch.arange(2))
    assert ran == ["fc"]
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("passing", [nn.Identity(), nn.Dropout(), nn.ReLU(inplace=True)], ids=str)
def test_a_residual_stream_around_the_layer_is_replayed(passing: nn.Module) -> None:
    """Modules that return their input, that run within others, and that run behind the layer."""
    net = residual(passing)
    of = record_of(net, images(3, *SIZE))
    order = torch.tensor([2, 0, 1, 2])
    torch.testing.assert_close(of.head(of.activations[order], order), of.logits[order])
    activations = of.activations.clone()
    of.head(activations, torch.arange(3))
    assert torch.equal(activations, of.activations)  # although the network works in place on them

    class Without(nn.Module):
        def forward(self, *args: Any) -> Tensor:
            return torch.zeros_like(of.activations)

    scores = of.head(torch.zeros_like(of.activations), torch.arange(3))
    net.features = Without()
    torch.testing.assert_close(scores, net(images(3, *SIZE)).detach())


def test_the_model_is_left_unchanged_when_its_head_fails_later() -> None:
    """In a replay, with the modules' own forwards replaced."""
    net = build_network("DenseNet").train()
    of = record_of(net, images(2, 32))
    of.head(of.activations, torch.arange(2))
    net.classifier.register_forward_hook(fail)
    with unchanged(net), pytest.raises(RuntimeError, match="out of luck"):
        of.head(of.activations, torch.arange(2))
