"""FullGrad: gradients of the input and of all biases."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wsol_bench.capture import Plan, Record
from wsol_bench.errors import NotApplicableError
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
    of linear layers add up to the score in a network of ReLUs whose modules run once, which is
    piecewise linear. Where they do not (ReLU6, GELU, a sigmoid, a normalization of each image), the
    map leaves out what makes the ``completeness_gap``.

    Cost: two forward passes, and two backward passes for each class.

    Raises:
        NotApplicableError: a batch normalization of the network's own does more than to normalize,
            or a convolution sees windows of an image.
    """
    probe = record.probe
    products = probe.pixel_gradients(record.classes) * probe.images[:, None]
    maps = _rescaled(products).sum(dim=2)
    explained = products.sum(dim=(2, 3, 4))
    biases = _biases(probe.model)
    # The bias of a vector is (c,), and that of a grid (c, 1, 1).
    n_dims = {name: bias.ndim + 1 for name, bias in biases.items()}
    for name, (_, gradients) in probe.gradients_at(n_dims, record.classes).items():
        if len(gradients) != len(maps):
            raise NotApplicableError(f"{name} sees windows of an image, which are no images")
        products = gradients * biases[name]
        explained = explained + products.flatten(2).sum(dim=2)
        if products.ndim == 5:
            # Resizing is linear: the sum over the channels goes first, and one map is resized.
            layer = _rescaled(products).sum(dim=2)
            maps = maps + F.interpolate(layer, maps.shape[-2:], mode="bilinear", align_corners=True)
    logit = record.logits.gather(1, record.classes)
    return MeasuredMaps(maps, {"logit": logit, "completeness_gap": (logit - explained).abs()})


def _biases(model: nn.Module) -> dict[str, Float[Tensor, "..."]]:
    """The biases of a network, by the name of the module that returns what they were added to.

    They have the shape (c,) for outputs (n, c), and (c, 1, 1) for outputs (n, c, h, w).
    """
    biases: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        is_vector = isinstance(module, nn.Linear | nn.BatchNorm1d)
        bias = module.bias if isinstance(module, nn.Linear) else spatial_bias(module)
        if bias is None:
            continue
        is_own = isinstance(module, _BatchNorm) and not type(module).__module__.startswith("torch.")
        if is_own and not isinstance(getattr(module, "drop", None), nn.Module):
            raise NotApplicableError(
                f"{name} is a {type(module).__name__}, which may do more than to normalize: where "
                "it adds its bias is not known"
            )
        bias = bias.detach().float()
        # A batch normalization of timm that ends in an activation has a module before that.
        at = f"{name}.drop" if is_own else name
        biases[at] = bias if is_vector else bias[:, None, None]
    return biases


def spatial_bias(module: nn.Module) -> Float[Tensor, " c"] | None:
    """The value that a module adds to each channel for every input; None if it adds no such value.

    For a convolution the value is its bias; for a batch normalization, ``beta - mean gamma /
    sqrt(variance + eps)``.
    """
    if isinstance(module, nn.Conv2d):
        return None if module.bias is None else module.bias.detach().float()
    # Without running statistics, all that a normalization adds depends on the input.
    if not isinstance(module, _BatchNorm) or module.running_mean is None:
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
