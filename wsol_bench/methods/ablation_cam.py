"""Ablation-CAM: channels weighed by the drop of a score without them."""

import torch
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["ablation_cam"]


@cam_method("ablation_cam", plan=Plan(), paper="doi:10.1109/WACV45572.2020.9093360")
def ablation_cam(record: Record) -> Float[Tensor, "batch k h w"]:
    """Ablation-CAM (Desai and Ramaswamy, WACV 2020).

    ``w_k^c = (y^c - y_k^c) / |y^c|``, ``L^c = ReLU(sum_k w_k^c A_k)``: y^c is the score before
    softmax, y_k^c the same with zeros in the place of channel k. Only what lies behind the layer
    runs again; an ablation belongs to no class, and serves all slots.

    The paper divides by ``y^c``, for scores above zero. Where one is below, that would turn the
    sign of all weights and show what speaks against the class: it is the size that counts here,
    and a score of zero divides by one. pytorch-grad-cam divides by the signed score.
    """
    activations = record.activations
    n_images, n_channels = activations.shape[:2]
    scores = []
    for part in record.probe.chunks(n_images * n_channels, "Ablation-CAM: ablated channels"):
        numbers = torch.arange(part.start, part.stop, device=activations.device)
        of = numbers // n_channels
        ablated = activations[of]
        ablated[torch.arange(len(of), device=of.device), numbers % n_channels] = 0
        with torch.no_grad():
            logits = record.head(ablated, of)
        scores.append(logits.gather(1, record.classes[of]))
    without = torch.cat(scores).unflatten(0, (n_images, n_channels)).transpose(1, 2)
    own = record.logits.gather(1, record.classes)[:, :, None]
    weights = (own - without) / torch.where(own == 0, 1.0, own.abs())
    return torch.einsum("bkc,bchw->bkhw", weights, activations).relu()
