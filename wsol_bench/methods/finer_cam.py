"""Finer-CAM: Grad-CAM of the difference between a class and similar classes."""

from typing import Literal

import torch
from jaxtyping import Float, Int64
from pydantic import PositiveInt
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.capture.cotangents import gradients, one_hot
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.base import cam_method

__all__ = ["finer_cam"]


@cam_method("finer_cam", plan=Plan(), paper="arXiv:2501.11309")
def finer_cam(
    record: Record,
    *,
    alpha: float = 0.6,
    n_similar: PositiveInt = 3,
    weights: Literal["equal", "probability"] = "equal",
) -> Float[Tensor, "batch k h w"]:
    """Finer-CAM (Zhang et al., CVPR 2025): Grad-CAM of a class against similar classes.

    It is Grad-CAM of ``y^c - alpha sum_d q_d y^d``, where ``y^c`` is the score of class c before
    softmax, and the n classes d are those whose scores are nearest to ``y^c``. The weights q of the
    similar classes add up to 1: they are ``1 / n``, as the paper has it, or the probabilities of
    the similar classes among each other, ``q = softmax_d(y)``, as the authors' code has it. The
    gradient also passes through these probabilities. (Their code adds 1e-9 to the sum of the
    similar classes' probabilities over all classes, which counts if that is as small.)

    Cost: one pass of the part behind the layer.

    Args:
        record: a record of one layer.
        alpha: strength of the comparison (the paper's gamma); with 0 it is Grad-CAM. The authors'
            code has 1.
        n_similar: n, the number of classes that each class is compared with; at most all others.
        weights: ``equal`` or ``probability``.

    Raises:
        NotApplicableError: a target is a function of the output, so there are no other classes; or
            ``probability``, a softmax, is asked for a network whose probabilities are sigmoids.
    """
    record.reading.require_classes("the scores of other classes")
    if weights == "probability" and record.reading.meaning != "softmax":
        raise NotApplicableError(
            "'weights: probability' is a softmax over similar classes, and the classes of this "
            "network do not exclude each other (probabilities: sigmoid); take 'weights: equal'"
        )
    scores = record.logits.gather(1, record.classes)
    distances = (record.logits[:, None] - scores[:, :, None]).abs()
    distances = distances.scatter(2, record.classes[:, :, None], torch.inf)
    n = min(n_similar, record.logits.shape[1] - 1)
    # A stable sort: classes at equal distances rank by output index, in every batch.
    similar = distances.sort(dim=2, stable=True).indices[:, :, :n]
    compared = _compared(record.logits, similar, alpha, weights)
    cotangents = one_hot(record.classes, record.logits).scatter(2, similar, -compared)

    with torch.enable_grad():
        activations = record.activations.detach().clone().requires_grad_(True)
        images = torch.arange(len(activations), device=activations.device)
        logits = record.head(activations, images)
    names, probe = [record.layer.name], record.probe
    (slopes,) = gradients(logits, [activations], cotangents, names, probe.model, cost=probe.cost)
    channel_weights = slopes.mean(dim=(-2, -1))
    return torch.einsum("bkc,bchw->bkhw", channel_weights, record.activations).relu()


def _compared(
    logits: Float[Tensor, "batch classes"],
    similar: Int64[Tensor, "batch k n"],
    alpha: float,
    weights: Literal["equal", "probability"],
) -> Float[Tensor, "batch k n"]:
    """The derivatives of ``alpha sum_d q_d y^d`` with respect to the scores of the similar classes.

    With equal weights they are ``alpha / n``, with probabilities ``alpha q_d (1 + y^d - m)``, where
    m is the mean ``sum_d q_d y^d``.
    """
    if weights == "equal":
        return torch.full_like(similar, alpha / max(similar.shape[2], 1), dtype=logits.dtype)
    scores = logits[:, None].expand(-1, similar.shape[1], -1).gather(2, similar)
    shares = scores.softmax(dim=2)
    mean = (shares * scores).sum(dim=2, keepdim=True)
    return alpha * shares * (1 + scores - mean)
