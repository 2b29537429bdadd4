"""Pixel ROC AUC: how well a map's values separate the pixels of the object from the others."""

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float32, UInt8

from wsol_bench.images.masks import BACKGROUND, OBJECT
from wsol_bench.metrics.base import metric
from wsol_bench.metrics.map_view import MapView

__all__ = ["pixel_roc_auc", "roc_auc"]


@metric(
    "pixel_roc_auc",
    per="map",
    better="higher",
    range=(0, 1),
    paper="doi:10.1016/j.patrec.2005.10.010",
)
def pixel_roc_auc(view: MapView) -> float:
    """Area under the ROC curve of the map's pixels, object against background.

    Fawcett, Pattern Recognition Letters 2006; see ``roc_auc``. The object is the image's mask, or
    the pixels whose centers lie in its ground-truth boxes.
    """
    return roc_auc(view.values, view.pixels)


def roc_auc(
    values: Float32[np.ndarray, "height width"], truth: UInt8[np.ndarray, "height width"]
) -> float:
    """Area under the ROC curve of pixels (Fawcett, Pattern Recognition Letters 27, 2006).

    ``(#{o > b} + #{o = b} / 2) / (n m)`` over all pairs of the values o of n object pixels and b of
    m background pixels: how often the object has the higher value, ties counted half (Mann &
    Whitney, Annals of Mathematical Statistics 18, 1947). The pairs are counted in whole numbers,
    so the answer is rounded once; the trapezoids under the curve, as scikit-learn and quantus sum
    them, are the same area.

    >>> values = np.array([[0.9, 0.8], [0.3, 0.3]], np.float32)
    >>> roc_auc(values, np.array([[1, 0], [1, 0]], np.uint8))
    0.625

    Args:
        values: localization map, finite, in any unit: only the order of its values counts.
        truth: class of each pixel: 1 object, 0 background, 255 ignored (in no pair).

    Returns:
        A fraction in [0, 1], more is better; 1/2 for chance, and for a constant map. NaN if no
        pixel is object, or none is background.
    """
    on_object, elsewhere = values[truth == OBJECT], values[truth == BACKGROUND]
    pairs = len(on_object) * len(elsewhere)
    if pairs == 0:
        return float("nan")
    # Two sorts of numbers and a walk along both take less than half of an argsort of the map.
    return _twice_won(np.sort(on_object), np.sort(elsewhere)) / (2 * pairs)


@no_type_check
@numba.njit(nogil=True, cache=True)
def _twice_won(on_object, elsewhere):
    """Twice the pairs whose object value is higher, plus the pairs of equal values.

    Both arrays ascend.
    """
    won = 0
    n_lower = 0  # values elsewhere that are below the current object value
    n_up_to = 0  # values elsewhere that are not above it
    for value in on_object:
        while n_lower < len(elsewhere) and elsewhere[n_lower] < value:
            n_lower += 1
        while n_up_to < len(elsewhere) and elsewhere[n_up_to] <= value:
            n_up_to += 1
        won += n_lower + n_up_to
    return won
