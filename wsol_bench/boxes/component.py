"""The box of the largest connected component of a map at one threshold."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped

from wsol_bench.boxes.component_kernel import cut_maps
from wsol_bench.boxes.levels import exact_values, levels_of

__all__ = ["largest_component", "largest_component_box", "largest_components"]


def largest_component(
    mask: Bool[np.ndarray, "h w"], *, connectivity: int = 2
) -> Float64[np.ndarray, " 4"] | None:
    """The half-open xyxy box of the connected component with most pixels.

    If several components have most pixels, the first one in raster order counts.

    Args:
        mask: pixels that belong to a component.
        connectivity: 1 for 4 neighbors, 2 for 8 (scikit-image's count of orthogonal hops).

    Returns:
        Box in pixels of the mask, or None if the mask is empty.
    """
    box = largest_components(
        mask[None].astype(np.float32), np.array([0.5]), connectivity=connectivity
    )[0]
    return None if np.isnan(box[0]) else box


def largest_component_box(
    map: Shaped[np.ndarray, "..."],
    *,
    threshold: float = 0.15,
    of: Literal["maximum", "range"] = "maximum",
    extrema: tuple[float, float] | None = None,
    comparison: Literal["at_least", "above"] = "at_least",
    connectivity: int = 2,
) -> Float64[np.ndarray, " 4"] | None:
    """The box of the largest component of the pixels that reach a fraction of the map's maximum.

    The defaults are Grad-CAM's (Selvaraju et al., ICCV 2017, section 4.1):
    ``map >= 0.15 * max(map)``, 8-connected, most pixels.

    Args:
        map: localization map (h, w), any real dtype.
        threshold: fraction in [0, 1].
        of: ``maximum``: the level is ``threshold * max``, and a map without a positive value has no
            box; ``range``: the level is ``min + threshold * (max - min)``.
        extrema: (min, max) that the level is measured by; the map's own by default.
        comparison: ``at_least`` is >=, ``above`` is >.
        connectivity: 1 for 4 neighbors, 2 for 8.

    Returns:
        Half-open xyxy box in pixels of the map; None if the map is empty, holds a value that is not
        finite, or has no pixel that reaches the level. The box of a positive constant map is the
        whole map.

    Raises:
        ValueError: the map does not have the shape (h, w).
    """
    values = np.asarray(map)
    if values.ndim != 2:
        raise ValueError(f"expected a map of shape (h, w), found shape {values.shape}")
    if values.size == 0 or not np.isfinite(values).all():
        return None
    low, high = (values.min(), values.max()) if extrema is None else extrema
    levels = levels_of(
        np.array([low], np.float64), np.array([high], np.float64), threshold=threshold, of=of
    )
    box = largest_components(
        exact_values(values)[None], levels, comparison=comparison, connectivity=connectivity
    )[0]
    return None if np.isnan(box[0]) else box


def largest_components(
    maps: Float[np.ndarray, "n h w"],
    levels: Float64[np.ndarray, " n"],
    *,
    comparison: Literal["at_least", "above"] = "at_least",
    connectivity: int = 2,
) -> Float64[np.ndarray, "n 4"]:
    """The box of the largest component of each map at its level, as half-open xyxy.

    Maps and levels are compared in float64, so that a level is not rounded to the maps' dtype. The
    interpreter's lock is released meanwhile, so several threads can call this function at once.

    Args:
        maps: float32 or float64.
        levels: level of each map; NaN is a level that no pixel reaches.
        comparison: ``at_least`` is >=, ``above`` is >.
        connectivity: 1 for 4 neighbors, 2 for 8.

    Returns:
        One box a map, in pixels of the map; a row of NaN if no pixel reaches the level.
    """
    reach = 1 if connectivity == 2 else 0
    return cut_maps(np.ascontiguousarray(maps), levels, comparison == "above", reach)
