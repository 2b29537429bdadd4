"""FullGrad: gradients of the input and of all biases."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import MeasuredMaps, cam_method
from wsol_bench.runs.schema import COMPLETENESS

__all__ = ["full_grad", "spatial_bias"]


@cam_method(
    "full_grad",
    plan=Plan(),
    scope="image",
    classes="label",
    paper="arXiv:1905.00780",
    columns={column.name: column.meaning for column in COMPLETENESS},
)
def full_grad(record: Record) -> MeasuredMaps:
    """FullGrad (Srinivas and Fleuret, NeurIPS 2019): gradients of the input and of all biases.

    ``psi(g_x x) + sum_l sum_c psi(g_l b_l)_c``, where ``g_x``, (3, height, width), and ``g_l``,
    (c, h, w), are the gradients of the class score (before softmax) with respect to the input x and
    to the output of each convolution or batch normalization l, and ``b_l``, (c,), are their biases.
    As in the authors' code, psi is the absolute value, rescaled to 0..1 over all channels and
    positions of the input or of a layer, then resized (bilinear, corners aligned) to the input;
    biases of linear layers have no positions and no share. No epsilon is added to the range, which
    is as small as the gradients are.

    The paper's completeness (eq. 4) is measured beside each map: without psi, the terms and those
    of linear layers add up to the score in a network of ReLUs, which is piecewise linear. Where
    they do not (ReLU6, GELU, a sigmoid, a normalization of each image), the map leaves out what
    makes the ``completeness_gap``.
    """
    probe = record.probe
    products = probe.pixel_gradients(record.classes) * probe.images[:, None]
    maps = _rescaled(products).sum(dim=2)
    explained = products.sum(dim=(2, 3, 4))
    biases = {
        name: bias
        for name, module in probe.model.named_modules()
        if (bias := _bias(module)) is not None
    }
    for name, (_, gradients) in probe.gradients_at(list(biases), record.classes).items():
        if isinstance(probe.model.get_submodule(name), nn.Linear):
            products = gradients * biases[name]
        else:
            products = gradients * biases[name][:, None, None]
            # Resizing is linear: the sum over the channels goes first, and one map is resized.
            layer = _rescaled(products).sum(dim=2)
            maps = maps + F.interpolate(layer, maps.shape[-2:], mode="bilinear", align_corners=True)
        if len(products) == len(maps):  # windows of several images are no batch
            explained = explained + products.flatten(2).sum(dim=2)
    logit = record.logits.gather(1, record.classes)
    return MeasuredMaps(maps, {"logit": logit, "completeness_gap": (logit - explained).abs()})


def _bias(module: nn.Module) -> Float[Tensor, " c"] | None:
    """The bias of a linear layer, or the ``spatial_bias`` of another module."""
    if isinstance(module, nn.Linear):
        return None if module.bias is None else module.bias.detach().float()
    return spatial_bias(module)


def spatial_bias(module: nn.Module) -> Float[Tensor, " c"] | None:
    """The value that a module adds to each channel for every input; None if it adds no such value.

    For a convolution the value is its bias; for a batch normalization, ``beta - mean gamma /
    sqrt(variance + eps)``.
    """
    if isinstance(module, nn.Conv2d):
        return None if module.bias is None else module.bias.detach().float()
    # Without running statistics, all that a normalization adds depends on the input.
    if not isinstance(module, nn.BatchNorm2d) or module.running_mean is None:
        return None
    with torch.no_grad():  # an affine function of each channel, evaluated at 0
        at_zero = F.batch_norm(
            torch.zeros_like(module.running_mean)[None],
            module.running_mean,
            module.running_var,
            module.weight,
            module.bias,
            eps=module.eps,
        )
    return at_zero[0].float()


def _rescaled(products: Float[Tensor, "batch k c h w"]) -> Float[Tensor, "batch k c h w"]:
    """psi: absolute values, rescaled to 0..1 over channels and positions."""
    sizes = products.abs()
    sizes = sizes - sizes.amin(dim=(2, 3, 4), keepdim=True)
    maxima = sizes.amax(dim=(2, 3, 4), keepdim=True)
    return sizes / torch.where(maxima == 0, 1.0, maxima)
