"""The boxes of a map's components at all thresholds, from one pass over its pixels.

A pixel joins the components beside it once, at the highest threshold that it reaches, and stays in
them at all lower ones. So a union-find over the pixels in descending order (the component tree of
the map; Najman & Couprie, IEEE Trans. Image Processing 2006) meets the components of every
threshold on its way, for the cost of one threshold.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int32, Int64, Shaped, UInt8

from wsol_bench.boxes.arguments import (
    fractions_of,
    map_of,
    require_choice,
    require_finite_range,
    truth_of,
)
from wsol_bench.boxes.levels import exact_values, levels_of, ranks_of
from wsol_bench.boxes.neighbor_ring import GAIN_PIXELS, GROUPS
from wsol_bench.boxes.sweep_kernel import raise_curve, sweep_levels
from wsol_bench.common.vocabulary import Comparison, Connectivity, Reference, WhichComponents

__all__ = [
    "BoxSpans",
    "Components",
    "best_iou_curve",
    "sweep",
    "sweep_best_iou",
    "threshold_sweep",
]


class BoxSpans(NamedTuple):
    """Boxes, each with the range of levels at which it exists.

    Attributes:
        boxes: half-open xyxy in pixels of the map.
        low, high: index of the first and of the last level of each box, both included.
    """

    boxes: Int32[np.ndarray, "m 4"] | Float64[np.ndarray, "m 4"]
    low: Int32[np.ndarray, " m"]
    high: Int32[np.ndarray, " m"]


class Components(NamedTuple):
    """The boxes of the components of a map, as a sweep finds them.

    Attributes:
        largest: boxes of the largest component; at most one at each level.
        all: boxes of all components; empty unless the sweep was called with ``every``.
    """

    largest: BoxSpans
    all: BoxSpans


def threshold_sweep(
    map: Shaped[np.ndarray, "..."],
    thresholds: Sequence[float] | Float64[np.ndarray, "..."],
    *,
    connectivity: Connectivity = 8,
    of: Reference = "maximum",
    comparison: Comparison = "at_least",
) -> Float64[np.ndarray, "t 4"]:
    """The box of the largest component at every threshold.

    ``largest_component_box`` gives the same box at each threshold, at the cost of one pass each.

    Args:
        map: localization map (h, w), any real dtype; values are compared exactly, in float64.
        thresholds: fractions in [0, 1] of the value that ``of`` names, in any order.
        connectivity: number of neighbors of a pixel, 8 or 4.
        of, comparison: as in ``largest_component_box``.

    Returns:
        Half-open xyxy boxes in pixels of the map, one a threshold; a row of NaN if there is no
        component. If several components are largest, the first in raster order counts.

    Raises:
        ValueError: the map is no array (h, w) of real numbers, or has a mask; the thresholds are
            not a list of numbers in [0, 1]; an argument is none of its choices.
    """
    require_choice("connectivity", connectivity, Connectivity)
    require_choice("of", of, Reference)
    require_choice("comparison", comparison, Comparison)
    ranks, order = _ranks(map, thresholds, of, comparison)
    largest = sweep(ranks, len(order), connectivity=connectivity).largest
    boxes = np.full((len(order), 4), np.nan)
    # In descending order, from the highest threshold that any pixel reaches.
    descending = np.repeat(largest.boxes, largest.high - largest.low + 1, axis=0)
    boxes[order[len(descending) - 1 :: -1] if len(descending) else []] = descending
    return boxes


def sweep_best_iou(
    map: Shaped[np.ndarray, "..."],
    thresholds: Sequence[float] | Float64[np.ndarray, "..."],
    gt_boxes: Shaped[np.ndarray, "g 4"],
    *,
    components: WhichComponents = "largest",
    connectivity: Connectivity = 8,
    of: Reference = "maximum",
    comparison: Comparison = "at_least",
) -> Float64[np.ndarray, " t"]:
    """The best IoU of a component's box with any ground-truth box, at every threshold.

    Args:
        map, thresholds, connectivity, of, comparison: as in ``threshold_sweep``.
        gt_boxes: half-open xyxy in pixels of the map.
        components: whether the box of the ``largest`` component counts, or the boxes of ``all``.

    Returns:
        IoU in [0, 1], one a threshold; 0 if there is no component.

    Raises:
        ValueError: as in ``threshold_sweep``; or the ground truth is no array (g, 4) of boxes.
    """
    require_choice("components", components, WhichComponents)
    require_choice("connectivity", connectivity, Connectivity)
    require_choice("of", of, Reference)
    require_choice("comparison", comparison, Comparison)
    truth = truth_of(gt_boxes)
    ranks, order = _ranks(map, thresholds, of, comparison)
    swept = sweep(ranks, len(order), connectivity=connectivity, every=components == "all")
    spans = swept.all if components == "all" else swept.largest
    curve = np.empty(len(order))
    curve[order] = best_iou_curve(spans, truth, len(order))
    return curve


def _ranks(
    map: object, thresholds: object, of: Reference, comparison: Comparison
) -> tuple[Int32[np.ndarray, "h w"], Int64[np.ndarray, " t"]]:
    """The number of thresholds that each pixel reaches, and the thresholds' ascending order."""
    values, fractions = map_of(map), fractions_of(thresholds)
    order = np.argsort(fractions, kind="stable")
    if not values.size or not np.isfinite(values).all():
        return np.zeros(values.shape, np.int32), order
    values = exact_values(values)
    low, high = np.float64(values.min()), np.float64(values.max())
    if of == "range":
        require_finite_range(low, high)
    levels = levels_of(low, high, threshold=fractions[order], of=of)
    return ranks_of(values, levels, comparison=comparison), order


def sweep(
    ranks: Int32[np.ndarray, "h w"],
    n_levels: int,
    *,
    connectivity: Connectivity = 8,
    every: bool = False,
    gain: UInt8[np.ndarray, " 256"] | None = None,
    last_of_equals: bool = False,
) -> Components:
    """The boxes of the components at every level.

    Args:
        ranks: number of levels that each pixel reaches, from ``ranks_of``: a pixel belongs to the
            levels 0 to rank - 1.
        n_levels: number of levels.
        connectivity: number of neighbors of a pixel, 8 or 4.
        every: whether to return the boxes of all components too, not only of the largest.
        gain: growth of a component's size with a new pixel, by the set of neighbors that are
            present (see ``neighbor_ring``); ``GAIN_PIXELS`` by default: the largest component is
            the one with most pixels.
        last_of_equals: whether the last of several largest components counts, in raster order of
            their first pixels; by default the first counts.

    Raises:
        ValueError: the connectivity is something else.
    """
    require_choice("connectivity", connectivity, Connectivity)
    gain = GAIN_PIXELS if gain is None else gain
    largest, components = sweep_levels(
        np.ascontiguousarray(ranks), n_levels, GROUPS[connectivity], gain, every, last_of_equals
    )
    return Components(*(BoxSpans(table[:, :4], *table[:, 4:].T) for table in (largest, components)))


def best_iou_curve(
    spans: BoxSpans, truth: Float64[np.ndarray, "g 4"], n_levels: int
) -> Float64[np.ndarray, " t"]:
    """The best IoU of any box with any ground-truth box at each level; 0 if there is no box.

    Args:
        spans: boxes in the same pixels as ``truth``, with the levels at which each box exists.
        truth: ground-truth boxes, half-open xyxy.
        n_levels: number of levels.
    """
    boxes = np.ascontiguousarray(spans.boxes, np.float64)
    return raise_curve(boxes, spans.low, spans.high, truth, n_levels)
