"""Compiled code (numba) that finds the largest component of a map cut at one level.

A component is a tree of runs. A run is a stretch of pixels in one row that reach the level; runs
are numbered in raster order, and the root of a tree is its first run. Arrays with one entry a run
hold its first and last column, its row and its parent. The functions that fill them are called once
a map or once a row, so the split costs no time.
"""

from typing import no_type_check

import numba
import numpy as np

from wsol_bench.boxes.union_find import find_root

__all__ = ["cut_maps"]


@no_type_check
@numba.njit(nogil=True, cache=True)
def cut_maps(maps, levels, above, reach):
    """The box of the largest component of each map at its level, as half-open xyxy.

    Args:
        maps: (n, h, w) floats.
        levels: (n,) level of each map.
        above: whether a pixel must be above its level, not only at it.
        reach: largest distance in columns at which pixels of neighboring rows touch: 1 if diagonal
            neighbors are connected, else 0.

    Returns:
        (n, 4) float64; a row of NaN if no pixel reaches the level.
    """
    n, height, width = maps.shape
    boxes = np.full((n, 4), np.nan)
    most = height * ((width + 1) // 2)
    first = np.empty(most, np.int32)
    last = np.empty(most, np.int32)
    row = np.empty(most, np.int32)
    parent = np.empty(most, np.int32)
    size = np.empty(most, np.int64)
    box = np.empty((most, 4), np.int32)
    for index in range(n):
        n_runs = _find_runs(maps[index], levels[index], above, reach, first, last, row, parent)
        best = _largest_tree(n_runs, first, last, row, parent, size, box)
        if best >= 0:
            boxes[index, 0] = box[best, 0]
            boxes[index, 1] = box[best, 1]
            boxes[index, 2] = box[best, 2] + 1
            boxes[index, 3] = box[best, 3] + 1
    return boxes


@no_type_check
@numba.njit(nogil=True, cache=True)
def _find_runs(map, level, above, reach, first, last, row, parent):
    """Fill the arrays of runs, join the runs that touch, and return the number of runs."""
    height, width = map.shape
    n_runs = 0
    row_above = 0  # first run of the row above
    for y in range(height):
        start = n_runs
        x = 0
        while x < width:
            value = map[y, x]
            if not (value > level or (value == level and not above)):
                x += 1
                continue
            first[n_runs] = x
            while x < width:
                value = map[y, x]
                if not (value > level or (value == level and not above)):
                    break
                x += 1
            last[n_runs] = x - 1
            row[n_runs] = y
            parent[n_runs] = n_runs
            n_runs += 1
        _join_rows(row_above, start, n_runs, reach, first, last, parent)
        row_above = start
    return n_runs


@no_type_check
@numba.njit(nogil=True, cache=True)
def _join_rows(upper, start, end, reach, first, last, parent):
    """Join the runs ``upper`` to ``start`` of a row and the runs up to ``end`` of the next row."""
    # Both rows are in order: one walk finds all pairs that touch.
    middle, lower = start, start
    while upper < middle and lower < end:
        if first[upper] <= last[lower] + reach and first[lower] <= last[upper] + reach:
            upper_root = find_root(parent, upper)
            lower_root = find_root(parent, lower)
            if upper_root < lower_root:
                parent[lower_root] = upper_root
            else:
                parent[upper_root] = lower_root
        if last[upper] < last[lower]:
            upper += 1
        else:
            lower += 1


@no_type_check
@numba.njit(nogil=True, cache=True)
def _largest_tree(n_runs, first, last, row, parent, size, box):
    """The root of the tree with most pixels, the first of several; -1 if there is no run.

    Fills ``size`` and ``box`` (inclusive corners) of every root.
    """
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
    return best
