"""SS-CAM: Score-CAM with noisy masks."""

from functools import partial
from typing import Annotated

import torch
from jaxtyping import Float, Int64
from pydantic import Field, PositiveInt
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method
from wsol_bench.methods.score_cam import masked_scores, score_weighted

__all__ = ["ss_cam"]


@cam_method("ss_cam", plan=Plan(), paper="arXiv:2006.14255")
def ss_cam(
    record: Record,
    *,
    samples: PositiveInt = 35,
    noise: Annotated[float, Field(ge=0)] = 2.0,
    seed: int = 0,
) -> Float[Tensor, "batch k h w"]:
    """Smoothed Score-CAM (Wang et al., 2020), on the feature maps: the paper's SS-CAM (1).

    It is Score-CAM with ``S_k^c = 1/N sum_i f^c((M_k + d_i) X)``, where ``d_i ~ N(0, sigma^2)`` in
    each pixel, ``M_k``, (height, width), is the mask of channel k, X, (3, height, width), the input
    and ``f^c`` the score of class c before softmax. With ``sigma = 0`` it is Score-CAM. It costs N
    times as much.

    All channels share the same N fields of noise: the distribution of each score is that of
    separate noise, and the effect of the noise alone does not make channels differ.

    The authors' code adds the noise to activations that are not rescaled, with the square of
    ``2 / (max - min)`` as the standard deviation, and weights by probabilities, like their
    Score-CAM.

    Cost: one forward pass for each channel and sample.

    Args:
        record: a record of one layer.
        samples: N, as in the authors' code.
        noise: sigma, in units of a mask's range.
        seed: seed of the noise. Noise also depends on the image's id, and on nothing else, so that
            an image has the same map in any batch.
    """
    images = record.probe.images
    generators = record.probe.noise(seed)
    scores = torch.zeros((), device=images.device)
    for _ in range(samples):
        # One sample at a time: no more noise is held than a batch of masks.
        drawn = [torch.randn(images.shape[-2:], generator=generator) for generator in generators]
        fields = noise * torch.stack(drawn)[:, None].to(images)
        noisy = partial(_plus, fields)
        scores = scores + masked_scores(record, "SS-CAM: masked images", noisy) / samples
    return score_weighted(record, scores)


def _plus(
    fields: Float[Tensor, "batch 1 height width"],
    masks: Float[Tensor, "n 1 height width"],
    image: Int64[Tensor, " n"],
) -> Float[Tensor, "n 1 height width"]:
    return masks + fields[image]
