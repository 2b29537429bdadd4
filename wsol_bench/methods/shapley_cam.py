"""ShapleyCAM: Grad-CAM with the curvature of the score."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from wsol_bench.capture import Cost, Plan, Probe, Record
from wsol_bench.capture.cotangents import one_hot, second_order
from wsol_bench.capture.network import autocast, evaluation_mode, logits_of, uncompiled
from wsol_bench.capture.own_functions import require_second_derivatives
from wsol_bench.methods.base import cam_method
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import find_module

__all__ = ["shapley_cam"]


@cam_method("shapley_cam", plan=Plan(), paper="arXiv:2501.06261", generalizes_cam=True)
def shapley_cam(
    record: Record, *, tokens: Literal["patches", "all"] = "patches"
) -> Float[Tensor, "batch k h w"]:
    """ShapleyCAM (Cai, 2025): weights by a second-order expansion of the Shapley value.

    ``w_k^c = mean_ij (g - 1/2 H A)_k(i, j)``, ``L^c = ReLU(sum_k w_k^c A_k)``, where ``A_k``,
    (h, w), is the activation of channel k at the target layer, and g and H are the gradient and the
    Hessian of the score ``y^c`` with respect to A, by one Hessian-vector product a class. If the
    network behind the layer is piecewise linear (ReLU, pooling, linear), H is 0 and it is Grad-CAM.
    ``y^c`` is the score before softmax, as for every other method here; the paper also proposes
    another score (ReST), which is not implemented.

    The layer of a vision transformer also returns a class token, which has no position in the map.
    Does it count in ``H A``? With ``tokens: patches`` it does not: A is the grid of patch tokens,
    as everywhere in a record. With ``all`` A is all that the layer returns, as in the code of the
    author and of pytorch-grad-cam, and the mean is taken over the patches. Layers without such
    tokens have the same map either way.

    Cost: one pass of the part behind the layer.

    Args:
        record: a record of one layer.
        tokens: ``patches``; or ``all``, which costs a whole forward pass.

    Raises:
        NotApplicableError: an operation behind the layer has no second derivative (a hard sigmoid),
            or an autograd function of the network has a wrong one.
    """
    probe, grid = record.probe, record.layer.grid
    assert grid is not None  # a record with a probe has its layers' grids
    whole = tokens == "all" and grid.layout == "tokens"
    # The fused kernels of attention have no second derivative.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        run = _from_whole_output if whole else _from_patches
        logits, activations = run(record)
        with _uncounted(probe):
            require_second_derivatives(probe.model, record.layer.name, logits, lambda: run(record))
        weights = []
        for cotangent in one_hot(record.classes, logits).unbind(1):
            slopes, curvature = second_order(logits, activations, cotangent, cost=probe.cost)
            corrected = slopes - curvature / 2
            corrected = grid.to_channels(corrected) if whole else corrected
            weights.append(corrected.mean(dim=(-2, -1)))
    alpha = torch.stack(weights, dim=1)
    return torch.einsum("bkc,bchw->bkhw", alpha, record.activations).relu()


@contextmanager
def _uncounted(probe: Probe) -> Iterator[None]:
    """Leave the cost of a probe as it is."""
    counted, probe.cost = probe.cost, Cost()
    try:
        yield
    finally:
        probe.cost = counted


def _from_patches(record: Record) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch c h w"]]:
    """The logits, and the activations of the target layer, in one graph."""
    activations = record.activations.detach().clone().requires_grad_(True)
    images = torch.arange(len(activations), device=activations.device)
    return record.head(activations, images), activations


def _from_whole_output(
    record: Record,
) -> tuple[Float[Tensor, "batch n"], Shaped[Tensor, "batch tokens c"]]:
    """The logits, and all tokens that the target layer returns, in one graph.

    One forward pass, tracked from the layer on. ``Probe.head`` is no help: there, the class token
    is a constant.
    """
    probe, outputs = record.probe, list[Tensor]()

    def take(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        outputs.append(output.detach().clone().requires_grad_(True))
        torch.set_grad_enabled(True)
        return outputs[0].clone()  # what follows may work in place

    with (
        torch.no_grad(),  # until the layer has run
        evaluation_mode(probe.model),
        uncompiled(probe.model),
        autocast(probe.images.device, probe.precision),
        hooked(after=[(find_module(probe.model, record.layer.name), take)]),
    ):
        logits = logits_of(probe.model, probe.images, probe.cost).float()
    return logits, outputs[0]
