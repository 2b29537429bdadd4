"""SmoothGrad: signed gradients averaged over noisy images."""

import torch
from map_methods import assert_same
from networks import calibrated_network, images
from rectifiers import CLASSES, by_hooks, record_of
from torch import Tensor

from wsol_bench.methods.backprop import backprop
from wsol_bench.methods.smooth_grad import smooth_grad


def test_without_noise_smooth_grad_is_backprop() -> None:
    record = record_of(calibrated_network("ResNet"), images(), CLASSES)
    bound = smooth_grad.with_options({"noise": 0.0, "samples": 3}, "test")
    assert_same(bound(record), backprop(record))


def test_smooth_grad_averages_gradients_with_their_signs_over_noisy_images() -> None:
    net, batch = (
        calibrated_network("ResNet"),
        images() * torch.tensor([1.0, 2.0])[:, None, None, None],
    )
    record = record_of(net, batch, CLASSES, image_ids=["one", "two"])
    gradients = []
    generators = record.probe.noise(8)
    for _ in range(3):
        noise = torch.stack(
            [torch.randn(3, 64, 64, generator=generator) for generator in generators]
        )
        ranges = torch.stack([image.max() - image.min() for image in batch])
        noisy = batch + 0.2 * ranges[:, None, None, None] * noise
        gradients.append(by_hooks(net, noisy, CLASSES, "plain"))
    bound = smooth_grad.with_options({"noise": 0.2, "samples": 3, "seed": 8}, "test")
    assert_same(bound(record), torch.stack(gradients).mean(dim=0).abs().amax(dim=2))


def test_noise_depends_on_the_seed_and_the_image_alone() -> None:
    def maps(batch: Tensor, classes: list[list[int]], ids: list[str], seed: int = 0) -> Tensor:
        bound = smooth_grad.with_options({"samples": 2, "seed": seed}, "test")
        return bound(record_of(calibrated_network("ResNet"), batch, classes, image_ids=ids))

    batch = images(1).expand(2, -1, -1, -1)  # one image, two names
    together = maps(batch, [[4, 1], [4, 1]], ["a", "b"])
    assert_same(maps(batch[:1], [[4, 1]], ["b"]), together[1:])
    assert not torch.allclose(together[0], together[1], rtol=0.01)
    assert not torch.allclose(maps(batch[:1], [[4, 1]], ["b"], seed=1), together[1:], rtol=0.01)
