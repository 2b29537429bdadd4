"""One threshold, one box: the largest connected component of a cut map."""

from typing import Literal, no_type_check

import numba
import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped

__all__ = [
    "exact_values",
    "largest_component",
    "largest_component_box",
    "largest_components",
    "levels_of",
]


def largest_component(
    mask: Bool[np.ndarray, "h w"], *, connectivity: int = 2
) -> Float64[np.ndarray, " 4"] | None:
    """Half-open xyxy box of the component with most pixels; the first in raster order of several.

    Args:
        mask: pixels that belong to a component.
        connectivity: 1 for 4 neighbors, 2 for 8 (scikit-image's count of orthogonal hops).

    Returns:
        Box in pixels of the mask, or None where the mask is empty.
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
    """Box of the largest component of the pixels that reach a fraction of the map's maximum.

    The defaults are Grad-CAM's (Selvaraju et al., ICCV 2017, section 4.1):
    ``map >= 0.15 * max(map)``, 8-connected, most pixels.

    Args:
        map: localization map (h, w), any real dtype.
        threshold: fraction in [0, 1].
        of: ``maximum``: the level is ``threshold * max``, and a map without a positive value has no
            box; ``range``: the level is ``min + threshold * (max - min)``.
        extrema: (min, max) to measure the level by, where not the map's own.
        comparison: ``at_least`` is >=, ``above`` is >.
        connectivity: 1 for 4 neighbors, 2 for 8.

    Returns:
        Half-open xyxy box in pixels of the map, or None: an empty map, a value that is not finite,
        or no pixel that reaches the level. A positive constant map is the whole map.

    Raises:
        ValueError: not one map of shape (h, w).
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


def exact_values(map: Shaped[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """A map in the smaller of float32 and float64 that holds every value of its type."""
    return map.astype(np.float32 if map.dtype in (np.float16, np.float32) else np.float64)


def levels_of(
    low: np.float64 | Float64[np.ndarray, "..."],
    high: np.float64 | Float64[np.ndarray, "..."],
    *,
    threshold: float | Float64[np.ndarray, "..."],
    of: Literal["maximum", "range"],
) -> Float64[np.ndarray, "..."]:
    """The value at which each map is cut, from its extrema; NaN where it has no box.

    One threshold for many maps, or many for one.
    """
    if of == "range":
        return np.asarray(low + threshold * (high - low))
    return np.where(high > 0, threshold * high, np.nan)


def largest_components(
    maps: Float[np.ndarray, "n h w"],
    levels: Float64[np.ndarray, " n"],
    *,
    comparison: Literal["at_least", "above"] = "at_least",
    connectivity: int = 2,
) -> Float64[np.ndarray, "n 4"]:
    """The box of the largest component of each map at its level, as half-open xyxy.

    Maps and levels are compared in float64, so that a level is not rounded to the maps' dtype. The
    interpreter is free meanwhile: threads do this side by side.

    Args:
        maps: float32 or float64.
        levels: of each map; no pixel reaches NaN.
        comparison: ``at_least`` is >=, ``above`` is >.
        connectivity: 1 for 4 neighbors, 2 for 8.

    Returns:
        A row of NaN where no pixel reaches the level.
    """
    boxes = np.full((len(maps), 4), np.nan)
    reach = 1 if connectivity == 2 else 0
    _cut_maps(np.ascontiguousarray(maps), levels, comparison == "above", reach, boxes)
    return boxes


@no_type_check
@numba.njit(nogil=True, cache=True)
def _cut_maps(maps, levels, above, reach, boxes):
    n, height, width = maps.shape
    # Runs of pixels in a row, in raster order; a component is the tree of its runs, whose root is
    # its first run.
    most = height * ((width + 1) // 2)
    first = np.empty(most, np.int32)
    last = np.empty(most, np.int32)
    row = np.empty(most, np.int32)
    parent = np.empty(most, np.int32)
    size = np.empty(most, np.int64)
    box = np.empty((most, 4), np.int32)
    for index in range(n):
        level = levels[index]
        n_runs = 0
        before = 0  # first run of the row above
        for y in range(height):
            start = n_runs
            x = 0
            while x < width:
                value = maps[index, y, x]
                if not (value > level or (value == level and not above)):
                    x += 1
                    continue
                first[n_runs] = x
                while x < width:
                    value = maps[index, y, x]
                    if not (value > level or (value == level and not above)):
                        break
                    x += 1
                last[n_runs] = x - 1
                row[n_runs] = y
                parent[n_runs] = n_runs
                n_runs += 1
            # Both rows are in order: one walk finds all pairs that touch.
            upper, lower = before, start
            while upper < start and lower < n_runs:
                if first[upper] <= last[lower] + reach and first[lower] <= last[upper] + reach:
                    one = upper
                    while parent[one] != one:
                        parent[one] = parent[parent[one]]
                        one = parent[one]
                    other = lower
                    while parent[other] != other:
                        parent[other] = parent[parent[other]]
                        other = parent[other]
                    if one < other:
                        parent[other] = one
                    else:
                        parent[one] = other
                if last[upper] < last[lower]:
                    upper += 1
                else:
                    lower += 1
            before = start
        best = -1
        for run in range(n_runs):
            # A root comes before its runs, and a parent is a root by then or leads to one.
            root = run
            while parent[root] != root:
                root = parent[root]
            parent[run] = root
            if root == run:
                size[run] = 0
                box[run, 0], box[run, 1] = first[run], row[run]
                box[run, 2] = last[run]
            size[root] += last[run] - first[run] + 1
            box[root, 0] = min(box[root, 0], first[run])
            box[root, 2] = max(box[root, 2], last[run])
            box[root, 3] = row[run]
        for run in range(n_runs):
            if parent[run] == run and (best < 0 or size[run] > size[best]):
                best = run
        if best >= 0:
            boxes[index, 0] = box[best, 0]
            boxes[index, 1] = box[best, 1]
            boxes[index, 2] = box[best, 2] + 1
            boxes[index, 3] = box[best, 3] + 1
