"""The methods that weigh activations by gradients, against hand-solved maps, networks and peers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from wsol_bench.capture import BestClasses, Layer, Plan, Record, capture
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.base import MapMethod, cam_methods
from wsol_bench.methods.cam import cam
from wsol_bench.methods.eigen_cam import eigen_cam
from wsol_bench.methods.eigen_grad_cam import eigen_grad_cam
from wsol_bench.methods.elementwise_grad_cam import elementwise_grad_cam
from wsol_bench.methods.finer_cam import finer_cam
from wsol_bench.methods.full_grad import full_grad, spatial_bias
from wsol_bench.methods.grad_cam import grad_cam
from wsol_bench.methods.grad_cam_pp import grad_cam_pp
from wsol_bench.methods.grad_cam_pp_authors import grad_cam_pp_authors
from wsol_bench.methods.hires_cam import hires_cam
from wsol_bench.methods.layer_cam import layer_cam
from wsol_bench.methods.localization_maps import localization_maps
from wsol_bench.methods.shapley_cam import shapley_cam
from wsol_bench.methods.smooth_grad_cam_pp import smooth_grad_cam_pp
from wsol_bench.methods.xgrad_cam import xgrad_cam
from wsol_bench.models.target_layers import Target, target_of

N_CLASSES = 7
GRADIENTS = Plan(gradients=True)

OF_ONE_RECORD = [
    grad_cam_pp, grad_cam_pp_authors, xgrad_cam, layer_cam, hires_cam, elementwise_grad_cam,
    eigen_cam, eigen_grad_cam,
]  # fmt: skip
OF_A_NETWORK = [shapley_cam, finer_cam, smooth_grad_cam_pp, full_grad]


def named(method: MapMethod) -> str:
    return method.name


def with_options(method: MapMethod, **options: Any) -> MapMethod:
    return method.with_options(options, "test")


# ---- by hand: two channels over 2 x 2 positions, one image, two classes

ACTIVATIONS = torch.tensor([[[[1.0, 0.0], [2.0, 4.0]], [[3.0, 1.0], [0.0, 2.0]]]])  # sums: 7 and 6
SLOPES = torch.tensor(
    [
        [
            [[[1.0, 0.0], [0.0, -1.0]], [[2.0, 0.0], [0.5, 0.0]]],
            [[[-1.0, 2.0], [1.0, 0.5]], [[1.0, -1.0], [1.0, -2.0]]],
        ]
    ]
)


def record(activations: Tensor = ACTIVATIONS, gradients: Tensor | None = SLOPES) -> Record:
    batch, slots = activations.shape[0], 2 if gradients is None else gradients.shape[1]
    return Record(
        logits=torch.zeros(batch, slots),
        classes=torch.arange(slots).expand(batch, -1),
        layers=(Layer("x", activations, gradients),),
    )


def assert_maps(maps: Tensor, *expected: list[list[float]]) -> None:
    torch.testing.assert_close(maps[0, : len(expected)], torch.tensor(expected).float())


def weighted(first: float, second: float) -> list[list[float]]:
    return (first * ACTIVATIONS[0, 0] + second * ACTIVATIONS[0, 1]).relu().tolist()


def test_grad_cam_pp_weighs_each_positive_gradient_by_its_own_coefficient() -> None:
    """alpha = 1 / (2 + S g): 1/9 for g = 1, S = 7; 1/14 and 1/5 for g = 2 and 1/2, S = 6."""
    assert_maps(grad_cam_pp(record()), weighted(1 / 9, 2 / 14 + 0.5 / 5))


def test_the_authors_divide_by_the_coefficients_of_positive_gradients() -> None:
    """The only one in channel 0; the mean of 2 and 1/2, weighed 1/14 to 1/5, in channel 1."""
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


def test_layer_cam_weighs_each_position_by_its_positive_gradient() -> None:
    assert_maps(layer_cam(record()), [[1 + 6, 0], [0, 0]], [[3, 0], [2, 2]])


def test_hires_cam_sums_contributions_before_it_rectifies() -> None:
    assert_maps(hires_cam(record()), [[1 + 6, 0], [0, 0]], [[-1 + 3, 0], [2, 0]])


def test_elementwise_grad_cam_rectifies_each_contribution() -> None:
    activations = torch.tensor([[[[-1.0, 2.0]], [[3.0, 1.0]]]])
    slopes = torch.tensor([[[[[-4.0, 1.0]], [[2.0, -5.0]]]]])
    assert elementwise_grad_cam(record(activations, slopes)).tolist() == [[[[4 + 6, 2]]]]
    # Where the activation is negative, LayerCAM differs: neither its gradient counts.
    assert layer_cam(record(activations, slopes)).tolist() == [[[[6, 2]]]]


# ---- LayerCAM of several stages


def stage(maps: Tensor) -> Layer:
    """A layer whose LayerCAM is ``maps`` (h, w)."""
    return Layer("x", maps[None, None], torch.ones(1, 1, 1, *maps.shape))


def at_positions(side: int, values: dict[tuple[int, int], float]) -> Tensor:
    maps = torch.zeros(side, side)
    for position, value in values.items():
        maps[position] = value
    return maps


STAGES = (
    stage(at_positions(6, {(0, 5): 8.0, (5, 0): 2.0})),  # three times as fine: shallow
    stage(at_positions(4, {(3, 3): 10.0})),
    stage(torch.tensor([[4.0, 0.0], [0.0, 2.0]])),
    stage(torch.ones(1, 1)),  # behind it: no part of its fusion
)


def test_fused_layer_cam_is_the_maximum_of_the_stages_in_units_of_theirs() -> None:
    """Only the shallow stage is scaled. The corners of a resized map are those of the map."""
    of_stages = Record(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long), STAGES, at=2)
    maps = with_options(layer_cam, fused=True)(of_stages)
    assert maps.shape == (1, 1, 6, 6)
    corners = maps[0, 0, [0, 0, 5, 5], [0, 5, 0, 5]]
    one, quarter = np.tanh(2 * 1), np.tanh(2 / 4)
    torch.testing.assert_close(corners, torch.tensor([1, one, quarter, 1]).float())
    # Between the own map's 1 and 0: bilinear, 1.5 of 6 positions are 0.5 of 2.
    assert maps[0, 0, 0, 2].item() == pytest.approx(1 - (2.5 / 3 - 0.5))


def test_the_scale_of_shallow_stages_is_an_option() -> None:
    of_stages = Record(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long), STAGES, at=2)
    maps = with_options(layer_cam, fused=True, gamma=1)(of_stages)
    assert maps[0, 0, 0, 5].item() == pytest.approx(np.tanh(1))


def test_shapley_cam_says_so_where_there_is_no_second_derivative() -> None:
    net = models.mobilenet_v3_small(num_classes=4).eval()
    with pytest.raises(NotApplicableError, match=r"no second derivative.*hardsigmoid"):
        localization_maps(net, images(1), "shapley_cam", layer="features.9")


def test_the_first_layer_is_fused_with_itself_alone() -> None:
    of_stages = Record(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long), STAGES, at=0)
    maps = with_options(layer_cam, fused=True)(of_stages)
    torch.testing.assert_close(maps, layer_cam(of_stages) / 8)


def test_a_stage_without_a_positive_gradient_adds_nothing() -> None:
    silent = (stage(torch.zeros(6, 6)), STAGES[2])
    of_stages = Record(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long), silent, at=1)
    expected = F.interpolate(layer_cam(of_stages) / 4, (6, 6), mode="bilinear")
    assert torch.equal(with_options(layer_cam, fused=True)(of_stages), expected)


# ---- principal components


def test_eigen_cam_of_proportional_channels_is_their_common_map() -> None:
    """Channels 3 u and 4 u: v = (3, 4) / 5, O v = 5 u; for all classes."""
    u = ACTIVATIONS[:, :1]
    maps = eigen_cam(record(torch.cat([3 * u, 4 * u], dim=1)))
    torch.testing.assert_close(maps, 5 * u.expand(1, 2, 2, 2))


def by_full_svd(channels: Tensor, centered: bool) -> np.ndarray[Any, Any]:
    """First left singular vector times its value, (c, h, w) to (h, w), of either sign."""
    rows = channels.flatten(1).T.double().numpy()
    rows = rows - rows.mean(axis=0) if centered else rows
    left, values, _ = np.linalg.svd(rows, full_matrices=False)
    first = left[:, 0] * values[0]
    first = first if (first * rows.sum(axis=1)).sum() > 0 else -first
    return first.reshape(channels.shape[1:])


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("n_channels", [5, 40], ids=["fewer channels", "fewer positions"])
def test_the_gram_matrix_gives_what_a_full_svd_gives(n_channels: int, centered: bool) -> None:
    draw = torch.Generator().manual_seed(3)
    activations = torch.randn(2, n_channels, 3, 4, generator=draw) + 0.3
    slopes = torch.randn(2, 3, n_channels, 3, 4, generator=draw) * 1e-7
    of = record(activations, slopes)
    for b in range(2):
        expected = torch.from_numpy(by_full_svd(activations[b], centered)).float()
        maps = with_options(eigen_cam, centered=centered)(of)
        torch.testing.assert_close(maps[b], expected.expand(3, 3, 4), rtol=0, atol=1e-4)
        for slot in range(3):
            product = slopes[b, slot] * activations[b]
            expected = torch.from_numpy(by_full_svd(product, centered)).float()
            maps = with_options(eigen_grad_cam, centered=centered)(of)
            torch.testing.assert_close(maps[b, slot], expected, rtol=0, atol=1e-11)


def test_eigen_cam_is_positive_behind_a_relu() -> None:
    """Also where its correlation with the mean activation is negative."""
    activations = torch.rand(8, 30, 3, 3, generator=torch.Generator().manual_seed(0))
    assert (eigen_cam(record(activations, None)) > 0).all()
    # One strong, almost flat channel; many weak ones that vary against it.
    flat, weak = torch.tensor([[[10.0, 10.5]]]), torch.tensor([[[0.1, 0.0]]]).expand(20, 1, 2)
    maps = eigen_cam(record(torch.cat([flat, weak])[None], None))[0, 0, 0]
    assert maps.min() > 0
    assert maps[1] > maps[0]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("method", [eigen_cam, eigen_grad_cam], ids=named)
def test_an_image_that_is_not_finite_costs_no_other_its_map(
    method: MapMethod, value: float
) -> None:
    draw = torch.Generator().manual_seed(1)
    activations, slopes = (
        torch.randn(2, 3, 2, 2, generator=draw),
        torch.randn(2, 2, 3, 2, 2, generator=draw),
    )
    alone = method(record(activations[1:], slopes[1:]))
    activations[0, 0, 0, 0] = value
    maps = method(record(activations, slopes))
    assert maps[0].isnan().all()
    torch.testing.assert_close(maps[1:], alone)


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


# ---- on networks


class SmallNet(nn.Module):
    """Two convolutions, then a head; its layer ends in a ReLU that does not work in place."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 10, 3, padding=1),
            nn.ReLU(),
        )
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits


