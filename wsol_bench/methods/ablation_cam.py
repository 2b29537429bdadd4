"""Ablation-CAM: channels weighted by the drop of the class score without them."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["ablation_cam"]


@cam_method("ablation_cam", plan=Plan(), paper="doi:10.1109/WACV45572.2020.9093360")
def ablation_cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """Ablation-CAM (Desai and Ramaswamy, WACV 2020): weights by the drop of the score.

    ``w_k^c = (y^c - y_k^c) / |y^c|``, ``L^c = ReLU(sum_k w_k^c A_k)``, where ``A_k``, (h, w), is
    the activation of channel k at the target layer, ``y^c`` the score of class c before softmax,
    and ``y_k^c`` the same score with zeros in the place of channel k. Only the part of the network
    behind the layer runs again. An ablation does not depend on the class, and serves all class
    slots.

    The paper divides by ``y^c``, for scores above zero. A score below zero would turn the sign of
    all weights, so that the map would show what speaks against the class; here the weights are
    divided by the absolute value of the score, or by one if the score is zero. pytorch-grad-cam
    divides by the signed score.

    Cost: one pass of the part behind the layer for each channel.
    """
    activations = record.activations
    n_images, n_channels = activations.shape[:2]
    scores_without = []
    for chunk in record.probe.chunks(n_images * n_channels, "Ablation-CAM: ablated channels"):
        ablations = torch.arange(chunk.start, chunk.stop, device=activations.device)
        image = ablations // n_channels
        ablated = activations[image]
        ablated[torch.arange(len(image), device=image.device), ablations % n_channels] = 0
        with torch.no_grad():
            logits = record.head(ablated, image)
        scores_without.append(logits.gather(1, record.classes[image]))
    without = torch.cat(scores_without).unflatten(0, (n_images, n_channels)).transpose(1, 2)
    scores = record.logits.gather(1, record.classes)[:, :, None]
    weights = (scores - without) / torch.where(scores == 0, 1.0, scores.abs())
    return torch.einsum("bkc,bchw->bkhw", weights, activations).relu()
