"""Score-CAM: channels weighed by what their masks leave of a score."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["masked_scores", "score_cam", "score_weighted"]

# (masks, image that each belongs to) -> masks
Vary = Callable[
    [Float[Tensor, "n 1 height width"], Int64[Tensor, " n"]], Float[Tensor, "n 1 height width"]
]


@cam_method("score_cam", plan=Plan(), paper="arXiv:1910.01279")
def score_cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """Score-CAM (Wang et al., CVPRW 2020, Algorithm 1).

    The mask ``M_k = s(U(A_k))`` is channel k, upsampled (bilinear, corners not aligned) to the
    input X and then rescaled to 0..1. With ``S_k^c = f^c(M_k X) - f^c(X_b)``, f the scores before
    softmax, ``alpha^c = softmax_k(S^c)`` and ``L^c = ReLU(sum_k alpha_k^c A_k)``. The score of the
    baseline X_b is the same for all channels, and cancels.

    The masks multiply the normalized input: what they hide has the mean color. A channel without
    contrast hides everything.

    The authors' code is another method: its weights are the probabilities ``softmax_c(f(M_k X))``,
    not compared between channels; it adds up upsampled channels, and leaves out those without
    contrast.
    """
    return score_weighted(record, masked_scores(record, "Score-CAM: masked images"))


def score_weighted(
    record: Record, scores: Float[Tensor, "batch k c"]
) -> Float[Tensor, "batch k h w"]:
    """``ReLU(sum_k alpha_k A_k)``, where alpha is the softmax of the scores over all channels."""
    return torch.einsum("bkc,bchw->bkhw", scores.softmax(dim=-1), record.activations).relu()


def masked_scores(
    record: Record, what: str, vary: Vary | None = None
) -> Float[Tensor, "batch k c"]:
    """Scores before softmax of the class slots, where an image is seen through each channel.

    A mask belongs to no class: one pass serves all slots.

    Args:
        record: of one layer.
        what: passes the network, for people.
        vary: what is done to the masks before they multiply the image.
    """
    images, channels = record.probe.images, record.activations.flatten(0, 1)
    n_channels = record.activations.shape[1]
    scores = []
    for part in record.probe.chunks(len(channels), what):
        of = torch.arange(part.start, part.stop, device=images.device) // n_channels
        masks = F.interpolate(
            channels[part, None], images.shape[-2:], mode="bilinear", align_corners=False
        )
        masks = _rescaled(masks)
        if vary is not None:
            masks = vary(masks, of)
        logits = record.probe.logits(masks * images[of])
        scores.append(logits.gather(1, record.classes[of]))
    return torch.cat(scores).unflatten(0, record.activations.shape[:2]).transpose(1, 2)


def _rescaled(masks: Float[Tensor, "n 1 height width"]) -> Float[Tensor, "n 1 height width"]:
    masks = masks - masks.amin(dim=(-2, -1), keepdim=True)
    maxima = masks.amax(dim=(-2, -1), keepdim=True)
    return masks / torch.where(maxima == 0, 1.0, maxima)
