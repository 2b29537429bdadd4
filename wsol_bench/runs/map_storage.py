"""The storage of maps: scaled by their maximum, then rounded to float16."""

import numpy as np
import torch
from jaxtyping import Float, Float16, Float64
from torch import Tensor

__all__ = ["storable"]


def storable(
    maps: Float[Tensor, "n h w"],
) -> tuple[Float16[np.ndarray, "n h w"], Float64[np.ndarray, " n"]]:
    """Maps as they are stored, and their scales.

    Boxes are taken from these maps, so that scoring stored maps again gives the same boxes. The
    scale is the maximum if that is positive, so that a map and its ReLU round alike; otherwise it
    is the largest magnitude. A value that is not finite stays as it is.

    Args:
        maps: the maps as a method returns them.

    Returns:
        The maps divided by their scales, and the scales.
    """
    flat = maps.detach().float().flatten(1)
    highest = flat.amax(dim=1)
    scale = torch.where(highest > 0, highest, flat.abs().amax(dim=1))
    scale = torch.where((scale > 0) & scale.isfinite(), scale, 1.0)
    # A value far below the maximum decides nothing, so it is cut at float16's range.
    limit = torch.finfo(torch.float16).max
    scaled = maps / scale[:, None, None]
    half = torch.where(scaled.isfinite(), scaled.clamp(-limit, limit), scaled).half()
    return half.cpu().numpy(), scale.double().cpu().numpy()
