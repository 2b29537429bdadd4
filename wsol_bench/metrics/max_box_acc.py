"""MaxBoxAcc and MaxBoxAccV2: the share of right boxes at the best of all thresholds."""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

__all__ = ["V1", "V2", "Chosen", "best_threshold", "hits_of", "n_hits", "unpacked"]

# The least IoU of MaxBoxAcc, and those that MaxBoxAccV2 averages.
V1 = 0.5
V2 = (0.3, 0.5, 0.7)

# Images whose hits are unpacked at a time: 1000 thresholds of six curves take 25 MB.
_CHUNK = 4096


class Chosen(NamedTuple):
    """A threshold and the accuracy there.

    Attributes:
        threshold: index in the grid.
        accuracy: share of images that are right there, in [0, 1].
    """

    threshold: int
    accuracy: float


def unpacked(
    hits: Sequence[bytes], n_thresholds: int, curves: slice = slice(None)
) -> Bool[np.ndarray, "n c t"]:
    """The hits of images x curves x thresholds from a table's packed bits, all curves or some."""
    width = -(-n_thresholds // 8)
    packed = np.frombuffer(b"".join(hits), np.uint8).reshape(len(hits), -1, width)[:, curves]
    return np.unpackbits(packed, axis=2, count=n_thresholds).view(np.bool_)


def n_hits(hits: Sequence[bytes], n_thresholds: int) -> Int64[np.ndarray, "c t"]:
    """In how many images each curve is right at each threshold, in bounded memory.

    Raises:
        ValueError: no images: nothing says how many curves there would be.
    """
    if not hits:
        raise ValueError("expected the hits of at least one image, found none")
    chunks = (hits[start : start + _CHUNK] for start in range(0, len(hits), _CHUNK))
    sums = (unpacked(chunk, n_thresholds).sum(axis=0, dtype=np.int64) for chunk in chunks)
    return reduce(np.add, sums)


def hits_of(
    hits: Sequence[bytes], n_thresholds: int, curve: int, threshold: int
) -> Bool[np.ndarray, " n"]:
    """Which images are right on one curve at one threshold."""
    width = -(-n_thresholds // 8)
    place, bit = curve * width + threshold // 8, 7 - threshold % 8
    return np.array([one[place] >> bit & 1 for one in hits], np.bool_)


def best_threshold(accuracy: Float64[np.ndarray, " t"]) -> Chosen:
    """The threshold of the highest accuracy, the lowest of several.

    MaxBoxAcc(delta) = max_t BoxAcc(t, delta), where BoxAcc(t, delta) is the share of images whose
    box at threshold t has an IoU of at least delta (Choe et al., CVPR 2020, eq. 2 and 3).
    MaxBoxAccV2 is the mean of MaxBoxAcc(delta) over delta in {0.3, 0.5, 0.7}.
    """
    best = int(np.argmax(accuracy))
    return Chosen(best, float(accuracy[best]))
