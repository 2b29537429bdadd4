"""The methods that ask the network again, against loops, closed forms and other libraries."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision import models

from wsol_bench.capture import BestClasses, Plan, Record, capture
from wsol_bench.capture.head import Head
from wsol_bench.errors import ConfigError
from wsol_bench.methods.ablation_cam import ablation_cam
from wsol_bench.methods.base import MapMethod, cam_methods
from wsol_bench.methods.is_cam import is_cam
from wsol_bench.methods.occlusion import occlusion
from wsol_bench.methods.rise import RandomMasks, rise
from wsol_bench.methods.score_cam import score_cam
from wsol_bench.methods.ss_cam import ss_cam
from wsol_bench.models.target_layers import Target, find_module, target_of

N_CLASSES = 6


def named(method: MapMethod) -> str:
    return method.name.partition("+")[0]


def with_options(method: MapMethod, **options: Any) -> MapMethod:
    return method.with_options(options, "test")


METHODS = [
    score_cam,
    with_options(ss_cam, samples=2),
    with_options(is_cam, steps=3),
    ablation_cam,
    with_options(rise, masks=20, cells=3),
    with_options(occlusion, window=4, stride=3),
]
LAYER_METHODS = METHODS[:4]


def images(n: int = 3, side: int = 10) -> Tensor:
    return torch.randn(n, 3, side, side + 2, generator=torch.Generator().manual_seed(3))


def record_of(net: nn.Module, batch: Tensor, classes: Tensor | None = None, k: int = 3) -> Record:
    target = (
        target_of(net) if type(net).__module__.startswith("torchvision") else Target("features")
    )
    return capture(
        net, batch, [target], Plan(), classes=BestClasses(k) if classes is None else classes
    )


class SmallNet(nn.Module):
    """A layer of half the input's size; a head that is no linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 7, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(7, 5, 3, padding=1),
            nn.SiLU(),
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 9), nn.GELU(),
            nn.Linear(9, N_CLASSES),
        )  # fmt: skip

    def forward(self, batch: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(batch))
        return logits


@cache
def small_net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        net = SmallNet().eval()
        with torch.no_grad():
            net.head[4].weight *= 5  # scores that tell masks apart
        return net


# ---- by hand: the layer is the image's red and green, a score is the sum of one of them

RED, GREEN = torch.tensor([[0.0, 4.0], [2.0, 2.0]]), torch.tensor([[3.0, 0.0], [0.0, 3.0]])
RED_AND_GREEN = torch.stack([RED, GREEN, torch.zeros(2, 2)])[None]


class Sums(nn.Module):
    """Logits (sum of red, sum of green), by a layer that is a 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(2, 3)[:, :, None, None])

    def forward(self, batch: Tensor) -> Tensor:
        return self.features(batch).sum((2, 3))


# Scores of the image under the masks red / 4 and green / 3.
SUM_OF_RED = ((4 * 4 + 2 * 2 + 2 * 2) / 4, 0 * 1 + 2 * 1)
SUM_OF_GREEN = (3 * 2 / 4, 3 + 3)


def by_softmax(first: float, second: float) -> Tensor:
    share = 1 / (1 + math.exp(second - first))
    return share * RED + (1 - share) * GREEN


def test_score_cam_by_hand() -> None:
    maps = score_cam(record_of(Sums(), RED_AND_GREEN, torch.tensor([[0, 1]])))[0]
    expected = torch.stack([by_softmax(*SUM_OF_RED), by_softmax(*SUM_OF_GREEN)])
    torch.testing.assert_close(maps, expected)


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_is_cam_by_hand(steps: int) -> None:
    """Scores are linear in the strength: 1/N sum_i i (i - 1) / 2N = binom(N + 1, 3) / N^2."""
    factor = math.comb(steps + 1, 3) / steps**2
    maps = with_options(is_cam, steps=steps)(
        record_of(Sums(), RED_AND_GREEN, torch.tensor([[0, 1]]))
    )[0]
    scaled = [[factor * score for score in scores] for scores in (SUM_OF_RED, SUM_OF_GREEN)]
    torch.testing.assert_close(maps, torch.stack([by_softmax(*scores) for scores in scaled]))


def test_noise_that_all_channels_have_cancels_where_scores_are_linear() -> None:
    of = record_of(Sums(), RED_AND_GREEN, torch.tensor([[0, 1]]))
    torch.testing.assert_close(ss_cam(of), score_cam(of), rtol=1e-4, atol=1e-5)


def test_ablation_cam_by_hand() -> None:
    """Without red its sum is 0, and green's as before: each channel is all of its own score."""
    maps = ablation_cam(record_of(Sums(), RED_AND_GREEN, torch.tensor([[1, 0]])))[0]
    torch.testing.assert_close(maps, torch.stack([GREEN, RED]))


