"""Tables over the neighbors of a pixel: which neighbors connect, and what a new pixel adds.

The neighbors form a ring, numbered from the upper left clockwise. A set of them is one byte, with a
bit for each place in the ring, so that a table of 256 rows answers a question about any set.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import UInt8

from wsol_bench.common.vocabulary import Connectivity

__all__ = ["GAIN_PIXELS", "GAIN_POLYGON", "GROUPS"]

# The eight neighbors of a pixel in the order of a ring, from the upper left: (row, column).
_RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
assert all(max(map(abs, np.subtract(a, b))) == 1 for a, b in pairwise((*_RING, _RING[0])))


def _groups(connectivity: Connectivity) -> UInt8[np.ndarray, "256 5"]:
    """List, for each set of neighbors, one neighbor of each group connected without the pixel.

    A row is the number of groups, then the place in the ring of one neighbor of each group.
    """
    table = np.zeros((256, 5), np.uint8)
    # Neighbors touch if they are side by side in the ring or, 8-connected, across a corner.
    touching = [(place, (place + 1) % 8) for place in range(8)]
    if connectivity == 8:
        touching += [(place, (place + 2) % 8) for place in (1, 3, 5, 7)]
    for ring in range(256):
        group = {place: place for place in range(8) if ring >> place & 1}
        for first, second in touching:
            if first in group and second in group:
                merged = max(group[first], group[second])
                least = min(group[first], group[second])
                group = {
                    place: least if number == merged else number for place, number in group.items()
                }
        # Corners touch the pixel itself only if it is 8-connected.
        ends = [place for place in group if connectivity == 8 or place % 2 == 1]
        chosen = list({group[place]: place for place in ends}.values())
        table[ring, : len(chosen) + 1] = (len(chosen), *chosen)
    return table


def _polygon_gain() -> UInt8[np.ndarray, " 256"]:
    """Twice the area that a pixel adds to the polygon through the centers of the border pixels.

    The polygon has half of the area of a square of four neighboring centers if three of them are
    present, and all of it if four are. So a new pixel adds half a square for each square in which
    two or three of the other centers are present.
    """
    squares = [(place % 8, (place + 1) % 8, (place + 2) % 8) for place in (1, 3, 5, 7)]
    return np.array(
        [
            sum(sum(ring >> place & 1 for place in square) >= 2 for square in squares)
            for ring in range(256)
        ],
        np.uint8,
    )


# By the number of neighbors of a pixel.
GROUPS: dict[int, UInt8[np.ndarray, "256 5"]] = {4: _groups(4), 8: _groups(8)}
# The growth of a component's size with a new pixel, by the set of neighbors that are present.
GAIN_PIXELS = np.ones(256, np.uint8)
GAIN_POLYGON = _polygon_gain()
