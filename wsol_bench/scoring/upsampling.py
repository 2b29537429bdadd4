"""Localization maps at the size of the network's input."""

from functools import lru_cache
from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Float32, Int64

from wsol_bench.protocols.sections import MapSection

__all__ = ["Taps", "taps", "upsample"]


class Taps(NamedTuple):
    """The samples that each interpolated sample is made of, along one axis.

    Attributes:
        sample: the positions of the samples.
        weight: the weight of each sample; one of weight 0 is left out.
    """

    sample: Int64[np.ndarray, "after taps"]
    weight: Float32[np.ndarray, "after taps"]


def upsample(
    maps: Float32[np.ndarray, "n h w"], size: tuple[int, int], section: MapSection
) -> Float32[np.ndarray, "n height width"]:
    """Maps at the input's (height, width), rectified if the protocol says so.

    The result is that of torch's interpolation, up to the rounding of float32.
    """
    if section.rectify == "before_upsampling":
        maps = np.maximum(maps, 0)
    vertical, horizontal = (
        taps(before, after, section) for before, after in zip(maps.shape[1:], size, strict=True)
    )
    large = np.empty((len(maps), *size), np.float32)
    _interpolate(np.ascontiguousarray(maps), *vertical, *horizontal, large)
    return np.maximum(large, 0) if section.rectify == "after_upsampling" else large


@lru_cache(maxsize=64)
def taps(before: int, after: int, section: MapSection) -> Taps:
    """The taps of an axis of ``before`` samples that gets ``after`` samples.

    The weights are what torch's interpolation gives to unit vectors, to the last bit, on x86 with
    AVX2 and for more than 120 samples; torch's own depend on the processor and on the size. Here
    they are the same everywhere, and reading a stored run does not need torch.
    """
    place = np.arange(after, dtype=np.float32)
    if section.upsample == "nearest":
        nearest = (place * _ratio(before, after)).astype(np.int64)
        sample = np.minimum(nearest, before - 1)[:, None]
        return Taps(sample, np.ones((after, 1), np.float32))
    if section.align_corners:
        place = place * _ratio(before - 1, max(after - 1, 1))
    elif section.upsample == "bilinear":
        place = (place + 0.5) * _ratio(before, after) - 0.5
    else:
        place = _fused(place + 0.5, _ratio(before, after), -0.5)
    left = np.minimum(np.floor(place), before - 1)
    part = np.clip(place - left, 0, 1)
    if section.upsample == "bilinear":
        offset, weight = np.arange(0, 2), _bilinear(part)
    else:
        offset, weight = np.arange(-1, 3), _bicubic(part)
    sample = left.astype(np.int64)[:, None] + offset
    return _each_once(np.clip(sample, 0, before - 1), weight)


def _ratio(first: int, second: int) -> np.float32:
    return np.float32(first) / np.float32(second)


def _fused(
    first: Float32[np.ndarray, " n"], second: np.ndarray | np.float32, third: float
) -> Float32[np.ndarray, " n"]:
    """The result of ``first * second + third``, rounded once, as processors compute it in one step.

    A product of two float32 is exact in float64.
    """
    return (first.astype(np.float64) * second + third).astype(np.float32)


def _bilinear(part: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, "n 2"]:
    """The weights of the two nearest samples, of which the left one is ``part`` away."""
    return np.stack([1 - part, part], axis=1)


def _bicubic(part: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, "n 4"]:
    """The weights of the four nearest samples, of which the second one is ``part`` away.

    They are the values of Keys' kernel (1981) with a = -0.75, with the steps that torch fuses.
    """

    def near(distance: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
        return _fused(distance, np.float32(1.25), -2.25) * distance * distance + 1

    def far(distance: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
        inner = _fused(distance, np.float32(-0.75), 3.75)
        return _fused(inner, distance, -6.0) * distance + 3

    rest = 1 - part
    return np.stack([far(part + 1), near(part), near(rest), far(rest + 1)], axis=1)


def _each_once(
    sample: Int64[np.ndarray, "after taps"], weight: Float32[np.ndarray, "after taps"]
) -> Taps:
    """Taps in which no sample is used twice: those beyond an end are the sample at the end."""
    column = np.cumsum(np.diff(sample, axis=1, prepend=sample[:, :1]) > 0, axis=1)
    line = np.arange(len(sample))
    once = Taps(np.repeat(sample[:, -1:], sample.shape[1], axis=1), np.zeros_like(weight))
    for tap in range(sample.shape[1]):
        once.sample[line, column[:, tap]] = sample[:, tap]
        once.weight[line, column[:, tap]] += weight[:, tap]
    return once


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
