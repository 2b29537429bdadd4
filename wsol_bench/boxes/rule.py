"""A protocol's rule from low-resolution maps to boxes."""

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor

from wsol_bench.boxes.component import largest_component_box
from wsol_bench.protocols import BoxRule, MapRule

__all__ = ["boxes_of_maps", "upsample"]


def upsample(
    maps: Float[Tensor, "n h w"], size: tuple[int, int], rule: MapRule
) -> Float[Tensor, "n height width"]:
    """Maps at the input's (height, width), rectified where the protocol says."""
    if rule.rectify == "before_upsampling":
        maps = maps.relu()
    aligned = None if rule.upsample == "nearest" else rule.align_corners
    large = F.interpolate(maps[:, None], size=size, mode=rule.upsample, align_corners=aligned)[:, 0]
    return large.relu() if rule.rectify == "after_upsampling" else large


def boxes_of_maps(
    maps: Float[Tensor, "n h w"], size: tuple[int, int], map_rule: MapRule, box_rule: BoxRule
) -> Float64[np.ndarray, "n 4"]:
    """One half-open xyxy box a map, in pixels of the input; a row of NaN where there is no box.

    Args:
        maps: as the method made them (signed or not), float32.
        size: (height, width) of the network's input.
    """
    boxes = np.full((len(maps), 4), np.nan)
    large = upsample(maps, size, map_rule).cpu().numpy()
    low = maps.relu() if map_rule.rectify == "before_upsampling" else maps
    for index, values in enumerate(large):
        measured = low[index] if box_rule.measured_on == "low_resolution" else None
        box = largest_component_box(
            values,
            threshold=box_rule.threshold,
            of=box_rule.of,
            extrema=None if measured is None else (float(measured.min()), float(measured.max())),
            comparison=box_rule.comparison,
            connectivity={4: 1, 8: 2}[box_rule.connectivity],
        )
        if box is not None:
            boxes[index] = box
    return boxes
