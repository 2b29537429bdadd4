"""Smooth Grad-CAM++: Grad-CAM++ with gradients averaged over noisy images."""

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method
from wsol_bench.methods.grad_cam_pp import pixel_coefficients
from wsol_bench.methods.smooth_grad import noisy_images

__all__ = ["smooth_grad_cam_pp"]


@cam_method("smooth_grad_cam_pp", plan=Plan(), paper="arXiv:1908.01224")
def smooth_grad_cam_pp(
    record: Record, *, samples: PositiveInt = 25, noise: float = 0.15, seed: int = 0
) -> Float[Tensor, "batch k h w"]:
    """Smooth Grad-CAM++ (Omeiza et al., 2019): gradients averaged over noisy images.

    ``D_p`` is the mean of ``(dy^c / dA_k(i, j))^p`` over images with Gaussian noise. Then
    ``alpha = D_2 / (2 D_2 + S D_3)``, ``w_k^c = sum_ij alpha_k^c(i, j) ReLU(D_1)`` and
    ``L^c = ReLU(sum_k w_k^c A_k)``, where ``A_k``, (h, w), is the activation of channel k at the
    target layer for the image itself, S the sum of ``A_k`` over all positions, and ``y^c`` the
    score of class c before softmax. The paper prints ``D_1`` as the numerator of alpha; with
    ``D_2`` the method without noise is Grad-CAM++.

    Cost: a forward pass for each sample, and a backward pass for each class and sample.

    Args:
        record: a record of one layer.
        samples: number of noisy images.
        noise: standard deviation in units of the input's range, as in SmoothGrad (arXiv:1706.03825,
            which finds 0.1 to 0.2 best).
        seed: seed of the noise. Noise also depends on the image's id, and on nothing else, so that
            an image has the same map in any batch.
    """
    probe = record.probe
    means = [torch.zeros((), device=probe.images.device)] * 3
    for images in noisy_images(probe, samples=samples, noise=noise, seed=seed):
        slopes = probe.record(images, record.classes).at_layer(record.at).gradients
        means = [mean + slopes**power / samples for power, mean in enumerate(means, start=1)]
    first, second, third = means
    ratios = torch.where(second == 0, 0.0, third / second)
    weights = (pixel_coefficients(ratios, record.activations) * first.relu()).sum(dim=(-2, -1))
    return torch.einsum("bkc,bchw->bkhw", weights, record.activations).relu()
