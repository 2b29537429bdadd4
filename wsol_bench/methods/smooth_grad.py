"""SmoothGrad: gradients at the pixels, averaged over noisy images."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from wsol_bench.capture import Plan, Probe, Record
from wsol_bench.common.progress import second_bar
from wsol_bench.methods.backprop import strongest_channel
from wsol_bench.methods.base import cam_method

__all__ = ["noisy_images", "smooth_grad"]


@cam_method("smooth_grad", plan=Plan(), scope="image", classes="label", paper="arXiv:1706.03825")
def smooth_grad(
    record: Record, *, samples: PositiveInt = 25, noise: NonNegativeFloat = 0.15, seed: int = 0
) -> Float[Tensor, "batch k height width"]:
    """SmoothGrad (Smilkov et al., 2017, section 3): gradients averaged over noisy images.

    ``M_n = 1/n sum_n M(x + N(0, sigma^2))``, where x, (3, height, width), is the normalized input
    and M the gradient of the class score (before softmax) there, with its sign, as in the authors'
    code. The map is ``max_rgb |M_n|``, as for backprop; without noise it is the map of backprop.

    Cost: a forward pass for each sample, and a backward pass for each class and sample.

    Args:
        record: a record of any layer.
        samples: n, the number of noisy images; the authors' code takes 25, the paper 50.
        noise: sigma in units of the input's range; the paper finds 0.1 to 0.2 best.
        seed: seed of the noise. Noise also depends on the image's id, and on nothing else, so that
            an image has the same map in any batch.
    """
    probe = record.probe
    mean = torch.zeros((), device=probe.images.device)
    for images in noisy_images(probe, samples=samples, noise=noise, seed=seed):
        mean = mean + probe.pixel_gradients(record.classes, images=images) / samples
    return strongest_channel(mean)


def noisy_images(
    probe: Probe, *, samples: int, noise: float, seed: int
) -> Iterator[Float[Tensor, "batch channels height width"]]:
    """Yield the batch with Gaussian noise, several times; each image has its own generator.

    Args:
        probe: the probe of the batch.
        samples: number of noisy batches.
        noise: standard deviation in units of each image's range, ``max(x) - min(x)``.
        seed: seed of the noise.
    """
    images = probe.images
    spread = images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3))
    deviation = noise * spread[:, None, None, None]
    generators = probe.noise(seed)
    with second_bar("noisy images", samples) as advance:
        for _ in range(samples):
            drawn = [torch.randn(images.shape[1:], generator=generator) for generator in generators]
            yield images + deviation * torch.stack(drawn).to(images)
            advance(1)