# ---- by loops, one channel at a time through the plain network


def score_by_loops(
    net: nn.Module,
    image: Tensor,
    channels: Tensor,
    inputs_of: Callable[[Tensor], list[tuple[float, Tensor]]],
) -> Tensor:
    """Maps of all classes; ``inputs_of`` makes weighed masks of one channel's."""
    scores = []
    for channel in channels:
        mask = F.interpolate(channel[None, None], image.shape[1:], mode="bilinear")[0, 0]
        spread = float(mask.max() - mask.min())
        mask = (mask - mask.min()) / spread if spread else torch.zeros_like(mask)
        with torch.no_grad():
            scores.append(sum(w * net((m * image)[None])[0] for w, m in inputs_of(mask)))
    weights = torch.stack(scores).softmax(dim=0)
    total = torch.zeros(N_CLASSES, *channels.shape[1:])
    for weights_of_channel, channel in zip(weights, channels, strict=True):
        total += weights_of_channel[:, None, None] * channel
    return total.clamp(min=0)


def assert_by_loops(
    maps: Tensor, of: Record, inputs_of: Callable[[int, Tensor], list[tuple[float, Tensor]]]
) -> None:
    assert maps.any()
    for b, image in enumerate(of.probe.images):
        expected = score_by_loops(
            of.probe.model, image, of.activations[b], lambda mask, b=b: inputs_of(b, mask)
        )
        torch.testing.assert_close(maps[b], expected[of.classes[b]], rtol=1e-3, atol=1e-5)


def small_densenet() -> nn.Module:
    return models.DenseNet(8, (2, 2), 16, num_classes=N_CLASSES)


def vgg() -> nn.Module:
    net = models.vgg11(num_classes=N_CLASSES, init_weights=False)
    net.classifier = nn.Sequential(nn.Linear(25088, 16), nn.ReLU(True), nn.Linear(16, N_CLASSES))
    return net


def small_vit() -> nn.Module:
    vit = models.VisionTransformer(64, 16, 2, 2, 32, 64, num_classes=N_CLASSES)
    nn.init.normal_(vit.heads.head.weight)  # it is zero at first
    return vit


def small_swin() -> nn.Module:
    return models.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=N_CLASSES)


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: models.resnet18(num_classes=N_CLASSES),
    "vgg11": vgg,
    "densenet": small_densenet,
    "densenet121": lambda: models.densenet121(num_classes=N_CLASSES),
    "squeezenet1_1": lambda: models.squeezenet1_1(num_classes=N_CLASSES),
    "mobilenet_v2": lambda: models.mobilenet_v2(num_classes=N_CLASSES),
    "googlenet": lambda: models.googlenet(
        num_classes=N_CLASSES, aux_logits=False, init_weights=False, transform_input=True
    ),
    "convnext_tiny": lambda: models.convnext_tiny(num_classes=N_CLASSES),
    "vit": small_vit,
    "swin": small_swin,
}


