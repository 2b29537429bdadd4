"""The extrema of a map, which a protocol's threshold is a fraction of, and connectivity."""

import numpy as np
from jaxtyping import Float32, Float64

from wsol_bench.protocols.sections import BoxSection, MapSection

__all__ = ["CONNECTIVITY", "extrema"]

# scikit-image's count of orthogonal hops, by number of neighbors.
CONNECTIVITY = {4: 1, 8: 2}


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
