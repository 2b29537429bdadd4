"""The extrema of maps: what a threshold is a fraction of, and the maps that say nothing."""

import numpy as np
from jaxtyping import Float32, Float64

from wsol_bench.protocols.sections import BoxSection, MapSection
from wsol_bench.runs.schema import RowStatus

__all__ = ["extrema", "with_unsound"]


def extrema(
    large: Float32[np.ndarray, "n height width"],
    maps: Float32[np.ndarray, "n h w"],
    map_section: MapSection,
    box_section: BoxSection,
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """The minimum and the maximum of each map that its levels are fractions of.

    Args:
        large: the upsampled maps.
        maps: the same maps at low resolution.
        map_section: says whether maps are rectified before they are upsampled.
        box_section: says which of the two resolutions the extrema are measured on.

    Returns:
        Minima and maxima; the maximum is NaN if a value of the map is not finite.
    """
    measured = large
    if box_section.measured_on == "low_resolution":
        measured = np.maximum(maps, 0) if map_section.rectify == "before_upsampling" else maps
    flat = measured.reshape(len(maps), measured[0].size)
    low, high = flat.min(axis=1).astype(np.float64), flat.max(axis=1).astype(np.float64)
    high[~np.isfinite(maps).all(axis=(1, 2))] = np.nan
    return low, high


def with_unsound(maps: Float32[np.ndarray, "n h w"], status: np.ndarray) -> np.ndarray:
    """The statuses of maps, in which those that say little have their own; see ``RowStatus``.

    Args:
        maps: the maps as they are stored.
        status: the ``RowStatus`` of each map, for one that is sound.
    """
    if not len(maps):
        return status
    flat = maps.reshape(len(maps), maps[0].size)
    finite = np.isfinite(flat).all(axis=1)
    low, high = np.zeros(len(maps)), np.zeros(len(maps))
    low[finite], high[finite] = flat[finite].min(axis=1), flat[finite].max(axis=1)
    changed = status.copy()
    changed[low == high] = RowStatus.CONSTANT.value
    changed[high <= 0] = RowStatus.NOT_POSITIVE.value
    changed[(low == 0) & (high == 0)] = RowStatus.ZERO.value
    changed[~finite] = RowStatus.NOT_FINITE.value
    return changed