@cache
def network(name: str) -> nn.Module:
    """With normalizations set to a batch, so that a signal comes through random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = BUILDERS[name]()
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None
        if norms:
            with torch.no_grad():
                net.train()(torch.randn(4, 3, 64, 64))
        return net.eval()


def square_images(n: int = 2, side: int = 64) -> Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(5))


# Layers of few channels: each costs the loops a pass.
LAYERS = {
    "resnet18": "layer1",
    "vgg11": "features.2",
    "densenet": None,
    "squeezenet1_1": "features.4",
}


def record_at(name: str, k: int = 2) -> Record:
    net = network(name)
    return capture(
        net,
        square_images(side=32),
        [target_of(net, layer=LAYERS[name])],
        Plan(),
        classes=BestClasses(k),
    )


@pytest.mark.parametrize("name", LAYERS)
def test_score_cam_is_what_loops_over_channels_give(name: str) -> None:
    of = record_at(name)
    assert_by_loops(score_cam(of), of, lambda b, mask: [(1.0, mask)])


def test_the_mask_is_resized_where_the_layer_is_smaller() -> None:
    of = record_of(small_net(), images())
    assert of.activations.shape[2:] == (5, 6)
    maps = score_cam(of)
    assert maps.shape == (3, 3, 5, 6)
    assert_by_loops(maps, of, lambda b, mask: [(1.0, mask)])


def test_ss_cam_averages_over_noisy_masks() -> None:
    of = record_of(small_net(), images())
    fields = {
        b: [torch.randn(10, 12, generator=generator) for _ in range(3)]
        for b, generator in enumerate(of.probe.noise(8))
    }
    maps = with_options(ss_cam, samples=3, noise=0.5, seed=8)(of)
    assert_by_loops(maps, of, lambda b, mask: [(1 / 3, mask + 0.5 * one) for one in fields[b]])


def test_ss_cam_without_noise_is_score_cam() -> None:
    of = record_of(small_net(), images())
    maps = with_options(ss_cam, samples=2, noise=0)(of)
    torch.testing.assert_close(maps, score_cam(of), rtol=1e-4, atol=1e-6)


def test_is_cam_averages_over_masks_of_growing_strength() -> None:
    def inputs_of(b: int, mask: Tensor) -> list[tuple[float, Tensor]]:
        sums = [sum(j / 4 for j in range(i)) for i in range(1, 5)]
        return [(1 / 4, strength * mask) for strength in sums]

    of = record_of(small_net(), images())
    assert_by_loops(with_options(is_cam, steps=4)(of), of, inputs_of)


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
def test_ablation_cam_is_what_whole_passes_without_a_channel_give(name: str) -> None:
    of = record_at(name) if name in LAYERS else record_of(residual(nn.Identity()), images())
    expected = ablated_by_whole_passes(of)
    tolerance = 1e-3 * float(expected.max())
    torch.testing.assert_close(ablation_cam(of), expected, rtol=1e-2, atol=tolerance)


@pytest.mark.parametrize("bias", [0.0, 9.0, -9.0])
def test_ablation_cam_of_a_pooled_linear_head_has_a_closed_form(bias: float) -> None:
    """The drop is w_k mean(A_k); the sign of the score does not turn the map."""
    net = network("resnet18")
    batch = square_images()
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


# ---- RISE


class Linear(nn.Module):
    """The probability of class 0 is ``sum(weights * image) + 0.1``."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 1, 1)
        self.weights = weights

    def forward(self, batch: Tensor) -> Tensor:
        self.features(batch)
        p = (batch * self.weights).sum((1, 2, 3)) + 0.1
        return torch.stack([p, 1 - p], dim=1).log()


def one_pixel(side: int = 12) -> tuple[nn.Module, Tensor]:
    """All that counts is the pixel (3, 4), which gives 0.8."""
    weights = torch.zeros(3, side, side)
    weights[0, 3, 4] = 0.8
    return Linear(weights), torch.ones(1, 3, side, side)


def test_rise_is_the_mean_of_masks_in_units_of_their_probability() -> None:
    """E[p(M X) M(q)] / p1 = 0.8 E[M(pixel) M(q)] / p1 + 0.1; far from the pixel, 0.8 p1 + 0.1."""
    net, batch = one_pixel()
    of = record_of(net, batch, torch.tensor([[0, 1]]))
    maps = with_options(rise, masks=20_000, cells=3, p1=0.3)(of)[0]
    assert maps.shape == (2, 12, 12)
    assert maps[0, 10, 10].item() == pytest.approx(0.8 * 0.3 + 0.1, abs=0.01)
    # Both probabilities add up to 1: E[M(q)] / p1.
    torch.testing.assert_close(maps.sum(0), torch.ones(12, 12), rtol=0, atol=0.03)
    masks = RandomMasks.draw(20_000, 3, 0.3, 12, 12, torch.Generator().manual_seed(77))
    second = masks.of(slice(0, 20_000))
    expected = 0.8 * (second * second[:, 3:4, 4:5]).mean(0) / 0.3 + 0.1
    torch.testing.assert_close(maps[0], expected, rtol=0, atol=0.03)


