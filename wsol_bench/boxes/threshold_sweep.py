"""All thresholds, all components: one pass over the pixels of a map in descending order.

A pixel joins the components beside it once, at the highest threshold that it reaches, and stays in
them at all lower ones. So a union-find over the pixels in that order (the component tree of the
map; Najman & Couprie, IEEE Trans. Image Processing 2006) has the components of every threshold on
its way, for the price of one.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Float64, Int32, Int64, Shaped, UInt8

from wsol_bench.boxes.component import exact_values, levels_of

__all__ = [
    "GAIN_PIXELS",
    "GAIN_POLYGON",
    "BoxSpans",
    "Components",
    "best_iou_curve",
    "ranks_of",
    "sweep",
    "sweep_best_iou",
    "threshold_sweep",
]

# The eight neighbors of a pixel in the order of a ring, from the upper left: (row, column).
_RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


class BoxSpans(NamedTuple):
    """Boxes and the thresholds at which they are there.

    Attributes:
        boxes: half-open xyxy in pixels of the map.
        low, high: first and last threshold (index, ascending) of each box.
    """

    boxes: Int32[np.ndarray, "m 4"] | Float64[np.ndarray, "m 4"]
    low: Int32[np.ndarray, " m"]
    high: Int32[np.ndarray, " m"]


class Components(NamedTuple):
    """What a sweep finds.

    Attributes:
        largest: the box of the largest component; at most one at each threshold.
        all: the boxes of all components; empty where they were not asked for.
    """

    largest: BoxSpans
    all: BoxSpans


def threshold_sweep(
    map: Shaped[np.ndarray, "..."],
    thresholds: Sequence[float] | Float64[np.ndarray, "..."],
    *,
    connectivity: int = 2,
    of: Literal["maximum", "range"] = "maximum",
    comparison: Literal["at_least", "above"] = "at_least",
) -> Float64[np.ndarray, "t 4"]:
    """The box of the largest component at every threshold.

    Equal to ``largest_component_box`` at each of them, in one pass over the map.

    Args:
        map: localization map (h, w), any real dtype; values are compared exactly, in float64.
        thresholds: fractions in [0, 1] of what ``of`` names, in any order.
        connectivity: 1 for 4 neighbors, 2 for 8.
        of, comparison: as in ``largest_component_box``.

    Returns:
        Half-open xyxy boxes in pixels of the map; a row of NaN where there is no component. Of
        several largest components the first in raster order counts.

    Raises:
        ValueError: not one map of shape (h, w), or thresholds that are not a list of numbers.
    """
    ranks, order = _ranks(map, thresholds, of, comparison)
    largest = sweep(ranks, len(order), connectivity=connectivity).largest
    boxes = np.full((len(order), 4), np.nan)
    # In descending order, from the highest threshold that any pixel reaches.
    there = np.repeat(largest.boxes, largest.high - largest.low + 1, axis=0)
    boxes[order[len(there) - 1 :: -1] if len(there) else []] = there
    return boxes


def sweep_best_iou(
    map: Shaped[np.ndarray, "..."],
    thresholds: Sequence[float] | Float64[np.ndarray, "..."],
    gt_boxes: Shaped[np.ndarray, "g 4"],
    *,
    components: Literal["largest", "all"] = "largest",
    connectivity: int = 2,
    of: Literal["maximum", "range"] = "maximum",
    comparison: Literal["at_least", "above"] = "at_least",
) -> Float64[np.ndarray, " t"]:
    """The best IoU of a component's box with any ground-truth box, at every threshold.

    Args:
        map, thresholds, connectivity, of, comparison: as in ``threshold_sweep``.
        gt_boxes: half-open xyxy in pixels of the map.
        components: whose boxes count: the largest's, or those of all.

    Returns:
        IoU in [0, 1]; 0 where there is no component.

    Raises:
        ValueError: as ``threshold_sweep``.
    """
    ranks, order = _ranks(map, thresholds, of, comparison)
    found = sweep(ranks, len(order), connectivity=connectivity, every=components == "all")
    boxes = found.all if components == "all" else found.largest
    truth = np.asarray(gt_boxes, np.float64).reshape(-1, 4)
    curve = np.empty(len(order))
    curve[order] = best_iou_curve(boxes, truth, len(order))
    return curve


def _ranks(
    map: Shaped[np.ndarray, "..."],
    thresholds: Sequence[float] | Float64[np.ndarray, "..."],
    of: Literal["maximum", "range"],
    comparison: Literal["at_least", "above"],
) -> tuple[Int32[np.ndarray, "h w"], Int64[np.ndarray, " t"]]:
    """Ranks of the pixels among the thresholds in ascending order, and that order."""
    values, fractions = np.asarray(map), np.asarray(thresholds, np.float64)
    if values.ndim != 2:
        raise ValueError(f"expected a map of shape (h, w), found shape {values.shape}")
    if fractions.ndim != 1 or np.isnan(fractions).any():
        raise ValueError(f"expected a list of thresholds, found {thresholds!r}")
    order = np.argsort(fractions, kind="stable")
    if not values.size or not np.isfinite(values).all():
        return np.zeros(values.shape, np.int32), order
    values = exact_values(values)
    low, high = np.float64(values.min()), np.float64(values.max())
    levels = levels_of(low, high, threshold=fractions[order], of=of)
    return ranks_of(values, levels, comparison=comparison), order


def ranks_of(
    map: Shaped[np.ndarray, "h w"],
    levels: Float64[np.ndarray, " t"],
    *,
    comparison: Literal["at_least", "above"],
) -> Int32[np.ndarray, "h w"]:
    """How many of the levels each pixel reaches.

    Args:
        map: float32 or float64, finite.
        levels: ascending; NaN is reached by no pixel.
        comparison: ``at_least`` is >=, ``above`` is >.
    """
    ranks = np.zeros(map.shape, np.int32)
    reached = levels[~np.isnan(levels)]
    if len(reached):
        # A value is above a level where it is at least the next number.
        least = np.nextafter(reached, np.inf) if comparison == "above" else reached
        _rank(np.ascontiguousarray(map), least, ranks)
    return ranks


def sweep(
    ranks: Int32[np.ndarray, "h w"],
    n_levels: int,
    *,
    connectivity: int = 2,
    every: bool = False,
    gain: UInt8[np.ndarray, " 256"] | None = None,
    last_of_equals: bool = False,
) -> Components:
    """The components of every level.

    Args:
        ranks: of ``ranks_of``: a pixel belongs to the levels 0 to rank - 1.
        n_levels: number of levels.
        connectivity: 1 for 4 neighbors, 2 for 8.
        every: whether the boxes of all components are kept, beside the largest's.
        gain: what a component grows by with a new pixel, by which of its ring of neighbors are
            there; ``GAIN_PIXELS`` by default, so that the largest has most pixels.
        last_of_equals: which of several largest counts: the one whose first pixel in raster order
            is last, or (by default) first.
    """
    gain = GAIN_PIXELS if gain is None else gain
    largest, components = _sweep(
        np.ascontiguousarray(ranks), n_levels, _GROUPS[connectivity], gain, every, last_of_equals
    )
    return Components(*(BoxSpans(table[:, :4], *table[:, 4:].T) for table in (largest, components)))


def best_iou_curve(
    lasting: BoxSpans, truth: Float64[np.ndarray, "g 4"], n_levels: int
) -> Float64[np.ndarray, " t"]:
    """The best IoU of any box with any ground-truth box at each level; 0 where there is none.

    Args:
        lasting: boxes, in the frame of the truth, and the levels at which each is there.
        truth: ground-truth boxes, half-open xyxy.
        n_levels: number of levels.
    """
    curve = np.zeros(n_levels)
    boxes = np.ascontiguousarray(lasting.boxes, np.float64)
    _raise_curve(boxes, lasting.low, lasting.high, truth, curve)
    return curve


def _groups(connectivity: int) -> UInt8[np.ndarray, "256 5"]:
    """Of each set of neighbors: one of each group that is connected without the pixel between them.

    A bit of the row's index is a place in the ring; a row is a count and so many places.
    """
    table = np.zeros((256, 5), np.uint8)
    # Neighbors that touch: those side by side in the ring and, 8-connected, those across a corner.
    touching = [(place, (place + 1) % 8) for place in range(8)]
    if connectivity == 2:
        touching += [(place, (place + 2) % 8) for place in (1, 3, 5, 7)]
    for ring in range(256):
        group = {place: place for place in range(8) if ring >> place & 1}
        for first, second in touching:
            if first in group and second in group:
                other = max(group[first], group[second])
                least = min(group[first], group[second])
                group = {place: least if of == other else of for place, of in group.items()}
        # Corners only touch the pixel itself where it is 8-connected.
        ends = [place for place in group if connectivity == 2 or place % 2 == 1]
        chosen = list({group[place]: place for place in ends}.values())
        table[ring, : len(chosen) + 1] = (len(chosen), *chosen)
    return table


def _polygon_gain() -> UInt8[np.ndarray, " 256"]:
    """Twice the area that a pixel adds to the polygon through the centers of the border pixels.

    Of each square of four neighboring centers, three present ones enclose half, four the whole.
    """
    squares = [(place % 8, (place + 1) % 8, (place + 2) % 8) for place in (1, 3, 5, 7)]
    return np.array(
        [
            sum(sum(ring >> place & 1 for place in square) >= 2 for square in squares)
            for ring in range(256)
        ],
        np.uint8,
    )


_GROUPS = {1: _groups(1), 2: _groups(2)}
GAIN_PIXELS = np.ones(256, np.uint8)
GAIN_POLYGON = _polygon_gain()
_STEPS = np.array(_RING, np.int32)
assert all(max(map(abs, np.subtract(a, b))) == 1 for a, b in pairwise((*_RING, _RING[0])))


@no_type_check
@numba.njit(nogil=True, cache=True)
def _rank(values, levels, ranks):
    height, width = values.shape
    n = len(levels)
    lowest = levels[0]
    extent = levels[n - 1] - lowest
    # A table of guesses, as many as there are levels, and a step that is no branch: what the walk
    # mends is rare, and right whatever the guess.
    guesses = np.empty(n + 1, np.int32)
    scale = n / extent if extent > 0 else 0.0
    level = 0
    for slot in range(n + 1):
        while level < n and (levels[level] - lowest) * scale < slot:
            level += 1
        guesses[slot] = level
    fenced = np.append(levels, np.inf)
    # A row of slots at a time, in float32: the compiler makes several at once.
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


@no_type_check
@numba.njit(nogil=True, cache=True)
def _order(ranks, n_levels, groups):
    """Pixels in descending order of rank, in raster order where equal.

    Each is ``y << 36 | x << 8 | ring``, with a bit for each neighbor that comes before it. With
    where each rank starts, and the number of pixels before which no neighbor comes.
    """
    height, width = ranks.shape
    starts = np.zeros(n_levels + 2, np.int32)
    framed = np.zeros((height + 2, width + 2), np.int32)  # absent pixels all around
    for y in range(height):
        for x in range(width):
            framed[y + 1, x + 1] = ranks[y, x]
            starts[n_levels - ranks[y, x] + 1] += 1
    for level in range(n_levels + 1):
        starts[level + 1] += starts[level]
    place = starts.copy()
    order = np.empty(height * width, np.int64)
    ring = np.empty(width, np.uint8)
    n_first = 0
    for y in range(height):
        upper, own, lower = framed[y], framed[y + 1], framed[y + 2]
        for x in range(width):
            rank = own[x + 1]
            ring[x] = (
                np.uint8(upper[x] >= rank)
                | np.uint8(upper[x + 1] >= rank) << 1
                | np.uint8(upper[x + 2] >= rank) << 2
                | np.uint8(own[x + 2] > rank) << 3
                | np.uint8(lower[x + 2] > rank) << 4
                | np.uint8(lower[x + 1] > rank) << 5
                | np.uint8(lower[x] > rank) << 6
                | np.uint8(own[x] >= rank) << 7
            )
        for x in range(width):
            slot = n_levels - own[x + 1]
            order[place[slot]] = y << 36 | x << 8 | np.int64(ring[x])
            place[slot] += 1
            n_first += groups[ring[x], 0] == 0
    return order, starts, n_first


@no_type_check
@numba.njit(nogil=True, cache=True)
def _note(table, n, box, root, low, since):
    """Write a box that ends below level ``low``; the number of those that are written."""
    for side in range(4):
        table[n, side] = box[root, side]
    table[n, 4] = low
    table[n, 5] = since[root]
    return n + 1


@no_type_check
@numba.njit(nogil=True, cache=True)
def _holds(box, outer, inner):
    return (
        box[outer, 0] <= box[inner, 0]
        and box[outer, 1] <= box[inner, 1]
        and box[outer, 2] >= box[inner, 2]
        and box[outer, 3] >= box[inner, 3]
    )


@no_type_check
@numba.njit(nogil=True, cache=True)
def _find(parent, one):
    while parent[one] != one:
        parent[one] = parent[parent[one]]
        one = parent[one]
    return one


@no_type_check
@numba.njit(nogil=True, cache=True)
def _sweep(ranks, n_levels, groups, gain, every, last_of_equals):
    height, width = ranks.shape
    order, starts, n_hills = _order(ranks, n_levels, groups)
    n_in = starts[n_levels]
    # A pixel without a neighbor begins a hill; any other belongs to a hill beside it. Hills that
    # meet become one component: the union-find is over hills, which are few, not over pixels.
    stride = width + 2
    hill = np.empty((height + 2) * stride, np.int32)
    steps = np.array(
        [-stride - 1, -stride, -stride + 1, 1, stride + 1, stride, stride - 1, -1], np.int32
    )
    # Of each root: size, first pixel, box (inclusive), and the level since when it has this box.
    parent = np.arange(n_hills)
    size = np.empty(n_hills, np.int32)
    first = np.empty(n_hills, np.int32)
    box = np.empty((n_hills, 4), np.int32)
    since = np.empty(n_hills, np.int32)

    # Memory is taken as it is written to: a box may change with every pixel, but hardly does.
    largest = np.empty((n_levels, 6), np.int32)
    n_largest = 0
    components = np.empty((n_in + 2 * n_hills if every else 0, 6), np.int32)
    n_components = 0
    beside = np.empty(256, np.int32)  # one neighbor of each set
    for ring in range(256):
        beside[ring] = steps[groups[ring, 1]]
    n_hills = 0
    best = -1
    best_size = -1
    best_first = -1
    for level in range(n_levels - 1, -1, -1):
        begin, end = starts[n_levels - 1 - level], starts[n_levels - level]
        if begin == end:
            continue
        stale = False  # whether others of the best's size may win
        for position in range(begin, end):
            packed = order[position]
            y, x, ring = packed >> 36, packed >> 8 & 0xFFFFFFF, packed & 0xFF
            pixel = (y + 1) * stride + x + 1
            n_groups = groups[ring, 0]
            if n_groups == 0:
                root = n_hills
                n_hills += 1
                hill[pixel] = root
                size[root] = gain[ring]
                first[root] = pixel
                box[root, 0] = box[root, 2] = x
                box[root, 1] = box[root, 3] = y
                since[root] = level
            else:
                root = _find(parent, hill[pixel + beside[ring]])
                for group in range(2, n_groups + 1):
                    other = _find(parent, hill[pixel + steps[groups[ring, group]]])
                    if other == root:
                        continue
                    if size[other] > size[root]:
                        root, other = other, root
                    parent[other] = root
                    if other == best:
                        best = root
                    if every and since[other] > level:
                        n_components = _note(components, n_components, box, other, level + 1, since)
                    if every and since[root] > level and not _holds(box, root, other):
                        n_components = _note(components, n_components, box, root, level + 1, since)
                        since[root] = level
                    size[root] += size[other]
                    first[root] = min(first[root], first[other])
                    box[root, 0] = min(box[root, 0], box[other, 0])
                    box[root, 1] = min(box[root, 1], box[other, 1])
                    box[root, 2] = max(box[root, 2], box[other, 2])
                    box[root, 3] = max(box[root, 3], box[other, 3])
                hill[pixel] = root
                if x < box[root, 0] or y < box[root, 1] or x > box[root, 2] or y > box[root, 3]:
                    if every and since[root] > level:
                        n_components = _note(components, n_components, box, root, level + 1, since)
                        since[root] = level
                    box[root, 0] = min(box[root, 0], x)
                    box[root, 1] = min(box[root, 1], y)
                    box[root, 2] = max(box[root, 2], x)
                    box[root, 3] = max(box[root, 3], y)
                size[root] += gain[ring]
                first[root] = min(first[root], pixel)
            if size[root] > best_size:
                best, best_size, best_first = root, size[root], first[root]
            elif size[root] == best_size and first[root] != best_first:
                if root == best:
                    stale = last_of_equals  # its first pixel is an earlier one now
                    best_first = first[root]
                elif (first[root] > best_first) == last_of_equals:
                    best, best_first = root, first[root]
        if stale:
            for root in range(n_hills):
                if parent[root] == root and size[root] == best_size and first[root] > best_first:
                    best, best_first = root, first[root]
        new = n_largest == 0
        for side in range(4):
            new = new or largest[n_largest - 1, side] != box[best, side]
        if new:
            if n_largest:
                largest[n_largest - 1, 4] = level + 1
            largest[n_largest, :4] = box[best]
            largest[n_largest, 4] = 0
            largest[n_largest, 5] = level
            n_largest += 1
    if every:
        for root in range(n_hills):
            if parent[root] == root:
                n_components = _note(components, n_components, box, root, 0, since)
    largest, components = largest[:n_largest].copy(), components[:n_components].copy()
    largest[:, 2:4] += 1
    components[:, 2:4] += 1
    return largest, components


@no_type_check
@numba.njit(nogil=True, cache=True)
def _raise_curve(boxes, low, high, truth, curve):
    for index in range(len(boxes)):
        x0, y0, x1, y1 = boxes[index]
        best = 0.0
        for other in range(len(truth)):
            a0, b0, a1, b1 = truth[other]
            across = min(x1, a1) - max(x0, a0)
            down = min(y1, b1) - max(y0, b0)
            if across > 0 and down > 0:
                both = across * down
                best = max(best, both / ((x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - both))
        if best > 0:
            for level in range(low[index], high[index] + 1):
                curve[level] = max(curve[level], best)
