"""The hits of a table of curves, read without the package's own reader."""

import numpy as np


def unpacked(hits, n_thresholds, curves=slice(None)):
    """(images, curves, thresholds) bool, of a table's packed bits: all curves or some."""
    width = -(-n_thresholds // 8)
    packed = np.frombuffer(b"".join(hits), np.uint8).reshape(len(hits), -1, width)[:, curves]
    return np.unpackbits(packed, axis=2, count=n_thresholds).view(np.bool_)