def test_rise_by_loops() -> None:
    net, batch = small_net(), images()
    of = record_of(net, batch)
    maps = with_options(rise, masks=37, cells=4, p1=0.4, seed=6)(of)
    for b, generator in enumerate(of.probe.noise(6)):
        masks = RandomMasks.draw(37, 4, 0.4, 10, 12, generator).of(slice(0, 37))
        total = torch.zeros(3, 10, 12)
        for mask in masks:
            with torch.no_grad():
                p = net((mask * batch[b])[None]).softmax(1)[0, of.classes[b]]
            total += p[:, None, None] * mask
        torch.testing.assert_close(maps[b], total / 37 / 0.4, rtol=1e-4, atol=1e-5)


def test_masks_are_those_of_the_authors_code_but_at_the_border() -> None:
    transform = pytest.importorskip("skimage.transform")
    height, width, cells = 50, 33, 4  # cells of 13 x 9 pixels
    masks = RandomMasks.draw(30, cells, 0.5, height, width, torch.Generator().manual_seed(1))
    assert masks.grids.shape == (30, 4, 4)
    for n, mask in enumerate(masks.of(slice(0, 30))):
        grid = masks.grids[n].numpy().astype("float32")
        size = ((cells + 1) * 13, (cells + 1) * 9)
        large = transform.resize(grid, size, order=1, mode="edge", anti_aliasing=False)
        top, left = int(masks.tops[n]), int(masks.lefts[n])
        expected = large[top : top + height, left : left + width]
        np.testing.assert_allclose(mask.numpy(), expected, rtol=0, atol=1e-5)


def test_statistics_of_masks() -> None:
    masks = RandomMasks.draw(4000, 5, 0.2, 23, 31, torch.Generator().manual_seed(0))
    drawn = masks.of(slice(0, 4000))
    assert drawn.shape == (4000, 23, 31)
    assert drawn.min() == 0
    assert 1 - 1e-6 < drawn.max() < 1 + 1e-6
    torch.testing.assert_close(drawn.mean(0), torch.full((23, 31), 0.2), rtol=0, atol=0.03)
    assert sorted(set(masks.tops.tolist())) == list(range(5))
    assert sorted(set(masks.lefts.tolist())) == list(range(7))
    assert torch.equal(masks.of(slice(7, 9)), drawn[7:9])


def test_a_mask_of_one_cell_hides_all_or_nothing() -> None:
    of = record_of(small_net(), images())
    p = of.logits.softmax(1).gather(1, of.classes)
    blind = small_net()(torch.zeros(1, 3, 10, 12)).softmax(1)[0].detach()[of.classes]
    maps = with_options(rise, masks=50, cells=1, p1=0.5)(of)
    share = maps / p[:, :, None, None] * 0.5
    assert (share.amax((1, 2, 3)) - share.amin((1, 2, 3))).max() < 1e-5
    assert (share * 50 - (share * 50).round()).abs().max() < 1e-3
    sure = with_options(rise, masks=3, cells=2, p1=1.0)(of)
    torch.testing.assert_close(sure, p[:, :, None, None].expand_as(sure))
    assert not torch.allclose(p, blind)


# ---- occlusion


@pytest.mark.parametrize(
    ("window", "stride"), [(4, 3), (3, 3), (1, 1), (5, 2), (11, 4), (50, 50)], ids=str
)
def test_occlusion_by_loops(window: int, stride: int) -> None:
    net, batch = small_net(), images(2)
    of = record_of(net, batch)
    maps = with_options(occlusion, window=window, stride=stride)(of)
    for b, image in enumerate(batch):
        total, count = torch.zeros(3, 10, 12), torch.zeros(10, 12)
        places = []
        for side in (10, 12):
            starts = [s for s in range(0, side, stride) if s + window <= side]
            end = max(side - window, 0)
            places.append(starts if starts and starts[-1] == end else [*starts, end])
        for top, left in itertools.product(*places):
            covered = image.clone()
            covered[:, top : top + window, left : left + window] = 0
            with torch.no_grad():
                both = net(torch.stack([image, covered])).softmax(1)[:, of.classes[b]]
            total[:, top : top + window, left : left + window] += (both[0] - both[1])[:, None, None]
            count[top : top + window, left : left + window] += 1
        assert (count > 0).all()
        torch.testing.assert_close(maps[b], total / count, rtol=1e-3, atol=1e-6)


