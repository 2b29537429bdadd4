"""Top-k intersection: the share of the k highest pixels of a map that are object."""

from typing import Annotated

import numpy as np
from jaxtyping import Float32, UInt8
from pydantic import Field

from wsol_bench.images.masks import IGNORED, OBJECT
from wsol_bench.metrics.base import metric
from wsol_bench.metrics.map_view import MapView

__all__ = ["object_share_of_top", "share_of_top_k", "top_k_intersection"]


@metric(
    "top_k_intersection",
    per="map",
    better="higher",
    range=(0, 1),
    paper="arXiv:2104.14995",
)
def top_k_intersection(view: MapView, *, k: Annotated[int, Field(ge=1)] = 1000) -> float:
    """Share of the map's k highest pixels that are object.

    Theiner, Müller-Budack & Ewerth, WACV 2022; see ``share_of_top_k``. The object is the image's
    mask, or the pixels whose centers lie in its ground-truth boxes. ``k`` counts pixels of the
    network's input.
    """
    return share_of_top_k(view.values, view.pixels, k=k)


def share_of_top_k(
    values: Float32[np.ndarray, "height width"],
    truth: UInt8[np.ndarray, "height width"],
    *,
    k: int = 1000,
) -> float:
    """Top-k intersection (Theiner, Müller-Budack & Ewerth, WACV 2022, arXiv:2104.14995).

    ``|P_topk ∩ GT| / k``, where P_topk are the k pixels of the highest values. If fewer than k
    pixels of the map count, all of them are taken, and k is their number.

    Pixels that are tied at the cut count by the expectation over all their orders: see
    ``object_share_of_top``. The number is not divided by the object's share of the image, as the
    paper's "concept influence" is, so an object of fewer than k pixels cannot reach 1.

    >>> values = np.array([[0.9, 0.8], [0.3, 0.1]], np.float32)
    >>> truth = np.array([[1, 0], [1, 0]], np.uint8)
    >>> share_of_top_k(values, truth, k=1), share_of_top_k(values, truth, k=2)
    (1.0, 0.5)

    Args:
        values: localization map, finite, in any unit: only the order of its values counts.
        truth: class of each pixel: 1 object, 0 background, 255 ignored (in neither set).
        k: number of pixels that are taken, at least 1; 1000 is quantus' default.

    Returns:
        A fraction in [0, 1], more is better; NaN if no pixel is object.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"expected k of at least 1, found {k}")
    if not (truth == OBJECT).any():
        return float("nan")
    return object_share_of_top(values, truth, k)


def object_share_of_top(
    values: Float32[np.ndarray, "height width"], truth: UInt8[np.ndarray, "height width"], k: int
) -> float:
    """The share of the k pixels of the highest values that are object, ties averaged.

    With the k-th highest value c, ``(above + (k - n_above) * tied / n_tied) / k``: the object
    pixels above c, and for the places that are left the share of the object in the pixels that
    equal c. That is the expectation over all orders of the tied pixels, so it depends on no order
    of pixels. Other packages take the order that their sort happens to give (``np.argsort`` in
    quantus and in the CLEVR-XAI authors' code): they give the same number if no value outside the k
    highest equals c, and may give another number otherwise, as for a ReLU map with fewer than k
    positive values.

    The whole map is sorted, in 0.2 ms or less at 224 x 224: ``np.partition`` takes 0.1 ms without
    ties, but 1 ms if a ReLU has left many zeros.

    Args:
        values: localization map, finite.
        truth: class of each pixel: 1 object, 0 background, 255 ignored.
        k: number of pixels that are taken, at least 1; all pixels that count if they are fewer.

    Returns:
        A fraction in [0, 1]; NaN if no pixel counts.
    """
    ascending = np.sort(values[truth != IGNORED])
    n = len(ascending)
    k = min(k, n)
    if k == 0:
        return float("nan")
    cut = ascending[n - k]
    n_above = n - int(np.searchsorted(ascending, cut, side="right"))
    n_tied = n - n_above - int(np.searchsorted(ascending, cut, side="left"))
    of_object = values[truth == OBJECT]
    above = int(np.count_nonzero(of_object > cut))
    tied = int(np.count_nonzero(of_object == cut))
    # Whole numbers up to the one division, which rounds once.
    return (above * n_tied + (k - n_above) * tied) / (k * n_tied)
