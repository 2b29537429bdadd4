"""Score-CAM: channels weighted by the score of the image seen through them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["masked_scores", "score_cam", "score_weighted"]

# ``(masks, position of the image of each mask)``; returns masks.
Vary = Callable[
    [Float[Tensor, "n 1 height width"], Int64[Tensor, " n"]], Float[Tensor, "n 1 height width"]
]


@cam_method("score_cam", plan=Plan(), paper="arXiv:1910.01279")
def score_cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """Score-CAM (Wang et al., CVPRW 2020, Algorithm 1): weights by masked images' scores.

    ``L^c = ReLU(sum_k alpha_k^c A_k)``, ``alpha^c = softmax_k(S^c)`` and
    ``S_k^c = f^c(M_k X) - f^c(X_b)``, where ``A_k``, (h, w), is the activation of channel k at the
    target layer, ``f^c`` the score of class c before softmax, X, (3, height, width), the input and
    ``X_b`` a baseline, whose score is the same for all channels, and cancels. The mask
    ``M_k = s(U(A_k))``, (height, width), is the channel upsampled (U: bilinear, corners not
    aligned) to the input and then rescaled (s) to 0..1. The masks multiply the normalized input:
    what they hide has the mean color. A channel without contrast hides everything.

    The authors' code is another method, score_cam_authors.

    Cost: one forward pass for each channel.
    """
    return score_weighted(record, masked_scores(record, "Score-CAM: masked images"))


def score_weighted(
    record: Record, scores: Float[Tensor, "batch k c"]
) -> Float[Tensor, "batch k h w"]:
    """``ReLU(sum_k alpha_k A_k)``, where alpha is the softmax of the scores over all channels."""
    return torch.einsum("bkc,bchw->bkhw", scores.softmax(dim=-1), record.activations).relu()


def masked_scores(
    record: Record,
    description: str,
    vary: Vary | None = None,
    score: Callable[[Float[Tensor, "n classes"]], Float[Tensor, "n classes"]] | None = None,
) -> Float[Tensor, "batch k c"]:
    """The score of each class slot of the image seen through each channel.

    A mask does not depend on the class: one pass serves all slots.

    Args:
        record: a record of one layer.
        description: what passes the network, for the progress bar.
        vary: ``(masks, positions of their images)``; returns the masks that multiply the images.
        score: makes the scores of the logits; by default the logits are the scores.
    """
    images, channels = record.probe.images, record.activations.flatten(0, 1)
    n_channels = record.activations.shape[1]
    scores = []
    for chunk in record.probe.chunks(len(channels), description):
        image = torch.arange(chunk.start, chunk.stop, device=images.device) // n_channels
        masks = F.interpolate(
            channels[chunk, None], images.shape[-2:], mode="bilinear", align_corners=False
        )
        masks = _rescaled(masks)
        if vary is not None:
            masks = vary(masks, image)
        logits = record.probe.logits(masks * images[image])
        of_classes = logits if score is None else score(logits)
        scores.append(of_classes.gather(1, record.classes[image]))
    return torch.cat(scores).unflatten(0, record.activations.shape[:2]).transpose(1, 2)


def _rescaled(masks: Float[Tensor, "n 1 height width"]) -> Float[Tensor, "n 1 height width"]:
    """Each mask rescaled to 0..1; zeros if it is constant."""
    masks = masks - masks.amin(dim=(-2, -1), keepdim=True)
    maxima = masks.amax(dim=(-2, -1), keepdim=True)
    return masks / torch.where(maxima == 0, 1.0, maxima)