def test_occlusion_of_one_pixel_by_hand() -> None:
    """Windows of 4 x 4 at multiples of 2 that cover (3, 4): rows 0 and 2, columns 2 and 4."""
    net, batch = one_pixel()
    of = record_of(net, batch, torch.tensor([[0, 1]]))
    maps = with_options(occlusion, window=4, stride=2)(of)[0]
    # Of the pairs of rows: 0, 1: one window, which covers; 2, 3: both do; 4, 5: one of two.
    of_rows = torch.tensor([1, 1, 1, 1, 0.5, 0.5, 0, 0, 0, 0, 0, 0])
    of_columns = torch.tensor([0, 0, 0.5, 0.5, 1, 1, 0.5, 0.5, 0, 0, 0, 0])
    expected = 0.8 * torch.outer(of_rows, of_columns)
    torch.testing.assert_close(maps, torch.stack([expected, -expected]), rtol=0, atol=1e-5)


def test_occlusion_sees_what_a_window_costs_a_class_that_is_almost_certain() -> None:
    class Sure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 1, 1)

        def forward(self, batch: Tensor) -> Tensor:
            self.features(batch)
            return torch.stack([20 + batch.mean((1, 2, 3)), torch.zeros(len(batch))], dim=1)

    of = record_of(Sure(), torch.ones(1, 3, 8, 8), torch.tensor([[0]]))
    maps = with_options(occlusion, window=4, stride=4)(of)
    expected = math.exp(-20.75) - math.exp(-21)
    torch.testing.assert_close(maps, torch.full((1, 1, 8, 8), expected), rtol=1e-3, atol=0)


def test_a_stride_beyond_the_window_is_an_error() -> None:
    of = record_of(small_net(), images())
    with pytest.raises(ConfigError, match="stride 5 is larger than window 4"):
        with_options(occlusion, window=4, stride=5)(of)


