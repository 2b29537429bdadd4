"""The box of the largest connected component of a map at one threshold."""

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped

from wsol_bench.boxes.arguments import (
    extrema_of,
    fraction_of,
    map_of,
    require_choice,
    require_finite_range,
)
from wsol_bench.boxes.component_kernel import cut_maps
from wsol_bench.boxes.levels import exact_values, levels_of
from wsol_bench.common.vocabulary import Comparison, Connectivity, Reference

__all__ = ["largest_component", "largest_component_box", "largest_components"]


def largest_component(
    mask: Bool[np.ndarray, "h w"], *, connectivity: Connectivity = 8
) -> Float64[np.ndarray, " 4"] | None:
    """The half-open xyxy box of the connected component with most pixels.

    If several components have most pixels, the first one in raster order counts.

    Args:
        mask: pixels that belong to a component.
        connectivity: number of neighbors of a pixel, 8 or 4.

    Returns:
        Box in pixels of the mask, or None if the mask is empty.

    Raises:
        ValueError: the mask is no array (h, w) of bools, or the connectivity is something else.
    """
    require_choice("connectivity", connectivity, Connectivity)
    values = map_of(mask)
    if values.dtype != np.bool_:
        raise ValueError(f"expected a mask of bools, found {values.dtype}")
    box = largest_components(
        values[None].astype(np.float32), np.array([0.5]), connectivity=connectivity
    )[0]
    return None if np.isnan(box[0]) else box


def largest_component_box(
    map: Shaped[np.ndarray, "..."],
    *,
    threshold: float = 0.15,
    of: Reference = "maximum",
    extrema: tuple[float, float] | None = None,
    comparison: Comparison = "at_least",
    connectivity: Connectivity = 8,
) -> Float64[np.ndarray, " 4"] | None:
    """The box of the largest component of the pixels that reach a fraction of the map's maximum.

    The defaults are Grad-CAM's (Selvaraju et al., ICCV 2017, section 4.1):
    ``map >= 0.15 * max(map)``, 8-connected, most pixels.

    Args:
        map: localization map (h, w), any real dtype; values are compared exactly, in float64.
        threshold: fraction in [0, 1].
        of: ``maximum``: the level is ``threshold * max``, and a map without a positive value has no
            box; ``range``: the level is ``min + threshold * (max - min)``.
        extrema: (min, max) that the level is measured by; the map's own by default.
        comparison: ``at_least`` is >=, ``above`` is >.
        connectivity: number of neighbors of a pixel, 8 or 4.

    Returns:
        Half-open xyxy box in pixels of the map; None if the map is empty, holds a value that is not
        finite, or has no pixel that reaches the level. The box of a positive constant map is the
        whole map.

    Raises:
        ValueError: the map is no array (h, w) of real numbers, or has a mask; an argument is none
            of its choices; the threshold is not in [0, 1]; the extrema are not finite.
    """
    values = map_of(map)
    fraction = fraction_of(threshold)
    require_choice("of", of, Reference)
    require_choice("comparison", comparison, Comparison)
    require_choice("connectivity", connectivity, Connectivity)
    given = None if extrema is None else extrema_of(extrema)
    if values.size == 0 or not np.isfinite(values).all():
        return None
    low, high = (np.float64(values.min()), np.float64(values.max())) if given is None else given
    if of == "range":
        require_finite_range(low, high)
    levels = levels_of(np.array([low]), np.array([high]), threshold=fraction, of=of)
    box = largest_components(
        exact_values(values)[None], levels, comparison=comparison, connectivity=connectivity
    )[0]
    return None if np.isnan(box[0]) else box


def largest_components(
    maps: Float[np.ndarray, "n h w"],
    levels: Float64[np.ndarray, " n"],
    *,
    comparison: Comparison = "at_least",
    connectivity: Connectivity = 8,
) -> Float64[np.ndarray, "n 4"]:
    """The box of the largest component of each map at its level, as half-open xyxy.

    Maps and levels are compared in float64, so that a level is not rounded to the maps' dtype. The
    interpreter's lock is released meanwhile, so several threads can call this function at once.

    Args:
        maps: float32 or float64.
        levels: level of each map; NaN is a level that no pixel reaches.
        comparison: ``at_least`` is >=, ``above`` is >.
        connectivity: number of neighbors of a pixel, 8 or 4.

    Returns:
        One box a map, in pixels of the map; a row of NaN if no pixel reaches the level.

    Raises:
        ValueError: maps or levels have another shape or type, or an argument is none of its
            choices.
    """
    require_choice("comparison", comparison, Comparison)
    require_choice("connectivity", connectivity, Connectivity)
    is_map = maps.ndim == 3 and maps.dtype in (np.float32, np.float64)
    if not is_map or levels.shape != maps.shape[:1] or levels.dtype != np.float64:
        raise ValueError(
            "expected maps (n, h, w) in float32 or float64 and levels (n,) in float64, found "
            f"{maps.dtype} of shape {maps.shape} and {levels.dtype} of shape {levels.shape}"
        )
    reach = 1 if connectivity == 8 else 0
    return cut_maps(np.ascontiguousarray(maps), levels, comparison == "above", reach)
