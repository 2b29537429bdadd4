"""IS-CAM: Score-CAM with masks of growing strength."""

from functools import partial

import torch
from jaxtyping import Float, Int64
from pydantic import PositiveInt
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method
from wsol_bench.methods.score_cam import masked_scores, score_weighted

__all__ = ["is_cam"]


@cam_method("is_cam", plan=Plan(), paper="arXiv:2010.03023")
def is_cam(record: Record, *, steps: PositiveInt = 10) -> Float[Tensor, "batch k h w"]:
    """Integrated Score-CAM, IS-CAM (Naidu et al., 2020): masks of growing strength.

    It is Score-CAM with ``S_k^c = 1/N sum_i=1^N f^c(sum_j=0^(i-1) j/N M_k X)``, where ``M_k``,
    (height, width), is the mask of channel k, X, (3, height, width), the input and ``f^c`` the
    score of class c before softmax. The inner sum is ``i (i - 1) / (2 N)``: as the paper defines
    them, and contrary to its name, the steps do not lead from nothing to the mask, but on to
    ``(N - 1) / 2`` times the mask. The first step hides everything for every channel, and so
    cancels in the softmax: it is left out.

    torchcam's inner sum has one more term, ``j = i``.

    Cost: one forward pass for each channel and step.

    Args:
        record: a record of one layer.
        steps: N; with 1 all channels have the same weight.
    """
    scores = torch.zeros_like(record.activations[:, None, :, 0, 0])
    scores = scores.expand(-1, record.classes.shape[1], -1)
    for step in range(2, steps + 1):
        stronger = partial(_times, step * (step - 1) / (2 * steps))
        scores = scores + masked_scores(record, "IS-CAM: masked images", stronger) / steps
    return score_weighted(record, scores)


def _times(
    strength: float, masks: Float[Tensor, "n 1 height width"], image: Int64[Tensor, " n"]
) -> Float[Tensor, "n 1 height width"]:
    return strength * masks
