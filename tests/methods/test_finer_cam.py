"""FinerCAM against a closed form, Grad-CAM and other libraries."""

import pytest
import torch
from gradient_worlds import (
    N_CLASSES,
    gap_head,
    maps_of_pytorch_grad_cam,
    network_with,
    record_of,
    relu_head,
)
from map_methods import assert_correlated, with_options
from networks import images

from wsol_bench.methods.finer_cam import finer_cam
from wsol_bench.methods.grad_cam import grad_cam


def test_finer_cam_compares_a_class_with_the_classes_of_the_nearest_scores() -> None:
    """On a GAP network the map is CAM with the weights w_c - alpha mean_d w_d."""
    net, batch = network_with(gap_head), images(2, 8)
    of = record_of(net, batch, torch.tensor([[0, 3], [5, 5]]))
    weight = net.get_submodule("head.2").weight.detach()
    maps = with_options(finer_cam, alpha=0.8, n_similar=2)(of)
    for b in range(2):
        for slot in range(2):
            own = int(of.classes[b, slot])
            others = sorted(
                set(range(N_CLASSES)) - {own},
                key=lambda d: abs(float(of.logits[b, d] - of.logits[b, own])),
            )
            row = weight[own] - 0.8 * weight[others[:2]].mean(dim=0)
            expected = torch.einsum("c,chw->hw", row / 16, of.activations[b]).relu()
            torch.testing.assert_close(maps[b, slot], expected, rtol=1e-4, atol=1e-6)


def test_finer_cam_without_comparison_is_grad_cam() -> None:
    of = record_of(network_with(relu_head), images(3, 8))
    assert_close = torch.testing.assert_close
    assert_close(with_options(finer_cam, alpha=0)(of), grad_cam(of), rtol=1e-4, atol=1e-6)


def test_finer_cam_compares_with_at_most_all_other_classes() -> None:
    of = record_of(network_with(relu_head), images(3, 8))
    all_others = with_options(finer_cam, n_similar=N_CLASSES - 1)(of)
    assert torch.equal(with_options(finer_cam, n_similar=100)(of), all_others)


def test_finer_cam_against_one_class_agrees_with_pytorch_grad_cam() -> None:
    peer = pytest.importorskip("pytorch_grad_cam")
    net, batch = network_with(relu_head), images(3, 8)
    of = record_of(net, batch, torch.tensor([[2], [2], [2]]))
    ours = with_options(finer_cam, alpha=0.7, n_similar=1)(of)[:, 0]
    extractor = peer.FinerCAM(net, [net.get_submodule("features")])
    maps = maps_of_pytorch_grad_cam(
        extractor,
        lambda: extractor(batch, alpha=0.7, comparison_categories=[1], target_idx=2),
    )
    assert_correlated(ours, maps)


def test_finer_cam_agrees_with_torchcam() -> None:
    methods = pytest.importorskip("torchcam.methods")
    net, batch = network_with(relu_head), images(3, 8)
    of = record_of(net, batch, torch.tensor([[4], [1], [0]]))
    with methods.FinerCAM(net, "features", input_shape=(3, 8, 8)) as extractor:
        maps = extractor([4, 1, 0], net(batch), normalized=False)[0].detach()
    assert_correlated(finer_cam(of)[:, 0], maps)


def test_finer_cam_by_probability_is_the_gradient_of_the_authors_score() -> None:
    """Their score is sum_d p_d (y_c - alpha y_d) / sum_d p_d with p = softmax(y)."""
    net, batch = network_with(relu_head), images(2, 8)
    with torch.no_grad():  # so that the probabilities are far from equal
        net.get_submodule("head.5").weight *= 20
    of = record_of(net, batch, torch.tensor([[0, 3], [5, 5]]))
    maps = with_options(finer_cam, alpha=0.8, n_similar=3, weights="probability")(of)
    for b in range(2):
        for slot in range(2):
            own = int(of.classes[b, slot])
            row = of.activations[b : b + 1].clone().requires_grad_(True)
            y = net.get_submodule("head")(row)[0]
            near = (y - y[own]).abs().argsort()[1:4]
            p = y.softmax(0)[near]
            assert p.max() > 2 * p.min()
            score = (p * (y[own] - 0.8 * y[near])).sum() / p.sum()
            (slopes,) = torch.autograd.grad(score, row)
            expected = torch.einsum("c,chw->hw", slopes.mean((2, 3))[0], row.detach()[0]).relu()
            torch.testing.assert_close(maps[b, slot], expected, rtol=1e-3, atol=1e-5)


def test_finer_cam_by_probability_agrees_with_pytorch_grad_cam() -> None:
    peer = pytest.importorskip("pytorch_grad_cam")
    net, batch = network_with(relu_head), images(3, 8)
    of = record_of(net, batch, torch.tensor([[2], [2], [2]]))
    ours = with_options(finer_cam, alpha=0.7, weights="probability")(of)[:, 0]
    extractor = peer.FinerCAM(net, [net.get_submodule("features")])
    maps = maps_of_pytorch_grad_cam(extractor, lambda: extractor(batch, alpha=0.7, target_idx=2))
    assert_correlated(ours, maps)
