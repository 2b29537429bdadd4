"""Ablation-CAM against hand-solved maps, passes without a channel, a closed form and a library."""

import copy
import math
from typing import Any

import pytest
import torch
from masked_networks import GREEN, LAYERS, RED, RED_AND_GREEN, SIZE, Sums, record_at, record_of
from networks import calibrated_network, curved_net, images, residual
from torch import Tensor, nn

from wsol_bench.capture import BestClasses, Plan, Record, capture
from wsol_bench.methods.ablation_cam import ablation_cam
from wsol_bench.models.target_layers import find_module, target_of


def test_a_channel_is_weighted_by_the_drop_of_the_score_without_it() -> None:
    """Without red the sum of red is 0 and the sum of green stays: one channel makes each score."""
    maps = ablation_cam(record_of(Sums(), RED_AND_GREEN, torch.tensor([[1, 0]])))[0]
    torch.testing.assert_close(maps, torch.stack([GREEN, RED]))


def ablated_by_whole_passes(of: Record) -> Tensor:
    net, batch = of.probe.model, of.probe.images
    without = []
    for channel in range(of.activations.shape[1]):

        def erase(module: nn.Module, inputs: Any, output: Tensor, channel: int = channel) -> Tensor:
            return output.index_fill(1, torch.tensor(channel), 0.0)

        handle = find_module(net, of.layer.name).register_forward_hook(erase)
        with torch.no_grad():
            without.append(net(batch).gather(1, of.classes))
        handle.remove()
    own = of.logits.gather(1, of.classes)
    assert (own != 0).all()
    drops = own[:, :, None] - torch.stack(without, dim=-1)
    assert drops.abs().max() > 1e-4 * own.abs().max()
    weights = drops / own[:, :, None].abs()
    return torch.einsum("bkc,bchw->bkhw", weights, of.activations).relu()


@pytest.mark.parametrize("name", [*LAYERS, "a residual stream"])
def test_ablation_cam_equals_whole_passes_without_a_channel(name: str) -> None:
    of = record_at(name) if name in LAYERS else record_of(residual(nn.Identity()), images(3, *SIZE))
    expected = ablated_by_whole_passes(of)
    tolerance = 1e-3 * float(expected.max())
    torch.testing.assert_close(ablation_cam(of), expected, rtol=1e-2, atol=tolerance)


@pytest.mark.parametrize("bias", [0.0, 9.0, -9.0])
def test_ablation_cam_of_a_pooled_linear_head_has_a_closed_form(bias: float) -> None:
    """The drop is w_k mean(A_k); the sign of the score does not turn the map."""
    net = copy.deepcopy(calibrated_network("ResNet"))
    batch = images()
    net.fc.bias.data.fill_(bias)
    of = capture(net, batch, [target_of(net)], Plan(), classes=BestClasses(3))
    signs = of.logits.gather(1, of.classes).sign()
    assert bias == 0 or (signs == math.copysign(1, bias)).all()
    weights = net.fc.weight.detach()[of.classes] * of.activations.mean((2, 3))[:, None]
    weights = weights / of.logits.gather(1, of.classes).abs()[:, :, None]
    expected = torch.einsum("bkc,bchw->bkhw", weights, of.activations).relu()
    tolerance = 1e-3 * float(expected.max())
    torch.testing.assert_close(ablation_cam(of), expected, rtol=1e-3, atol=tolerance)


def test_a_score_of_zero_divides_by_one() -> None:
    batch = torch.tensor([2.0, -2.0, 0.0])[None, :, None, None].expand(1, 3, 1, 1)

    class Difference(Sums):
        def forward(self, batch: Tensor) -> Tensor:
            return super().forward(batch).sum(1, keepdim=True)

    maps = ablation_cam(record_of(Difference(), batch, torch.tensor([[0]])))
    assert maps.flatten().tolist() == [2 * 2 + -2 * -2]


def test_ablation_cam_agrees_with_pytorch_grad_cam_for_positive_scores() -> None:
    peer = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    net = curved_net(1)
    net.features[3] = nn.ReLU()  # for negative activations it erases by another value
    nn.init.constant_(net.head[4].bias, 2.0)
    of = record_of(net, images(3, *SIZE), torch.tensor([[4], [1], [0]]))
    assert (of.logits.gather(1, of.classes) > 0).all()
    wanted = [targets.ClassifierOutputTarget(c) for c in (4, 1, 0)]
    extractor = peer.AblationCAM(net, [net.features])
    weights = extractor.get_cam_weights(
        images(3, *SIZE), net.features, wanted, of.activations.numpy(), None
    )
    extractor.activations_and_grads.release()
    maps = torch.einsum("bc,bchw->bhw", torch.from_numpy(weights), of.activations).relu()
    torch.testing.assert_close(ablation_cam(of)[:, 0], maps, rtol=1e-3, atol=1e-5)
