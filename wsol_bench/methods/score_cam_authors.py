"""Score-CAM as its authors' code computes it."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method
from wsol_bench.methods.score_cam import masked_scores

__all__ = ["score_cam_authors"]


@cam_method(
    "score_cam_authors",
    plan=Plan(),
    paper="arXiv:1910.01279, https://github.com/haofanwang/Score-CAM",
)
def score_cam_authors(record: Record) -> Float[Tensor, "batch k h w"]:
    """Score-CAM with the weights of its authors' code, which are not those of Algorithm 1.

    ``L^c = ReLU(sum_k p_k^c A_k)``, where ``A_k``, (h, w), is the activation of channel k at the
    target layer, and ``p_k^c`` the probability of class c (softmax over the classes; sigmoid in a
    multi-label network) for the image seen through the mask of channel k; masks are those of
    score_cam. No score of a baseline is subtracted, and there is no softmax over the channels, so a
    channel's weight does not depend on the other channels. Channels that are constant are left out.

    The authors' code adds up the channels after it has resized them to the input. As resizing is
    linear, the map resized is theirs, unless activations are negative: their ReLU follows the
    resizing.

    Cost: one forward pass for each channel.

    Raises:
        NotApplicableError: a target is a function of the output, which has no probability.
    """
    probabilities = masked_scores(record, "Score-CAM: masked images", score=record.probabilities)
    channels = record.activations.flatten(2)
    varies = channels.amax(dim=2) > channels.amin(dim=2)
    weights = probabilities * varies[:, None]
    return torch.einsum("bkc,bchw->bkhw", weights, record.activations).relu()
