"""A protocol's rule from stored maps to boxes and their overlap with the ground truth."""

from collections.abc import Sequence
from functools import lru_cache
from typing import no_type_check

import numba
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float16, Float32, Float64, Int64

from wsol_bench.boxes.component import largest_components, levels_of
from wsol_bench.geometry import Placement, box_iou, to_original
from wsol_bench.protocols import BoxRule, MapRule, Protocol

__all__ = ["boxes_of_maps", "score_maps", "upsample"]

# Maps at the input's size that lie in memory at a time: 8 of 224 x 224 fit a processor's cache.
_CHUNK = 8


def score_maps(
    maps: Float16[np.ndarray, "n h w"],
    image: Int64[np.ndarray, " n"],
    placements: Sequence[Placement],
    truth: Sequence[Float64[np.ndarray, "_ 4"]],
    protocol: Protocol,
) -> tuple[Float64[np.ndarray, "n 4"], Float64[np.ndarray, " n"]]:
    """Boxes of stored maps, and how well they meet the ground truth.

    Args:
        maps: as they are stored.
        image: index of each map's image.
        placements: where the network's input lay in each image; all inputs of these maps have one
            size.
        truth: ground-truth boxes of each image that count, half-open xyxy pixels of the image.
        protocol: map and box rule.

    Returns:
        Boxes in pixels of their images (NaN where there is none), and the best IoU of each with the
        ground truth (0 where there is no box).
    """
    if not len(maps):
        return np.empty((0, 4)), np.empty(0)
    size = placements[image[0]].input
    boxes = boxes_of_maps(maps.astype(np.float32), size, protocol.map, protocol.box)
    boxes = to_original(boxes, placements, image)
    counts = np.array([len(one) for one in truth])[image]
    best = np.zeros(len(boxes))
    for position in range(int(counts.max(initial=0))):
        # The n-th ground-truth box of every image that has so many.
        some = np.flatnonzero(counts > position)
        theirs = np.array([truth[index][position] for index in image[some]])
        best[some] = np.maximum(best[some], box_iou(boxes[some], theirs))
    return boxes, best


def boxes_of_maps(
    maps: Float32[np.ndarray, "n h w"], size: tuple[int, int], map_rule: MapRule, box_rule: BoxRule
) -> Float64[np.ndarray, "n 4"]:
    """One half-open xyxy box a map, in pixels of the input; a row of NaN where there is no box.

    Args:
        maps: as the method made them, signed or not.
        size: (height, width) of the network's input.
    """
    if not len(maps):
        return np.empty((0, 4))
    if len(maps) > _CHUNK:
        parts = (maps[start : start + _CHUNK] for start in range(0, len(maps), _CHUNK))
        return np.concatenate([boxes_of_maps(part, size, map_rule, box_rule) for part in parts])
    large = upsample(maps, size, map_rule)
    measured = large
    if box_rule.measured_on == "low_resolution":
        measured = np.maximum(maps, 0) if map_rule.rectify == "before_upsampling" else maps
    flat = measured.reshape(len(maps), measured[0].size)
    levels = levels_of(
        flat.min(axis=1).astype(np.float64),
        flat.max(axis=1).astype(np.float64),
        threshold=box_rule.threshold,
        of=box_rule.of,
    )
    levels[~np.isfinite(maps).all(axis=(1, 2))] = np.nan
    return largest_components(
        large,
        levels,
        comparison=box_rule.comparison,
        connectivity={4: 1, 8: 2}[box_rule.connectivity],
    )


def upsample(
    maps: Float32[np.ndarray, "n h w"], size: tuple[int, int], rule: MapRule
) -> Float32[np.ndarray, "n height width"]:
    """Maps at the input's (height, width), rectified where the protocol says.

    torch's interpolation, to the rounding of float32: it is separable and linear, so its weights
    along an axis are what it makes of the unit vectors.
    """
    if rule.rectify == "before_upsampling":
        maps = np.maximum(maps, 0)
    vertical, horizontal = (
        _weights(before, after, rule.upsample, rule.align_corners)
        for before, after in zip(maps.shape[1:], size, strict=True)
    )
    large = np.empty((len(maps), *size), np.float32)
    _interpolate(np.ascontiguousarray(maps), vertical, horizontal, large)
    return np.maximum(large, 0) if rule.rectify == "after_upsampling" else large


@lru_cache(maxsize=64)
def _weights(
    before: int, after: int, mode: str, align_corners: bool
) -> Float32[np.ndarray, "after before"]:
    """Weights of each sample in each interpolated one, along an axis."""
    columns = torch.eye(before)[None, None]
    aligned = None if mode == "nearest" else align_corners
    weights = F.interpolate(columns, size=(after, before), mode=mode, align_corners=aligned)[0, 0]
    return weights.numpy()


@no_type_check
@numba.njit(nogil=True, cache=True)
def _interpolate(maps, vertical, horizontal, large):
    n, before, narrow = maps.shape
    height, width = large.shape[1:]
    wide = np.empty((before, width), np.float32)
    for index in range(n):
        wide[:] = 0
        for x in range(width):
            for i in range(narrow):
                weight = horizontal[x, i]
                if weight != 0:
                    for y in range(before):
                        wide[y, x] += weight * maps[index, y, i]
        for y in range(height):
            for x in range(width):
                large[index, y, x] = 0
            for i in range(before):
                weight = vertical[y, i]
                if weight != 0:
                    for x in range(width):
                        large[index, y, x] += weight * wide[i, x]