# ---- all of them


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_one_image_has_the_map_that_it_has_in_a_batch(method: MapMethod) -> None:
    net, batch = small_net(), images(20)
    maps = method(record_of(net, batch))
    assert maps.isfinite().all() and maps.any()
    for b in (0, 7, 19):
        alone = method(record_of(net, batch[b : b + 1]))[0]
        torch.testing.assert_close(maps[b], alone, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_slots_are_independent(method: MapMethod) -> None:
    net, batch = small_net(), images()
    maps = method(record_of(net, batch, torch.tensor([[0, 1, 2, 3]] * 3)))
    others = method(record_of(net, batch, torch.tensor([[3, 1], [1, 3], [2, 2]])))
    expected = torch.stack([maps[0, [3, 1]], maps[1, [1, 3]], maps[2, [2, 2]]])
    torch.testing.assert_close(others, expected, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(maps[:, 0], maps[:, 1], rtol=1e-3)


PASSES = {
    "score_cam": (5, 0),
    "ss_cam": (2 * 5, 0),
    "is_cam": ((3 - 1) * 5, 0),
    "ablation_cam": (1, 5),  # the pass that notes what runs before the layer
    "rise": (20, 0),
    "occlusion": (3 * 4, 0),
}


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("method", METHODS, ids=named)
def test_passes_do_not_depend_on_the_number_of_classes(method: MapMethod, k: int) -> None:
    of = record_of(small_net(), images(4), k=k)
    counted = []
    handle = of.probe.model.register_forward_pre_hook(
        lambda module, inputs: counted.append(len(inputs[0]))
    )
    with of.probe.metered() as cost:
        assert method(of).shape[1] == k
    handle.remove()
    forward, head = PASSES[named(method)]
    assert (cost.forward, cost.head, cost.backward) == (4 * forward, 4 * head, 0)
    assert sum(counted) == 4 * (forward + head)
    assert max(counted) <= 16


@pytest.mark.parametrize("method", [ss_cam, rise], ids=named)
def test_noise_depends_on_the_seed_and_the_image(method: MapMethod) -> None:
    few = {"samples": 2} if method is ss_cam else {"masks": 20}
    of = record_of(small_net(), images())
    first = with_options(method, **few)(of)
    assert torch.equal(with_options(method, **few, seed=0)(of), first)
    other = with_options(method, **few, seed=1)(of)
    assert ((other - first).abs().amax((1, 2, 3)) > 1e-3 * first.amax((1, 2, 3))).all()
    batch = images(1).expand(2, -1, -1, -1)
    twins = capture(
        small_net(),
        batch,
        [Target("features")],
        Plan(),
        classes=BestClasses(1),
        image_ids=["one", "two"],
    )
    maps = with_options(method, **few)(twins)
    assert not torch.allclose(maps[0], maps[1], rtol=1e-3)


@pytest.mark.parametrize("method", METHODS, ids=named)
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_activations_without_contrast_give_finite_maps(method: MapMethod, value: float) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = SmallNet().eval()
    last = net.features[2]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, value)
    maps = method(record_of(net, images()))
    assert maps.isfinite().all()
    assert value != 0 or method not in LAYER_METHODS or not maps.any()


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_an_image_that_is_not_finite_costs_no_other_its_map(method: MapMethod) -> None:
    net, batch = small_net(), images()
    expected = method(record_of(net, batch[1:], torch.tensor([[0], [1]])))
    batch[0, 0, 0, 0] = torch.nan
    maps = method(record_of(net, batch, torch.tensor([[0], [0], [1]])))
    torch.testing.assert_close(maps[1:], expected, rtol=1e-3, atol=1e-5)


class Sizes(TorchDispatchMode):
    """The largest tensor that comes to be."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.largest = max(self.largest, leaf.untyped_storage().nbytes() // 4)
        return result


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_no_more_masked_images_are_held_than_pass_at_once(method: MapMethod) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 400, 4, stride=16)
            self.fc = nn.Linear(400, 2)

        def forward(self, batch: Tensor) -> Tensor:
            return self.fc(self.features(batch).mean((2, 3)))

    of = record_of(Wide().eval(), torch.randn(2, 3, 64, 64), k=2)
    with Sizes() as sizes:
        method(of)
    assert sizes.largest <= 16 * 3 * 64 * 64  # 400 masks would be eight times as much


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_no_graph_is_kept(method: MapMethod) -> None:
    with torch.enable_grad():
        maps = method(record_of(small_net(), images(1)))
    assert not maps.requires_grad


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (ss_cam, {"samples": 0}),
        (ss_cam, {"noise": -1}),
        (is_cam, {"steps": 0}),
        (rise, {"masks": 0}),
        (rise, {"cells": 0}),
        (rise, {"p1": 0}),
        (rise, {"p1": 1.5}),
        (occlusion, {"window": 0}),
        (occlusion, {"stride": 0}),
        (score_cam, {"seed": 0}),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_options_out_of_range_are_errors(method: MapMethod, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        with_options(method, **options)


def test_all_are_registered_under_their_names() -> None:
    for method in (score_cam, ss_cam, is_cam, ablation_cam, rise, occlusion):
        assert cam_methods.get(method.name) is method
        assert method.paper
        assert not method.plan.gradients
        pixels = method in (rise, occlusion)
        assert (method.scope, method.classes) == (
            ("image", "label") if pixels else ("layer", "all")
        )


@pytest.mark.parametrize(("n_images", "size"), [(1, 16), (16, 16), (20, 20)])
def test_chunks_are_as_large_as_a_batch_or_as_16(n_images: int, size: int) -> None:
    probe = record_of(small_net(), images(n_images)).probe
    parts = list(probe.chunks(45, "numbers"))
    assert [number for part in parts for number in range(45)[part]] == list(range(45))
    assert [part.stop - part.start for part in parts[:-1]] == [size] * (len(parts) - 1)


# ---- the part behind the layer, alone

NETWORKS = [
    "resnet18", "vgg11", "densenet121", "squeezenet1_1", "mobilenet_v2", "googlenet", "vit",
    "swin", "convnext_tiny",
]  # fmt: skip
WITH_GRADIENTS = Plan(gradients=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_of_the_recorded_activations_is_the_network(name: str) -> None:
    net = network(name)
    of = capture(net, square_images(), [target_of(net)], WITH_GRADIENTS, classes=BestClasses(2))
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
def test_the_head_sees_the_activations_that_it_is_given(name: str) -> None:
    net, batch = network(name), square_images()
    of = capture(net, batch, [target_of(net)], Plan(), classes=BestClasses(1))
    other = capture(net, batch.flip(0), [target_of(net)], Plan(), classes=BestClasses(1))
    if name == "vit":  # other tokens, and the residual stream, stay those of the image
        changed = of.head(other.activations, torch.arange(2))
        assert (changed - of.logits).abs().max() > 1e-3
        return
    scores = of.head(other.activations, torch.arange(2))
    torch.testing.assert_close(scores, other.logits, rtol=1e-4, atol=1e-5)


def kept(head: Head) -> list[str]:
    """Modules whose outputs it holds."""
    names = {module: name for name, module in head._model.named_modules()}
    return [
        names[module]
        for module, calls in head._noted.items()
        if any(getattr(leaf, "value", None) is not None for leaf in tree_leaves(calls))
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_no_operation_takes_is_not_kept(name: str) -> None:
    net = network(name)
    head = Head(net, square_images(), target_of(net))
    residual = ["conv_proj", "encoder.layers.encoder_layer_0"]
    assert kept(head) == (residual if name == "vit" else [])


def test_neither_modules_before_the_layer_nor_the_layer_run_again() -> None:
    net = network("resnet18")
    of = record_of(net, square_images())
    ran = []
    handles = [
        net.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
        for name in ("layer1.0.conv1", "layer4.0.conv1", "fc")
    ]
    of.head(of.activations, torch.arange(2))
    assert ran == ["layer1.0.conv1", "layer4.0.conv1", "fc", "fc"]  # the pass that notes first
    ran.clear()
    of.head(of.activations, torch.arange(2))
    assert ran == ["fc"]
    for handle in handles:
        handle.remove()


class Residual(nn.Module):
    """What stands before the layer is added behind it, under several names."""

    def __init__(self, passing: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 3, padding=1)
        self.other = nn.Conv2d(3, 5, 1)
        self.passing = passing
        self.act = nn.ReLU()
        self.block = nn.Sequential(nn.Conv2d(5, 5, 1), self.act)
        self.features = nn.Sequential(nn.Conv2d(5, 5, 1), self.act)
        self.fc = nn.Linear(5, N_CLASSES)

    def forward(self, batch: Tensor) -> Tensor:
        stem, other = self.stem(batch), self.other(batch)
        other += 0.5
        passed = self.passing(stem)
        block = self.act(self.block(passed)) - 1
        features = self.features(block)
        features += 1
        total = self.act(features + 2 * stem + 3 * passed + block + other)
        return self.fc(total.mean((2, 3)))


def residual(passing: nn.Module) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Residual(passing).eval()


@pytest.mark.parametrize("passing", [nn.Identity(), nn.Dropout(), nn.ReLU(inplace=True)], ids=str)
def test_a_residual_stream_around_the_layer_is_replayed(passing: nn.Module) -> None:
    """Modules that return their input, that run within others, and that run behind the layer."""
    net = residual(passing)
    of = record_of(net, images())
    order = torch.tensor([2, 0, 1, 2])
    torch.testing.assert_close(of.head(of.activations[order], order), of.logits[order])
    activations = of.activations.clone()
    of.head(activations, torch.arange(3))
    assert torch.equal(activations, of.activations)  # though the network works in place on them

    class Without(nn.Module):
        def forward(self, *args: Any) -> Tensor:
            return torch.zeros_like(of.activations)

    scores = of.head(torch.zeros_like(of.activations), torch.arange(3))
    net.features = Without()
    torch.testing.assert_close(scores, net(images()).detach())


@contextmanager
def traceless(net: nn.Module) -> Iterator[None]:
    def state() -> list[Any]:
        return [
            [(module.training, sorted(vars(module))) for module in net.modules()],
            [len(v) for m in net.modules() for key, v in vars(m).items() if key.endswith("_hooks")],
            [(p.requires_grad, p.grad, p._version) for p in net.parameters()],
            [(buffer._version) for buffer in net.buffers()],
            torch.is_grad_enabled(),
            torch.overrides._get_current_function_mode_stack(),
        ]

    before = state()
    yield
    assert state() == before


def fail(*_: Any) -> None:
    raise RuntimeError("out of luck")


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_the_model_is_left_as_found(method: MapMethod) -> None:
    net = models.DenseNet(8, (2, 2), 16, num_classes=N_CLASSES)
    of = record_of(net.train(), square_images(side=32), k=2)
    with traceless(net):
        method(of)


@pytest.mark.parametrize("where", ["features.conv0", "features", "classifier"])
@pytest.mark.parametrize("method", METHODS, ids=named)
def test_the_model_is_left_as_found_also_where_it_fails(method: MapMethod, where: str) -> None:
    net = models.DenseNet(8, (2, 2), 16, num_classes=N_CLASSES)
    of = record_of(net.train(), square_images(side=32), k=2)
    net.get_submodule(where).register_forward_hook(fail)
    with traceless(net), pytest.raises(RuntimeError, match="out of luck"):
        method(of)


def test_the_model_is_left_as_found_where_its_head_fails_later() -> None:
    """In a replay, with the modules' own forwards replaced."""
    net = models.DenseNet(8, (2, 2), 16, num_classes=N_CLASSES).train()
    of = record_of(net, square_images(side=32))
    of.head(of.activations, torch.arange(2))
    net.classifier.register_forward_hook(fail)
    with traceless(net), pytest.raises(RuntimeError, match="out of luck"):
        of.head(of.activations, torch.arange(2))


# ---- other libraries, where the layer has the input's size: they differ in how masks are resized


@cache
def full_size_net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = SmallNet().eval()
        net.features[0].stride = (1, 1)
        return net


def test_score_cam_agrees_with_torchcam() -> None:
    methods = pytest.importorskip("torchcam.methods")
    net, batch = full_size_net(), images()
    of = record_of(net, batch, torch.tensor([[4], [1], [0]]))
    with methods.ScoreCAM(net, "features", input_shape=(3, 10, 12)) as extractor:
        maps = extractor([4, 1, 0], net(batch), normalized=False)[0].detach()
    torch.testing.assert_close(score_cam(of)[:, 0], maps.relu(), rtol=1e-3, atol=1e-5)


def test_score_cam_agrees_with_pytorch_grad_cam() -> None:
    peer = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    net, batch = full_size_net(), images()
    of = record_of(net, batch, torch.tensor([[4], [1], [0]]))
    wanted = [targets.ClassifierOutputTarget(c) for c in (4, 1, 0)]
    extractor = peer.ScoreCAM(net, [net.features])
    weights = extractor.get_cam_weights(batch, None, wanted, of.activations.numpy(), None)
    extractor.activations_and_grads.release()
    maps = torch.einsum("bc,bchw->bhw", torch.from_numpy(weights), of.activations).relu()
    torch.testing.assert_close(score_cam(of)[:, 0], maps, rtol=1e-3, atol=1e-5)


def test_ablation_cam_agrees_with_pytorch_grad_cam_for_positive_scores() -> None:
    peer = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = SmallNet().eval()
    net.features[3] = nn.ReLU()  # below zero, it erases by another value
    nn.init.constant_(net.head[4].bias, 2.0)
    of = record_of(net, images(), torch.tensor([[4], [1], [0]]))
    assert (of.logits.gather(1, of.classes) > 0).all()
    wanted = [targets.ClassifierOutputTarget(c) for c in (4, 1, 0)]
    extractor = peer.AblationCAM(net, [net.features])
    weights = extractor.get_cam_weights(
        images(), net.features, wanted, of.activations.numpy(), None
    )
    extractor.activations_and_grads.release()
    maps = torch.einsum("bc,bchw->bhw", torch.from_numpy(weights), of.activations).relu()
    torch.testing.assert_close(ablation_cam(of)[:, 0], maps, rtol=1e-3, atol=1e-5)
