"""Insertion, deletion and masked scores: what a network predicts from inputs that a map changes.

Insertion and deletion (RISE), average drop and increase in confidence (Grad-CAM++) are made of
these numbers; ``wsol_bench.metrics.faithfulness`` has the metrics. The metrics ask the network, not
the ground truth: a map may be faithful and localize badly.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, Int64
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from wsol_bench.capture.network import evaluation_mode, logits_of
from wsol_bench.errors import ModelError
from wsol_bench.models.output_reading import reading_of

__all__ = ["Faithfulness", "faithfulness"]

# The blur that insertion starts from: width of the kernel in pixels, and sigma.
_KERNEL, _SIGMA = 11, 5.0


class Faithfulness(NamedTuple):
    """Faithfulness of one map for each image, in [0, 1]; NaN in all but ``score`` for a bad map.

    A map is bad if it ranks no pixels: it is constant (a rectified map without a positive value
    is), or holds a value that is not finite.

    Attributes:
        insertion: area under the class's probability while the pixels of the input replace those of
            the blurred input, best pixels first; more is better. The blur is the authors' 11 x 11
            kernel, zeros beyond the border. In their code a Gaussian of sigma 5 is cut to 11 pixels
            by reflection, so that it is nearly flat.
        deletion: the same area while the pixels of the input become zeros of the normalized input,
            which is the mean color, best pixels first; less is better.
        score: Y, probability of the class given the whole input.
        masked_score: O, probability of the class given the normalized input times the map, which is
            scaled to [0, 1] by its minimum and maximum.
    """

    insertion: Float64[np.ndarray, " n"]
    deletion: Float64[np.ndarray, " n"]
    score: Float64[np.ndarray, " n"]
    masked_score: Float64[np.ndarray, " n"]


@torch.no_grad()  # under inference_mode, tensors that a module caches stay inference tensors
def faithfulness(
    module: nn.Module,
    inputs: Float[Tensor, "n 3 height width"],
    maps: Float[Tensor, "n h w"],
    classes: Int64[Tensor, " n"],
    *,
    steps: int = 28,
    batch_size: int = 64,
) -> Faithfulness:
    """Insertion, deletion and confidences of one map for each image.

    Pixels are ranked by the map, highest first, equal ones in raster order. With p_i the
    probability of the class (softmax; sigmoid in a multi-label network) after
    ``floor(i * height * width / steps)`` pixels,

        area = ((p_0 + p_steps) / 2 + sum of p_1 ... p_(steps - 1)) / steps

    An image costs ``2 * steps + 2`` inputs through the network (one if its map ranks no pixels);
    both curves share an end with ``score``. The authors' step of 224 pixels is ``steps=224`` for
    224 x 224.

    Args:
        module: maps inputs to (n, classes) logits. It runs in evaluation mode and comes back as it
            was, also after an exception.
        inputs: normalized, on the module's device.
        maps: one map for each input, of the input's size; signed or not, at any scale.
        classes: output index of each map's class.
        steps: number of changes along a curve, from 1 to height * width. The numbers depend on it:
            compare only numbers of equal ``steps``.
        batch_size: most inputs in a forward pass, at least 1. Results depend on it by float noise.

    Raises:
        ValueError: the maps and the inputs differ in size, or their numbers differ; or ``steps`` or
            ``batch_size`` is out of range.
        ModelError: the module returns no logits, or has no output for a class.

    Source: Petsiuk et al., RISE, BMVC 2018, and github.com/eclique/RISE (evaluation.py,
    Evaluation.ipynb); Chattopadhay et al., Grad-CAM++, WACV 2018, "Objective Evaluation for Object
    Recognition". The latter multiplies "the original image" and does not say how map and image are
    scaled; the normalized input and the minimum and maximum are what torchcam and pytorch-grad-cam
    take.
    """
    _check(inputs, maps, classes, steps, batch_size)
    changed = _ChangedInputs(inputs, maps)
    ask = partial(_probabilities, module, classes.cpu().numpy(), inputs.device, batch_size)
    n, pixels = len(inputs), inputs.shape[2:].numel()
    counts, ranked = [step * pixels // steps for step in range(steps + 1)], changed.ranked
    with evaluation_mode(module):
        score = ask(changed.deleted, np.arange(n), counts[:1])
        removed = ask(changed.deleted, ranked, counts[1:])
        added = ask(changed.inserted, ranked, counts[:-1])
        masked = ask(changed.masked, ranked, counts[:1])
    insertion, deletion, masked_score = np.full((3, n), np.nan)
    insertion[ranked] = _area(np.concatenate([added, score[ranked]], axis=1))
    deletion[ranked] = _area(np.concatenate([score[ranked], removed], axis=1))
    masked_score[ranked] = masked[:, 0]
    return Faithfulness(insertion, deletion, score[:, 0], masked_score)


def _check(inputs: Tensor, maps: Tensor, classes: Tensor, steps: int, batch_size: int) -> None:
    """Raise ValueError unless the arguments of ``faithfulness`` fit together."""
    n, size = len(inputs), inputs.shape[2:]
    if maps.shape != (n, *size) or classes.shape != (n,):
        raise ValueError(
            f"maps, classes: expected one map of {tuple(size)}, the inputs' size, and one class "
            f"for each of {n} inputs, found {tuple(maps.shape)} and {tuple(classes.shape)}; "
            "wsol_bench.scoring.upsampling.upsample brings maps to that size"
        )
    if not 1 <= steps <= size.numel():
        raise ValueError(
            f"steps: expected 1 to {size.numel()}, the number of pixels, found {steps}"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, found {batch_size}")


class _ChangedInputs:
    """A batch of inputs, as its maps change them.

    Each method takes m pairs of an image (its position in the batch) and a count of pixels, the
    latter of shape (m, 1, 1, 1), and returns m inputs.

    Attributes:
        ranked: positions of the images whose maps rank pixels.
    """

    def __init__(
        self, inputs: Float[Tensor, "n 3 height width"], maps: Float[Tensor, "n height width"]
    ) -> None:
        n, size = len(inputs), inputs.shape[2:]
        flat = maps.float().to(inputs.device).flatten(1)
        lowest, highest = (bound[:, None].double() for bound in flat.aminmax(dim=1))
        share = (flat - lowest) / (highest - lowest)
        ranks_pixels = flat.isfinite().all(dim=1) & (highest > lowest)[:, 0]
        self.ranked = ranks_pixels.nonzero()[:, 0].cpu().numpy()
        self._inputs = inputs
        self._share = share.view(n, 1, *size).to(inputs.dtype)
        self._rank = _ranks(flat).view(n, 1, *size)
        self._blurred = blurred(inputs)

    def deleted(self, image: Tensor, count: Tensor) -> Tensor:
        """The inputs without their best pixels."""
        return torch.where(self._rank[image] < count, 0, self._inputs[image])

    def inserted(self, image: Tensor, count: Tensor) -> Tensor:
        """The blurred inputs with the best pixels of the inputs."""
        return torch.where(self._rank[image] < count, self._inputs[image], self._blurred[image])

    def masked(self, image: Tensor, count: Tensor) -> Tensor:
        """The inputs times their maps; the count has no effect."""
        return self._inputs[image] * self._share[image]


def _probabilities(
    module: nn.Module,
    classes: Int64[np.ndarray, " n"],
    device: torch.device,
    batch_size: int,
    changed: Callable[[Tensor, Tensor], Tensor],
    images: Int64[np.ndarray, " m"],
    counts: Sequence[int],
) -> Float64[np.ndarray, "m counts"]:
    """Probability of its class for each of m images, changed by each count of pixels."""
    image, count = images.repeat(len(counts)), np.tile(np.array(counts), len(images))
    parts = [torch.empty(0, dtype=torch.float64, device=device)]
    for start in range(0, len(image), batch_size):
        batch = slice(start, start + batch_size)
        inputs = changed(
            torch.from_numpy(image[batch]).to(device),
            torch.from_numpy(count[batch]).to(device).view(-1, 1, 1, 1),
        )
        parts.append(_probability(module, inputs, classes[image[batch]]))
    return torch.cat(parts).cpu().numpy().reshape(len(images), len(counts))


def _probability(
    module: nn.Module, inputs: Float[Tensor, "m 3 height width"], classes: Int64[np.ndarray, " m"]
) -> Float64[Tensor, " m"]:
    """The probability of each input's class."""
    logits = logits_of(module, inputs, None)
    # An index beyond the outputs would end a CUDA process.
    if len(wrong := classes[(classes < 0) | (classes >= logits.shape[1])]):
        raise ModelError(
            f"classes: {type(module).__name__} has no output {wrong[0]}; its outputs are 0 to "
            f"{logits.shape[1] - 1}"
        )
    index = torch.from_numpy(classes).to(logits.device)
    return reading_of(module).probabilities_of(logits.double()).gather(1, index[:, None])[:, 0]


def _ranks(maps: Float[Tensor, "n pixels"]) -> Int64[Tensor, "n pixels"]:
    """The rank of each pixel, from 0 for the highest; equal ones in raster order."""
    order = maps.sort(dim=1, descending=True, stable=True).indices
    places = torch.arange(maps.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def blurred(inputs: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 3 height width"]:
    """Images under RISE's blur: a Gaussian of sigma 5 within 11 x 11 pixels, zeros outside."""
    weights = torch.from_numpy(_kernel()).to(inputs).expand(3, 1, -1, -1)
    return F.conv2d(inputs, weights, padding=_KERNEL // 2, groups=3)


def _kernel() -> Float32[np.ndarray, "11 11"]:
    """The kernel of the authors' ``gkern(11, 5)``: an impulse, filtered within 11 x 11 pixels."""
    impulse = np.zeros(_KERNEL)
    impulse[_KERNEL // 2] = 1
    along = gaussian_filter1d(impulse, _SIGMA, mode="reflect")
    return np.outer(along, along).astype(np.float32)


def _area(curve: Float64[np.ndarray, "n points"]) -> Float64[np.ndarray, " n"]:
    return np.trapezoid(curve, axis=1) / (curve.shape[1] - 1)
