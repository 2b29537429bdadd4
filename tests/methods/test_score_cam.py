"""Score-CAM, SS-CAM and IS-CAM against hand-solved maps, loops over channels and libraries."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import author_maps
import pytest
import torch
import torch.nn.functional as F
from map_methods import with_options
from masked_networks import GREEN, LAYERS, RED, RED_AND_GREEN, SIZE, Sums, record_at, record_of
from networks import N_CLASSES, curved_net, images
from torch import Tensor, nn

from wsol_bench.capture import Record
from wsol_bench.methods.is_cam import is_cam
from wsol_bench.methods.score_cam import score_cam
from wsol_bench.methods.score_cam_authors import score_cam_authors
from wsol_bench.methods.ss_cam import ss_cam
from wsol_bench.models.target_layers import find_module

# The scores of the image under the masks red / 4 and green / 3.
SUM_OF_RED = ((4 * 4 + 2 * 2 + 2 * 2) / 4, 0 * 1 + 2 * 1)

SUM_OF_GREEN = (3 * 2 / 4, 3 + 3)


def by_softmax(first: float, second: float) -> Tensor:
    share = 1 / (1 + math.exp(second - first))
    return share * RED + (1 - share) * GREEN


def test_channels_are_weighted_by_their_share_of_the_score() -> None:
    maps = score_cam(record_of(Sums(), RED_AND_GREEN, torch.tensor([[0, 1]])))[0]
    expected = torch.stack([by_softmax(*SUM_OF_RED), by_softmax(*SUM_OF_GREEN)])
    torch.testing.assert_close(maps, expected)


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_linear_scores_of_is_cam_are_a_fraction_of_score_cams(steps: int) -> None:
    """Scores are linear in the strength: 1/N sum_i i (i - 1) / 2N = binom(N + 1, 3) / N^2."""
    factor = math.comb(steps + 1, 3) / steps**2
    maps = with_options(is_cam, steps=steps)(
        record_of(Sums(), RED_AND_GREEN, torch.tensor([[0, 1]]))
    )[0]
    scaled = [[factor * score for score in scores] for scores in (SUM_OF_RED, SUM_OF_GREEN)]
    torch.testing.assert_close(maps, torch.stack([by_softmax(*scores) for scores in scaled]))


def test_noise_shared_by_all_channels_cancels_if_scores_are_linear() -> None:
    of = record_of(Sums(), RED_AND_GREEN, torch.tensor([[0, 1]]))
    torch.testing.assert_close(ss_cam(of), score_cam(of), rtol=1e-4, atol=1e-5)


def test_the_authors_weigh_a_channel_by_the_probability_of_its_image_alone() -> None:
    """The logits (sum of red, sum of green) are (6, 1.5) under the red mask, else (2, 6)."""
    maps = score_cam_authors(record_of(Sums(), RED_AND_GREEN, torch.tensor([[0, 1]])))[0]
    of_red = [1 / (1 + math.exp(1.5 - 6)), 1 / (1 + math.exp(6 - 2))]
    expected = [
        of_red[0] * RED + of_red[1] * GREEN,
        (1 - of_red[0]) * RED + (1 - of_red[1]) * GREEN,
    ]
    torch.testing.assert_close(maps, torch.stack(expected))


def test_the_authors_leave_out_a_constant_channel() -> None:
    """A channel of 7 everywhere: Algorithm 1 gives it the weight of a black image."""

    class WithConstant(Sums):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 3, 1)
            with torch.no_grad():
                self.features.weight.copy_(torch.diag(torch.tensor([1.0, 1, 0]))[:, :, None, None])
                self.features.bias.copy_(torch.tensor([0.0, 0.0, 7.0]))

        def forward(self, batch: Tensor) -> Tensor:
            return self.features(batch)[:, :2].sum((2, 3))

    of = record_of(WithConstant(), RED_AND_GREEN, torch.tensor([[0, 1]]))
    assert (of.activations[0, 2] == 7).all()
    without = record_of(Sums(), RED_AND_GREEN, torch.tensor([[0, 1]]))
    torch.testing.assert_close(score_cam_authors(of), score_cam_authors(without))
    assert not torch.allclose(score_cam(of), score_cam(without))


# ---- by loops, one channel at a time through the plain network


def score_by_loops(
    net: nn.Module,
    image: Tensor,
    channels: Tensor,
    inputs_of: Callable[[Tensor], list[tuple[float, Tensor]]],
) -> Tensor:
    """Score-CAM by loops, for all classes; ``inputs_of`` makes a channel's weighted masks."""
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