def gap_head() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, N_CLASSES))


def relu_head() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(10, 6, 3), nn.ReLU(True), nn.Flatten(), nn.Linear(6 * 4, 9), nn.ReLU(True),
        nn.Linear(9, N_CLASSES),
    )  # fmt: skip


def smooth_head() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(10, 6, 3), nn.SiLU(), nn.Flatten(), nn.Linear(6 * 4, 9), nn.GELU(),
        nn.Linear(9, N_CLASSES),
    )  # fmt: skip


HEADS = [gap_head, relu_head, smooth_head]


def network(head: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        net = SmallNet(head())
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
                assert module.running_mean is not None
                nn.init.normal_(module.running_mean)
        return net.eval()


def images(n: int = 3) -> Tensor:
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(11))


def record_of(net: nn.Module, batch: Tensor, classes: Tensor | None = None) -> Record:
    head = "head.2" if isinstance(net.get_submodule("head.0"), nn.AdaptiveAvgPool2d) else None
    return capture(
        net,
        batch,
        [Target("features", head=head)],
        GRADIENTS,
        classes=BestClasses(3) if classes is None else classes,
    )


def in_units_of_its_maximum(maps: Tensor) -> Tensor:
    maxima = maps.amax((2, 3), keepdim=True)
    assert (maxima > 0).any()
    return maps / maxima.clamp(min=1e-30)


