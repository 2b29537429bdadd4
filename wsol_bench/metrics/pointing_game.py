"""The pointing game: whether the maximum of a map lies on the object."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from wsol_bench.geometry import image_pairs, to_original
from wsol_bench.metrics.base import metric
from wsol_bench.metrics.image_scores import ImageScores
from wsol_bench.metrics.map_view import MapView

__all__ = [
    "peak_in_image",
    "pointing_game",
    "pointing_game_15px",
    "pointing_game_15px_class_mean",
    "pointing_hits",
]

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
    """1 if the map's maximum is less than 15 pixels from a ground-truth box of the label, else 0.

    It is ``pointing_game`` with the tolerance of the authors, a disc, in pixels of the image.
    """
    return _hit(view, _TOLERANCE)


@metric(
    "pointing_game_15px_class_mean",
    per="image",
    better="higher",
    range=(0, 1),
    paper="arXiv:1608.00507",
    needs=("pointing_game_15px",),
    statistic="class_mean",
)
def pointing_game_15px_class_mean(images: ImageScores) -> Float64[np.ndarray, " n"]:
    """Mean over classes of each class's pointing game with a tolerance of 15 pixels.

    It is the number that the authors and TorchRay report, over the classes that have an image.
    """
    return images.of_maps("pointing_game_15px")


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
    """Return whether each maximum lies in a box of its image, or nearer than ``tolerance`` to one.

    The distance is Euclidean, from the maximum to the nearest pixel center of the box, so the
    tolerance is a disc around the maximum, and a distance of exactly ``tolerance`` misses. For
    maxima and boxes of whole pixels that is ``PointingGame.evaluate`` of TorchRay
    (torchray/benchmark/pointing_game.py). The authors (Zhang et al., "Top-down Neural Attention by
    Excitation Backprop", ECCV 2016; eval_coco.py of their code) intersect a disc of radius 15 with
    COCO's polygons.

    Args:
        peaks: (x, y) of each map's maximum in pixels of its image; NaN (no positive value) misses.
        boxes: ground-truth boxes of each image, half-open xyxy.
        tolerance: radius of the disc in pixels; 0 for maxima inside of a box only.

    Raises:
        ValueError: the number of peaks is not the number of images.
    """
    if len(peaks) != len(boxes):
        raise ValueError(f"expected the boxes of {len(peaks)} images, found {len(boxes)}")
    counts = np.array([len(truth) for truth in boxes], np.int64)
    pairs = image_pairs(np.arange(len(peaks)), counts)
    box = np.concatenate([np.empty((0, 4)), *boxes])[pairs.box]
    point = peaks[pairs.guess]
    low, high = box[:, :2], box[:, 2:]
    inside = ((low <= point) & (point < high)).all(axis=1)
    # The centers of the first and the last pixel; the middle of a box of less than one pixel.
    margin = np.minimum(0.5, (high - low) / 2)
    beyond = point - np.clip(point, low + margin, high - margin)
    near = (beyond**2).sum(axis=1) < tolerance**2
    hits = np.zeros(len(peaks), np.bool_)
    hits[pairs.guess[inside | near]] = True
    return hits
