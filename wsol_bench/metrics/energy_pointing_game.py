"""The energy-based pointing game: how much of a map lies on the object."""

from typing import no_type_check

import numba
import numpy as np

from wsol_bench.metrics.base import metric
from wsol_bench.metrics.map_view import MapView

__all__ = ["energy_pointing_game"]


@metric(
    "energy_pointing_game",
    per="map",
    better="higher",
    range=(0, 1),
    paper="arXiv:1910.01279",
    column="energy",
    truth="boxes",
)
def energy_pointing_game(view: MapView) -> float:
    """Share of the sum of the map's positive values that lies in ground-truth boxes of the label.

    Wang et al., Score-CAM, CVPR workshops 2020, section 4.3. A pixel lies in a box if its center
    does. A map without a positive value has the share 0. An image without boxes does not count.
    """
    inside, whole = _energy(view.values, view.boxes)
    return inside / whole if whole > 0 and np.isfinite(whole) else 0.0


@no_type_check
@numba.njit(nogil=True, cache=True)
def _energy(values, boxes):
    """The sum of the positive values in the boxes, and the sum of all positive values."""
    height, width = values.shape
    whole = 0.0
    inside = 0.0
    covered = np.empty(width, np.bool_)
    for y in range(height):
        row = 0.0
        for x in range(width):
            value = values[y, x]
            row += 0.0 if value <= 0 else value
        whole += row
        covered[:] = False
        for index in range(len(boxes)):
            x0, y0, x1, y1 = boxes[index]
            if y0 <= y + 0.5 < y1:
                first, last = max(0, int(np.ceil(x0 - 0.5))), min(width, int(np.ceil(x1 - 0.5)))
                for x in range(first, last):
                    if not covered[x]:
                        covered[x] = True
                        inside += max(values[y, x], np.float32(0))
    return inside, whole