@pytest.mark.parametrize("method", [hires_cam, xgrad_cam, shapley_cam], ids=named)
def test_on_a_gap_network_these_are_grad_cam_and_cam(method: MapMethod) -> None:
    of = record_of(network(gap_head), images())
    torch.testing.assert_close(method(of), grad_cam(of), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(method(of) * 16, cam(of).relu(), rtol=1e-4, atol=1e-5)


def test_on_a_gap_network_the_authors_weights_are_the_positive_gradients() -> None:
    of = record_of(network(gap_head), images())
    positive = torch.einsum("bkc,bchw->bkhw", of.class_weights.relu(), of.activations)
    torch.testing.assert_close(grad_cam_pp_authors(of) * 16, positive, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer_cam(of) * 16, positive, rtol=1e-4, atol=1e-5)


def test_shapley_cam_is_grad_cam_where_the_network_is_piecewise_linear() -> None:
    of = record_of(network(relu_head), images())
    assert grad_cam(of).any()
    torch.testing.assert_close(shapley_cam(of), grad_cam(of), rtol=1e-4, atol=1e-6)


def test_shapley_cam_subtracts_half_of_the_hessian_times_the_activations() -> None:
    net, batch = network(smooth_head), images(2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 2  # away from where SiLU and GELU are almost linear
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=N_CLASSES).eval()
        nn.init.normal_(net.heads.head.weight)
    batch = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    of = capture(net, batch, [target_of(net)], GRADIENTS)
    maps = shapley_cam(of)
    assert maps.isfinite().all()
    assert (maps - grad_cam(of)).abs().max() > 1e-3 * maps.max()


def test_finer_cam_compares_a_class_with_those_of_the_nearest_scores() -> None:
    """On a GAP network: CAM of the weights w_c - alpha mean_d w_d."""
    net, batch = network(gap_head), images(2)
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
    of = record_of(network(relu_head), images())
    assert_close = torch.testing.assert_close
    assert_close(with_options(finer_cam, alpha=0)(of), grad_cam(of), rtol=1e-4, atol=1e-6)


def test_finer_cam_compares_with_all_other_classes_at_most() -> None:
    of = record_of(network(relu_head), images())
    all_others = with_options(finer_cam, n_similar=N_CLASSES - 1)(of)
    assert torch.equal(with_options(finer_cam, n_similar=100)(of), all_others)


@pytest.mark.parametrize("method", [shapley_cam, finer_cam], ids=named)
def test_the_head_of_a_layer_that_is_not_the_first_is_asked(method: MapMethod) -> None:
    net, batch = network(relu_head), images()
    both = capture(
        net, batch, [Target("features.2"), Target("features")], GRADIENTS, classes=BestClasses(3)
    )
    maps = method(both.at_layer(1))
    torch.testing.assert_close(maps, method(record_of(net, batch)), rtol=1e-4, atol=1e-6)
    assert method(both.at_layer(0)).shape == (3, 3, 8, 8)


@pytest.mark.parametrize("method", OF_A_NETWORK, ids=named)
@pytest.mark.parametrize("head", HEADS)
def test_frozen_parameters_change_nothing(method: MapMethod, head: Any) -> None:
    net, batch = network(head), images(2)
    expected = method(record_of(net, batch))
    maps = method(record_of(net.requires_grad_(False), batch))
    assert maps.isfinite().all() and maps.any()
    assert not maps.requires_grad
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", OF_A_NETWORK, ids=named)
def test_one_image_has_the_map_that_it_has_in_a_batch(method: MapMethod) -> None:
    net, batch = network(smooth_head), images()
    maps = method(record_of(net, batch))
    alone = torch.cat([method(record_of(net, image[None])) for image in batch])
    torch.testing.assert_close(maps, alone, rtol=1e-3, atol=1e-5 * float(alone.abs().max()))


@pytest.mark.parametrize("method", OF_A_NETWORK, ids=named)
def test_a_network_that_ignores_its_layer_has_zero_maps(method: MapMethod) -> None:
    net = network(relu_head)
    last = net.get_submodule("head.5")
    nn.init.zeros_(last.weight)
    assert not method(record_of(net, images())).any()


# ---- Smooth Grad-CAM++


def test_smooth_grad_cam_pp_without_noise_is_grad_cam_pp() -> None:
    of = record_of(network(relu_head), images())
    maps = with_options(smooth_grad_cam_pp, samples=3, noise=0)(of)
    torch.testing.assert_close(maps, grad_cam_pp(of), rtol=1e-4, atol=1e-7)


def test_smooth_grad_cam_pp_averages_powers_of_the_gradients_over_noisy_images() -> None:
    net, batch = network(smooth_head), images(2)
    of = record_of(net, batch)
    generators = of.probe.noise(7)
    spread = torch.stack([0.5 * (image.max() - image.min()) for image in batch])
    slopes = []
    for _ in range(2):
        noise = torch.stack([torch.randn(3, 8, 8, generator=one) for one in generators])
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
    of = record_of(network(relu_head), images())
    few = with_options(smooth_grad_cam_pp, samples=2)
    assert torch.equal(few(of), few(of))
    other = with_options(smooth_grad_cam_pp, samples=2, seed=1)(of)
    assert not torch.allclose(few(of), other, rtol=1e-2)


# ---- FullGrad


@pytest.mark.parametrize("head", [gap_head, relu_head])
def test_gradients_of_input_and_biases_add_up_to_the_score(head: Any) -> None:
    """The completeness of the decomposition (eq. 4), linear layers' biases included."""
    net, batch = network(head), images(2)
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
    net, batch = network(relu_head), images(2)
    of = record_of(net, batch)
    maps = full_grad(of)
    assert maps.shape == (2, 3, 8, 8)

    def psi(product: Tensor) -> Tensor:
        size = product.abs() - product.abs().min()
        return size / size.max()

    names = ["features.0", "features.1", "features.4", "head.0"]
    found = of.probe.gradients_at(names, of.classes)
    pixels = of.probe.pixel_gradients(of.classes)
    for b in range(2):
        for slot in range(3):
            expected = psi(pixels[b, slot] * batch[b]).sum(0)
            for name in names:
                bias = spatial_bias(net.get_submodule(name))
                assert bias is not None
                of_layer = psi(found[name][1][b, slot] * bias[:, None, None])
                resized = F.interpolate(of_layer[None], (8, 8), mode="bilinear", align_corners=True)
                expected = expected + resized[0].sum(0)
            torch.testing.assert_close(maps[b, slot], expected, rtol=1e-4, atol=1e-4)


def test_what_a_module_adds_to_each_channel() -> None:
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
    net, batch = network(relu_head), images(2)
    of = record_of(net, batch)
    expected = full_grad(of)
    with torch.no_grad():
        net.get_submodule("head.5").weight *= 1e-6
    torch.testing.assert_close(
        full_grad(record_of(net, batch, of.classes)), expected, rtol=1e-3, atol=1e-3
    )


# ---- other libraries


def maps_of_pytorch_grad_cam(extractor: Any, call: Callable[[], Any]) -> Tensor:
    """Maps before it resizes and scales them, cut at zero as it then does."""
    base = getattr(extractor, "base_cam", extractor)
    found, own = [], base.get_cam_image

    def noted(*args: Any) -> Any:
        found.append(own(*args))
        return found[-1]

    base.get_cam_image = noted
    call()
    return torch.as_tensor(np.asarray(found[0])).relu()


def assert_correlated(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    for one, other in zip(ours.flatten(1), theirs.flatten(1), strict=True):
        assert bool(one.any()) == bool(other.any())
        if one.any():
            assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.9999


@pytest.mark.parametrize(
    ("ours", "theirs"),
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
def test_agrees_with_pytorch_grad_cam(ours: MapMethod, theirs: str, head: Any) -> None:
    peer = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    net, batch = network(head), images()
    with torch.no_grad():
        net.get_submodule("head.5").weight *= 100  # its epsilon beside g^2 then does not count
    of = record_of(net, batch)
    extractor = getattr(peer, theirs)(net, [net.get_submodule("features")])
    for slot in range(3):
        wanted = [targets.ClassifierOutputTarget(int(c)) for c in of.classes[:, slot]]
        maps = maps_of_pytorch_grad_cam(extractor, lambda wanted=wanted: extractor(batch, wanted))
        assert_correlated(ours(of)[:, slot], maps)
    extractor.activations_and_grads.release()


@pytest.mark.parametrize(
    ("ours", "theirs"), [(eigen_cam, "EigenCAM"), (eigen_grad_cam, "EigenGradCAM")]
)
def test_centered_components_are_those_of_pytorch_grad_cam(ours: MapMethod, theirs: str) -> None:
    """Up to the sign, which it leaves to the decomposition."""
    svd = pytest.importorskip("pytorch_grad_cam.utils.svd_on_activations")
    of = record_of(network(relu_head), images())
    products = of.gradients[:, 0] * of.activations
    channels = of.activations if ours is eigen_cam else products
    maps = torch.from_numpy(svd.get_2d_projection(channels.numpy()))
    found = with_options(ours, centered=True)(of)[:, 0]
    signs = (maps * found).sum((1, 2), keepdim=True).sign()
    assert_correlated(found, maps * signs)


def test_finer_cam_against_one_class_agrees_with_pytorch_grad_cam() -> None:
    peer = pytest.importorskip("pytorch_grad_cam")
    net, batch = network(relu_head), images()
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
    net, batch = network(relu_head), images()
    of = record_of(net, batch, torch.tensor([[4], [1], [0]]))
    with methods.FinerCAM(net, "features", input_shape=(3, 8, 8)) as extractor:
        maps = extractor([4, 1, 0], net(batch), normalized=False)[0].detach()
    assert_correlated(finer_cam(of)[:, 0], maps)


def test_all_are_registered_under_their_names() -> None:
    for method in [*OF_ONE_RECORD, *OF_A_NETWORK]:
        assert cam_methods.get(method.name) is method
        assert method.paper
    assert (full_grad.scope, full_grad.classes) == ("image", "label")


@pytest.mark.parametrize(("at", "layer"), [(0, "features.2"), (1, "features")])
def test_maps_are_made_of_the_records_own_layer(at: int, layer: str) -> None:
    """Of several layers, with gradients at the same one."""
    net, batch = network(relu_head), images(2)
    both = capture(
        net, batch, [Target("features.2"), Target("features")], GRADIENTS, classes=BestClasses(2)
    )
    alone = capture(net, batch, [Target(layer)], GRADIENTS, classes=both.classes)
    for method in [*OF_ONE_RECORD, with_options(smooth_grad_cam_pp, samples=2)]:
        torch.testing.assert_close(
            method(both.at_layer(at)), method(alone), rtol=1e-3, atol=1e-6, msg=method.name
        )
