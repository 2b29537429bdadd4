"""The pointing game: whether the maximum of a map lies on the object."""

import numpy as np

from wsol_bench.geometry import to_original
from wsol_bench.metrics.base import metric
from wsol_bench.metrics.map_view import MapView
from wsol_bench.metrics.pointing import TOLERANCE, pointing_hits

__all__ = ["peak_in_image", "pointing_game", "pointing_game_15px"]


@metric(
    "pointing_game",
    per="map",
    better="higher",
    range=(0, 1),
    hits=True,
    truth="boxes",
    paper="arXiv:1608.00507",
)
def pointing_game(view: MapView) -> float:
    """Whether the map's maximum lies in a ground-truth box of the image's class.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, without their
    tolerance. A map without a positive value misses; an image without boxes does not count.
    """
    return _hit(view, 0.0)


@metric(
    "pointing_game_15px",
    per="map",
    better="higher",
    range=(0, 1),
    hits=True,
    truth="boxes",
    paper="arXiv:1608.00507",
)
def pointing_game_15px(view: MapView) -> float:
    """Whether the map's maximum lies within 15 pixels of a ground-truth box of the image's class.

    As ``pointing_game``, with the tolerance that the authors allow, in pixels of the image.
    """
    return _hit(view, TOLERANCE)


def _hit(view: MapView, tolerance: float) -> float:
    peaks = np.array([peak_in_image(view)])
    return float(pointing_hits(peaks, [view.truth.boxes], tolerance=tolerance)[0])


def peak_in_image(view: MapView) -> tuple[float, float]:
    """Center of the pixel of the map's maximum, x and y in pixels of the image; NaN without one."""
    if view.peak is None:
        return float("nan"), float("nan")
    x, y = view.peak
    point = np.array([[x, y, x, y]]) + 0.5
    [[px, py, _, _]] = to_original(point, [view.placement], np.zeros(1, np.int64)).tolist()
    return px, py
