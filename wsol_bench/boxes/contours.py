"""The boxes that wsolevaluation takes from a map (Choe et al., CVPR 2020), at all thresholds.

wsolevaluation scales a map by its range, rounds it down to 8 bits, cuts it above
``int(t * maximum)`` and takes OpenCV's contours (RETR_TREE) of the remaining pixels: the border of
each 8-connected component, and the border of each hole in a component, which runs through the
pixels around the hole. A contour's size is the area of the polygon through its pixels' centers. The
box ends one pixel too far on the right and below, but inside the map. If no pixel remains, the box
is the map's first pixel.

Three sweeps give the boxes at all thresholds. A component's polygon is larger than the polygon of a
hole in the component, so the largest contour is the border of the largest component with its holes
filled. The components of all superlevel sets, holes filled, are the components of the map in which
each pixel is raised to the lowest pass on its way to the edge.
"""

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float32, Float64, Int32

from wsol_bench.boxes.arguments import fractions_of, map_of
from wsol_bench.boxes.neighbor_ring import GAIN_POLYGON
from wsol_bench.boxes.threshold_sweep import BoxSpans, Components, sweep
from wsol_bench.errors import shown

__all__ = ["contour_sweep", "gray_levels"]


def contour_sweep(
    map: Float32[np.ndarray, "h w"],
    thresholds: Float64[np.ndarray, " t"],
    *,
    every: bool = False,
) -> Components:
    """The boxes of the largest contour, and of all contours, at every threshold.

    Args:
        map: localization map, which gives boxes in its pixels; a map that is constant or holds a
            NaN counts as zeros.
        thresholds: fractions of the map's range, ascending in [0, 1].
        every: whether to return the boxes of all contours too, not only the largest.

    Returns:
        Half-open xyxy boxes that have the IoU of wsolevaluation's boxes with inclusive corners. If
        several contours are largest, the last one counts, as OpenCV lists it first.

    Raises:
        ValueError: the map is no array (h, w) in float32 with a pixel, or the thresholds are not
            ascending numbers in [0, 1].
    """
    if map_of(map).dtype != np.float32 or not map.size:
        raise ValueError(
            f"expected a map in float32 with a pixel, found {map.dtype} of shape {map.shape}"
        )
    thresholds = fractions_of(thresholds)
    if (thresholds[1:] < thresholds[:-1]).any():
        raise ValueError(f"expected thresholds in ascending order, found {shown(thresholds)}")
    height, width = map.shape
    n_levels = len(thresholds)
    gray = gray_levels(map)
    # Each pixel's rank is the number of thresholds that its gray value is above.
    cuts = (thresholds * gray.max()).astype(np.int64)
    ranks = np.searchsorted(cuts, np.arange(256), side="left").astype(np.int32)[gray]
    filled = _without_holes(ranks, n_levels)
    largest = sweep(filled, n_levels, gain=GAIN_POLYGON, last_of_equals=True).largest
    spans = [largest]
    if every:
        background = sweep(n_levels - ranks, n_levels, connectivity=4, every=True).all
        holes = _around_holes(background, width, height)
        upside_down = BoxSpans(holes.boxes, n_levels - 1 - holes.high, n_levels - 1 - holes.low)
        spans = [sweep(ranks, n_levels, every=True).all, upside_down]

    n_empty = n_levels - int(ranks.max(initial=0))

    def ended(spans: list[BoxSpans]) -> BoxSpans:
        """The boxes with ends as in wsolevaluation, and the box of the levels without a pixel."""
        boxes, low, high = (np.concatenate(columns) for columns in zip(*spans, strict=True))
        boxes = np.minimum(boxes + np.array([0, 0, 1, 1], np.int32), 2 * [width, height])
        if n_empty:
            boxes = np.concatenate([boxes, [[0, 0, 1, 1]]])
            low, high = np.append(low, n_levels - n_empty), np.append(high, n_levels - 1)
        return BoxSpans(*(column.astype(np.int32) for column in (boxes, low, high)))

    no_boxes = BoxSpans(np.empty((0, 4), np.int32), *np.empty((2, 0), np.int32))
    return Components(ended([largest]), ended(spans) if every else no_boxes)


def gray_levels(map: Float32[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """The map scaled by its range to 0 to 255, in the arithmetic of float32 and rounded down."""
    low, high = map.min(), map.max()
    with np.errstate(over="ignore"):
        extent = high - low
    if not low < high or not np.isfinite(extent):
        return np.zeros(map.shape, np.int32)
    shifted = map - low
    return (shifted / shifted.max() * 255).astype(np.int32)


def _around_holes(components: BoxSpans, width: int, height: int) -> BoxSpans:
    """The boxes of the pixels around the components that do not reach the edge of the map."""
    x0, y0, x1, y1 = components.boxes.T
    inside = (x0 > 0) & (y0 > 0) & (x1 < width) & (y1 < height)
    boxes, low, high = (column[inside] for column in components)
    return BoxSpans(boxes + np.array([-1, -1, 1, 1], np.int32), low, high)


@no_type_check
@numba.njit(nogil=True, cache=True)
def _without_holes(ranks, n_levels):
    """The map with its holes filled: each pixel is raised to its lowest pass to the map's edge.

    The pass of a 4-connected way to the edge is the highest value on the way, and the lowest pass
    is the least of these over all ways. It is found by a flood from the edge that always goes on at
    its lowest pixel (Barnes, Lehman & Mulla, Computers & Geosciences 2014), with a list of pixels
    for each level.
    """
    height, width = ranks.shape
    filled = np.full((height, width), -1, np.int32)
    head = np.full(n_levels + 1, -1, np.int32)
    following = np.empty(height * width, np.int32)
    for y in range(height):
        for x in range(width):
            if y == 0 or x == 0 or y == height - 1 or x == width - 1:
                filled[y, x] = ranks[y, x]
                following[y * width + x] = head[ranks[y, x]]
                head[ranks[y, x]] = y * width + x
    for level in range(n_levels + 1):
        while head[level] >= 0:
            pixel = head[level]
            head[level] = following[pixel]
            y, x = pixel // width, pixel % width
            for step in range(4):
                v = y + (step == 0) - (step == 1)
                u = x + (step == 2) - (step == 3)
                if 0 <= v < height and 0 <= u < width and filled[v, u] < 0:
                    raised = max(level, ranks[v, u])
                    filled[v, u] = raised
                    following[v * width + u] = head[raised]
                    head[raised] = v * width + u
    return filled
