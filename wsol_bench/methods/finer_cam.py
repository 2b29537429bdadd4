"""Finer-CAM: Grad-CAM of the difference between a class and similar classes."""

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.capture.cotangents import gradients, one_hot
from wsol_bench.methods.base import cam_method

__all__ = ["finer_cam"]


@cam_method("finer_cam", plan=Plan(), paper="arXiv:2501.11309")
def finer_cam(
    record: Record, *, alpha: float = 0.6, n_similar: PositiveInt = 3
) -> Float[Tensor, "batch k h w"]:
    """Finer-CAM (Zhang et al., CVPR 2025): Grad-CAM of a class against similar classes.

    It is Grad-CAM of ``y^c - alpha / n sum_d y^d``, where ``y^c`` is the score of class c before
    softmax, and the n classes d are those whose scores are nearest to ``y^c``. The comparisons have
    equal weights; the authors' code also has a variant that weights them by their probabilities.

    Args:
        record: a record of one layer.
        alpha: strength of the comparison (the paper's gamma); with 0 it is Grad-CAM.
        n_similar: n, the number of classes that each class is compared with; at most all others.
    """
    scores = record.logits.gather(1, record.classes)
    distances = (record.logits[:, None] - scores[:, :, None]).abs()
    distances = distances.scatter(2, record.classes[:, :, None], torch.inf)
    n = min(n_similar, record.logits.shape[1] - 1)
    # A stable sort: classes at equal distances rank by output index, in every batch.
    similar = distances.sort(dim=2, stable=True).indices[:, :, :n]
    cotangents = one_hot(record.classes, record.logits).scatter(2, similar, -alpha / max(n, 1))

    with torch.enable_grad():
        activations = record.activations.detach().clone().requires_grad_(True)
        images = torch.arange(len(activations), device=activations.device)
        logits = record.head(activations, images)
    names, probe = [record.layer.name], record.probe
    (slopes,) = gradients(logits, [activations], cotangents, names, probe.model, cost=probe.cost)
    weights = slopes.mean(dim=(-2, -1))
    return torch.einsum("bkc,bchw->bkhw", weights, record.activations).relu()
