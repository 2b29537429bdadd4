"""LayerCAM: of one layer, or of several layers fused."""

from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["layer_cam"]


@cam_method("layer_cam", plan=Plan(gradients=True), paper="doi:10.1109/TIP.2021.3089943")
def layer_cam(
    record: Record, *, fused: bool = False, gamma: float = 2.0
) -> Float[Tensor, "batch k h w"]:
    """LayerCAM (Jiang et al., TIP 2021): each position is weighted by its own positive gradient.

    ``M^c = ReLU(sum_k ReLU(dy^c / dA_k) A_k)``, position by position, where ``A_k``, (h, w), is the
    activation of channel k at the target layer and ``y^c`` the score of class c before softmax.

    Args:
        record: a record of one layer; for a fused map, of several stages.
        fused: whether the map is the element-wise maximum of the maps of the layer and of all
            layers recorded before it, each in units of its maximum and resized (bilinear) to the
            finest of their grids. Maps of shallow stages have few high values, and are scaled up as
            ``tanh(gamma M / max M)``. Shallow stages are the stages before the last two, as on the
            paper's VGG-16: their grids are at least three times as fine as the layer's grid.
        gamma: scale of the maps of shallow stages; the paper's is 2.
    """
    if not fused:
        return _map(record)
    layers = [_map(record.at_layer(at)) for at in range(record.at + 1)]
    scaled = [
        _fraction_of_maximum(maps)
        if maps.shape[-2] < 3 * layers[-1].shape[-2]
        else torch.tanh(gamma * _fraction_of_maximum(maps))
        for maps in layers
    ]
    finest = max((maps.shape[-2:] for maps in layers), key=lambda size: size[0] * size[1])
    resized = [F.interpolate(maps, finest, mode="bilinear", align_corners=False) for maps in scaled]
    return reduce(torch.maximum, resized)


def _map(record: Record) -> Float[Tensor, "batch k h w"]:
    return torch.einsum("bkchw,bchw->bkhw", record.gradients.relu(), record.activations).relu()


def _fraction_of_maximum(maps: Float[Tensor, "batch k h w"]) -> Float[Tensor, "batch k h w"]:
    maxima = maps.amax(dim=(-2, -1), keepdim=True)
    return maps / torch.where(maxima == 0, 1.0, maxima)
