"""The levels at which maps are cut, and the number of levels that each pixel reaches."""

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float, Float64, Int32, Shaped

from wsol_bench.boxes.arguments import require_choice
from wsol_bench.common.vocabulary import Comparison, Reference

__all__ = ["exact_values", "levels_of", "ranks_of"]


def exact_values(map: Shaped[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """A map in the smaller of float32 and float64 that holds every value of its type."""
    return map.astype(np.float32 if map.dtype in (np.float16, np.float32) else np.float64)


def levels_of(
    low: np.float64 | Float64[np.ndarray, "..."],
    high: np.float64 | Float64[np.ndarray, "..."],
    *,
    threshold: float | Float64[np.ndarray, "..."],
    of: Reference,
) -> Float64[np.ndarray, "..."]:
    """The value at which each map is cut, from its extrema; NaN if the map has no box.

    Either one threshold for many maps, or many thresholds for one map.

    Args:
        low, high: least and greatest value of each map.
        threshold: fraction in [0, 1].
        of: ``maximum``: ``threshold * high``, NaN unless ``high`` is positive; ``range``:
            ``low + threshold * (high - low)``.

    Raises:
        ValueError: ``of`` is something else.
    """
    require_choice("of", of, Reference)
    if of == "range":
        return np.asarray(low + threshold * (high - low))
    return np.where(high > 0, threshold * high, np.nan)


def ranks_of(
    map: Shaped[np.ndarray, "h w"],
    levels: Float64[np.ndarray, " t"],
    *,
    comparison: Comparison,
) -> Int32[np.ndarray, "h w"]:
    """The number of levels that each pixel reaches.

    Args:
        map: map with finite float32 or float64 values.
        levels: levels in ascending order; no pixel reaches a level of NaN.
        comparison: ``at_least`` is >=, ``above`` is >.

    Raises:
        ValueError: ``comparison`` is something else.
    """
    require_choice("comparison", comparison, Comparison)
    reachable = levels[~np.isnan(levels)]
    if not len(reachable):
        return np.zeros(map.shape, np.int32)
    # A value is above a level if it is at least the next number.
    least = np.nextafter(reachable, np.inf) if comparison == "above" else reachable
    return _rank(np.ascontiguousarray(map), least)


@no_type_check
@numba.njit(nogil=True, cache=True)
def _rank(values, levels):
    """The number of ascending levels that each value is not below, as int32."""
    height, width = values.shape
    ranks = np.empty((height, width), np.int32)
    n = len(levels)
    lowest = levels[0]
    extent = levels[n - 1] - lowest
    # A table guesses each value's rank, a step without a branch corrects most wrong guesses, and
    # two loops correct the rest. The rank is right for any guess.
    guesses = np.empty(n + 1, np.int32)
    scale = n / extent if extent > 0 else 0.0
    level = 0
    for slot in range(n + 1):
        while level < n and (levels[level] - lowest) * scale < slot:
            level += 1
        guesses[slot] = level
    fenced = np.append(levels, np.inf)
    # One row of slots at a time, in float32, so that the compiler computes several at once.
    slots = np.empty(width, np.int32)
    zero, last, shift, factor = np.float32(0), np.float32(n), np.float32(lowest), np.float32(scale)
    for y in range(height):
        for x in range(width):
            slot = (np.float32(values[y, x]) - shift) * factor
            slot = slot if slot > zero else zero
            slots[x] = np.int32(slot if slot < last else last)
        for x in range(width):
            value = np.float64(values[y, x])
            rank = guesses[slots[x]]
            rank += np.int64(value >= fenced[rank])
            while value >= fenced[rank]:
                rank += 1
            while rank > 0 and value < fenced[rank - 1]:
                rank -= 1
            ranks[y, x] = rank
    return ranks
