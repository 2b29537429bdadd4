"""Eigen-CAM: the first principal component of the activations."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.methods.base import cam_method

__all__ = ["eigen_cam", "first_component"]


@cam_method("eigen_cam", plan=Plan(), paper="arXiv:2008.00299")
def eigen_cam(record: Record, *, centered: bool = False) -> Float[Tensor, "batch k h w"]:
    """Eigen-CAM (Muhammad and Yeasin, IJCNN 2020): the activations' first principal component.

    ``L = O v``, where O, (positions, channels), are the activations of the target layer and v,
    (channels,), their first right singular vector. The map does not depend on the class: all slots
    have the same map. Behind a ReLU the map has no negative value; otherwise it is signed.

    Args:
        record: a record of one layer.
        centered: whether each channel's mean over the positions is subtracted first, as
            pytorch-grad-cam does and the paper does not. The map is signed then.
    """
    maps = first_component(record.activations, centered=centered)
    return maps[:, None].expand(-1, record.classes.shape[1], -1, -1)


def first_component(
    channels: Float[Tensor, "*batch c h w"], *, centered: bool
) -> Float[Tensor, "*batch h w"]:
    """The projection of each position's channels on their first right singular vector.

    It is computed from the smaller of the two Gram matrices, (c, c) or (h w, h w). The sign, which
    a decomposition leaves open, makes the inner product with the sum over the channels positive.

    Args:
        channels: activations, or gradients times activations.
        centered: whether each channel's mean over the positions is subtracted first.
    """
    size = channels.abs().amax(dim=(-3, -2, -1), keepdim=True)
    # In units of the maximum: squares of gradients would leave the range of float32. Decompositions
    # refuse values that are not finite: these are zero here, and not finite again at the end.
    usable = size.isfinite() & (size > 0)
    rows = torch.where(usable, channels / size, 0.0).flatten(-2)
    if centered:
        rows = rows - rows.mean(dim=-1, keepdim=True)
    n_channels, n_positions = rows.shape[-2:]
    if n_channels <= n_positions:
        right = torch.linalg.eigh(rows @ rows.mT).eigenvectors[..., -1:]
    else:
        left = torch.linalg.eigh(rows.mT @ rows).eigenvectors[..., -1:]
        right = F.normalize(rows @ left, dim=-2)
    projection = (rows.mT @ right).squeeze(-1)
    along = (projection * rows.sum(dim=-2)).sum(dim=-1, keepdim=True)
    projection = torch.where(along < 0, -projection, projection)
    return projection.unflatten(-1, channels.shape[-2:]) * size.squeeze(-3)