# Behind DenseNet's layer a function rectifies, of which the authors' code would know nothing.
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "DenseNet"])
def test_the_authors_algorithm_gives_the_map_resized(name: str) -> None:
    of = record_at(name)
    assert (of.activations >= 0).all()
    size = of.probe.images.shape[2:]
    maps = F.interpolate(score_cam_authors(of), size, mode="bilinear", align_corners=False)
    for slot, classes in enumerate(of.classes.T.tolist()):
        layer = find_module(of.probe.model, of.layer.name)
        asked = SimpleNamespace(
            model=of.probe.model, layer=layer, images=of.probe.images, classes=classes
        )
        expected = author_maps.score_cam(asked)
        assert expected.flatten(1).any(1).all()
        torch.testing.assert_close(maps[:, slot], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_score_cam_equals_loops_over_channels(name: str) -> None:
    of = record_at(name)
    assert_by_loops(score_cam(of), of, lambda b, mask: [(1.0, mask)])


def test_the_mask_is_resized_if_the_layer_is_smaller() -> None:
    of = record_of(curved_net(), images(3, *SIZE))
    assert of.activations.shape[2:] == (5, 6)
    maps = score_cam(of)
    assert maps.shape == (3, 3, 5, 6)
    assert_by_loops(maps, of, lambda b, mask: [(1.0, mask)])


def test_ss_cam_averages_over_noisy_masks() -> None:
    of = record_of(curved_net(), images(3, *SIZE))
    fields = {
        b: [torch.randn(10, 12, generator=generator) for _ in range(3)]
        for b, generator in enumerate(of.probe.noise(8))
    }
    maps = with_options(ss_cam, samples=3, noise=0.5, seed=8)(of)
    assert_by_loops(maps, of, lambda b, mask: [(1 / 3, mask + 0.5 * field) for field in fields[b]])


def test_ss_cam_without_noise_is_score_cam() -> None:
    of = record_of(curved_net(), images(3, *SIZE))
    maps = with_options(ss_cam, samples=2, noise=0)(of)
    torch.testing.assert_close(maps, score_cam(of), rtol=1e-4, atol=1e-6)


def test_is_cam_averages_over_masks_of_growing_strength() -> None:
    def inputs_of(b: int, mask: Tensor) -> list[tuple[float, Tensor]]:
        sums = [sum(j / 4 for j in range(i)) for i in range(1, 5)]
        return [(1 / 4, strength * mask) for strength in sums]

    of = record_of(curved_net(), images(3, *SIZE))
    assert_by_loops(with_options(is_cam, steps=4)(of), of, inputs_of)


def test_score_cam_agrees_with_torchcam() -> None:
    methods = pytest.importorskip("torchcam.methods")
    net, batch = curved_net(1, stride=1), images(3, *SIZE)
    of = record_of(net, batch, torch.tensor([[4], [1], [0]]))
    with methods.ScoreCAM(net, "features", input_shape=(3, 10, 12)) as extractor:
        maps = extractor([4, 1, 0], net(batch), normalized=False)[0].detach()
    torch.testing.assert_close(score_cam(of)[:, 0], maps.relu(), rtol=1e-3, atol=1e-5)


def test_score_cam_agrees_with_pytorch_grad_cam() -> None:
    peer = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    net, batch = curved_net(1, stride=1), images(3, *SIZE)
    of = record_of(net, batch, torch.tensor([[4], [1], [0]]))
    wanted = [targets.ClassifierOutputTarget(c) for c in (4, 1, 0)]
    extractor = peer.ScoreCAM(net, [net.features])
    weights = extractor.get_cam_weights(batch, None, wanted, of.activations.numpy(), None)
    extractor.activations_and_grads.release()
    maps = torch.einsum("bc,bchw->bhw", torch.from_numpy(weights), of.activations).relu()
    torch.testing.assert_close(score_cam(of)[:, 0], maps, rtol=1e-3, atol=1e-5)
