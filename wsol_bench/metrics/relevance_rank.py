"""Relevance rank accuracy: the share of the highest pixels that lie on the object."""

import numpy as np
from jaxtyping import Float32, UInt8

from wsol_bench.images.masks import OBJECT
from wsol_bench.metrics.base import metric
from wsol_bench.metrics.map_view import MapView
from wsol_bench.metrics.top_k_intersection import object_share_of_top

__all__ = ["rank_accuracy", "relevance_rank_accuracy"]


@metric(
    "relevance_rank_accuracy",
    per="map",
    better="higher",
    range=(0, 1),
    paper="arXiv:2003.07258",
)
def relevance_rank_accuracy(view: MapView) -> float:
    """Share of the K highest pixels that are object, where K is the number of object pixels.

    Arras, Osman & Samek, Information Fusion 2022; see ``rank_accuracy``. The object is the image's
    mask, or the pixels whose centers lie in its ground-truth boxes.
    """
    return rank_accuracy(view.values, view.pixels)


def rank_accuracy(
    values: Float32[np.ndarray, "height width"], truth: UInt8[np.ndarray, "height width"]
) -> float:
    """Relevance rank accuracy (Arras, Osman & Samek, Information Fusion 2022, arXiv:2003.07258).

    ``|P_topK ∩ GT| / K``, where K is the number of object pixels and P_topK are the K pixels of
    the highest values.

    Pixels that are tied at the cut count by the expectation over all their orders: see
    ``object_share_of_top``. Negative values keep their order; the authors make them 0 first (their
    "sum,pos" pooling), which differs only if fewer than K values are positive.

    >>> values = np.array([[0.9, 0.8], [0.3, 0.1]], np.float32)
    >>> rank_accuracy(values, np.array([[1, 0], [1, 0]], np.uint8))
    0.5

    Args:
        values: localization map, finite, in any unit: only the order of its values counts.
        truth: class of each pixel: 1 object, 0 background, 255 ignored (in neither set).

    Returns:
        A fraction in [0, 1], more is better; NaN if no pixel is object.
    """
    size = int(np.count_nonzero(truth == OBJECT))
    return object_share_of_top(values, truth, size) if size else float("nan")
