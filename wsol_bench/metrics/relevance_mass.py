"""Relevance mass accuracy: the share of a map's mass that lies on the object."""

import numpy as np
from jaxtyping import Float32, UInt8

from wsol_bench.images.masks import BACKGROUND, OBJECT
from wsol_bench.metrics.base import metric
from wsol_bench.metrics.map_view import MapView

__all__ = ["mass_accuracy", "relevance_mass_accuracy"]


@metric(
    "relevance_mass_accuracy",
    per="map",
    better="higher",
    range=(0, 1),
    paper="arXiv:2003.07258",
)
def relevance_mass_accuracy(view: MapView) -> float:
    """Share of the sum of the map's positive values that lies on the object.

    Arras, Osman & Samek, Information Fusion 2022; see ``mass_accuracy``. The object is the image's
    mask, or the pixels whose centers lie in its ground-truth boxes: on boxes this is the
    energy-based pointing game.
    """
    return mass_accuracy(view.values, view.pixels)


def mass_accuracy(
    values: Float32[np.ndarray, "height width"], truth: UInt8[np.ndarray, "height width"]
) -> float:
    """Relevance mass accuracy (Arras, Osman & Samek, Information Fusion 2022, arXiv:2003.07258).

    ``sum over p in GT of R_p / sum over all p of R_p`` with ``R = max(values, 0)``. The paper first
    pools the channels of a relevance map to one map without negative values; for a map of one
    channel, ``max(values, 0)`` is its pooling "sum,pos". quantus sums signed values, so it gives
    the same number for maps without a negative value, and may leave [0, 1] elsewhere.

    >>> values = np.array([[3.0, 1.0], [-5.0, 0.0]], np.float32)
    >>> mass_accuracy(values, np.array([[1, 0], [1, 0]], np.uint8))
    0.75

    Args:
        values: localization map, finite, in any unit: a positive factor changes nothing, an offset
            does.
        truth: class of each pixel: 1 object, 0 background, 255 ignored (in neither sum).

    Returns:
        A fraction in [0, 1], more is better. It is 0 if no value is positive: nothing lies on the
        object. (0 / 0 is NaN in quantus and an error in the authors' code.) NaN if no pixel is
        object.
    """
    on_object = values[truth == OBJECT]
    if len(on_object) == 0:
        return float("nan")
    inside = _mass(on_object)
    outside = _mass(values[truth == BACKGROUND])
    return inside / (inside + outside) if inside > 0 else 0.0


def _mass(values: Float32[np.ndarray, " n"]) -> float:
    return float(np.maximum(values, 0).sum(dtype=np.float64))
