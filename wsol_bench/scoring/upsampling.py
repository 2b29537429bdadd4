"""Localization maps at the size of the network's input."""

from functools import lru_cache
from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float32

from wsol_bench.protocols.sections import MapSection

__all__ = ["upsample"]


def upsample(
    maps: Float32[np.ndarray, "n h w"], size: tuple[int, int], section: MapSection
) -> Float32[np.ndarray, "n height width"]:
    """Maps at the input's (height, width), rectified if the protocol says so.

    The result is that of torch's interpolation, up to the rounding of float32. The interpolation is
    separable and linear, so its weights along an axis are its results on the unit vectors.
    """
    if section.rectify == "before_upsampling":
        maps = np.maximum(maps, 0)
    vertical, horizontal = (
        _weights(before, after, section.upsample, section.align_corners)
        for before, after in zip(maps.shape[1:], size, strict=True)
    )
    large = np.empty((len(maps), *size), np.float32)
    _interpolate(np.ascontiguousarray(maps), vertical, horizontal, large)
    return np.maximum(large, 0) if section.rectify == "after_upsampling" else large


@lru_cache(maxsize=64)
def _weights(
    before: int, after: int, mode: str, align_corners: bool
) -> Float32[np.ndarray, "after before"]:
    """The weight of each sample in each interpolated sample, along one axis."""
    if before == after and not align_corners:  # each sample is itself, in every mode
        return np.eye(before, dtype=np.float32)
    import torch  # imported here, so that reading a stored run does not need it
    import torch.nn.functional as F

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
