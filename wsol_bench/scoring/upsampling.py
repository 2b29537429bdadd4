"""Localization maps at the size of the network's input."""

from functools import lru_cache
from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Float32, Int64

from wsol_bench.protocols.sections import MapSection

__all__ = ["upsample"]

# The most samples that an interpolated sample is made of, along one axis (bicubic).
_MOST = 4
# Samples that are this far apart never meet in one interpolated sample.
_APART = 8


class _Taps(NamedTuple):
    """The samples that each interpolated sample is made of, along one axis.

    Attributes:
        sample: the positions of the samples, ascending; the last ones may be unused.
        weight: the weight of each sample; 0 where it is unused.
    """

    sample: Int64[np.ndarray, "after taps"]
    weight: Float32[np.ndarray, "after taps"]


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
        _taps(before, after, section.upsample, section.align_corners)
        for before, after in zip(maps.shape[1:], size, strict=True)
    )
    large = np.empty((len(maps), *size), np.float32)
    _interpolate(np.ascontiguousarray(maps), *vertical, *horizontal, large)
    return np.maximum(large, 0) if section.rectify == "after_upsampling" else large


@lru_cache(maxsize=64)
def _taps(before: int, after: int, mode: str, align_corners: bool) -> _Taps:
    """The taps of an axis of ``before`` samples that gets ``after`` samples.

    Unit vectors of samples that never meet are interpolated together, so that memory grows by the
    length of the axis, not by its square.
    """
    if before == after and not align_corners:  # each sample is itself, in every mode
        every = np.arange(before)[:, None]
        return _Taps(every, np.ones((before, 1), np.float32))
    import torch  # imported here, so that reading a stored run does not need it
    import torch.nn.functional as F

    together = (torch.arange(before)[:, None] % _APART == torch.arange(_APART)).float()
    aligned = None if mode == "nearest" else align_corners
    weights = F.interpolate(
        together[None, None], size=(after, _APART), mode=mode, align_corners=aligned
    )[0, 0].numpy()
    # Where an interpolated sample lies, to two samples: this tells the samples that meet there.
    scale = (before - 1) / max(after - 1, 1) if align_corners else before / after
    shift = 0.0 if align_corners or mode == "nearest" else 0.5
    place = (np.arange(after) + shift) * scale - shift
    of_vector = np.arange(_APART)
    index = of_vector + _APART * np.rint((place[:, None] - of_vector) / _APART).astype(np.int64)
    index = np.where(weights != 0, index, before)  # the unused ones are last
    order = np.argsort(index, axis=1)[:, :_MOST]
    weights, index = (np.take_along_axis(values, order, axis=1) for values in (weights, index))
    return _Taps(np.minimum(index, before - 1), weights)


@no_type_check
@numba.njit(nogil=True, cache=True)
def _interpolate(maps, rows, row_weights, columns, column_weights, large):
    n, before, _ = maps.shape
    height, width = large.shape[1:]
    wide = np.empty((before, width), np.float32)
    for index in range(n):
        wide[:] = 0
        for x in range(width):
            for tap in range(columns.shape[1]):
                weight = column_weights[x, tap]
                if weight != 0:
                    i = columns[x, tap]
                    for y in range(before):
                        wide[y, x] += weight * maps[index, y, i]
        for y in range(height):
            for x in range(width):
                large[index, y, x] = 0
            for tap in range(rows.shape[1]):
                weight = row_weights[y, tap]
                if weight != 0:
                    i = rows[y, tap]
                    for x in range(width):
                        large[index, y, x] += weight * wide[i, x]
