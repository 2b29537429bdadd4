"""The pointing game: whether the maximum of a map lies on the object."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from wsol_bench.geometry import image_pairs, to_original
from wsol_bench.metrics.base import metric
from wsol_bench.metrics.map_view import MapView

__all__ = ["peak_in_image", "pointing_game", "pointing_game_15px", "pointing_hits"]

# The tolerance of the authors, in pixels.
_TOLERANCE = 15.0


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
    """1 if the map's maximum lies in a ground-truth box of the image's label, else 0.

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
    """1 if the map's maximum lies within 15 pixels of a ground-truth box of the label, else 0.

    It is ``pointing_game`` with the tolerance of the authors, in pixels of the image.
    """
    return _hit(view, _TOLERANCE)


def _hit(view: MapView, tolerance: float) -> float:
    peaks = np.array([peak_in_image(view)])
    return float(pointing_hits(peaks, [view.truth.boxes], tolerance=tolerance)[0])


def peak_in_image(view: MapView) -> tuple[float, float]:
    """The center (x, y) of the map's highest pixel, in pixels of the image; NaN without a peak."""
    if view.peak is None:
        return float("nan"), float("nan")
    x, y = view.peak
    point = np.array([[x, y, x, y]]) + 0.5
    [[px, py, _, _]] = to_original(point, [view.placement], np.zeros(1, np.int64)).tolist()
    return px, py


def pointing_hits(
    peaks: Float64[np.ndarray, "n 2"],
    boxes: Sequence[Float64[np.ndarray, "_ 4"]],
    *,
    tolerance: float = 0.0,
) -> Bool[np.ndarray, " n"]:
    """Return whether each maximum lies within ``tolerance`` pixels of a box of its image.

    Pointing game (Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016);
    the authors' tolerance is 15 pixels.

    Args:
        peaks: (x, y) of each map's maximum in pixels of its image; NaN (no positive value) misses.
        boxes: ground-truth boxes of each image, half-open xyxy.
        tolerance: distance in pixels that each box is widened by, to each side.

    Raises:
        ValueError: the number of peaks is not the number of images.
    """
    if len(peaks) != len(boxes):
        raise ValueError(f"expected the boxes of {len(peaks)} images, found {len(boxes)}")
    counts = np.array([len(truth) for truth in boxes], np.int64)
    pairs = image_pairs(np.arange(len(peaks)), counts)
    grown = np.array([-tolerance, -tolerance, tolerance, tolerance])
    around = (np.concatenate([np.empty((0, 4)), *boxes]) + grown)[pairs.box]
    point = peaks[pairs.guess]
    inside = ((around[:, :2] <= point) & (point < around[:, 2:])).all(axis=1)
    hits = np.zeros(len(peaks), np.bool_)
    hits[pairs.guess[inside]] = True
    return hits
