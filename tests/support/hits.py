"""The hits of a table of curves, read without the package's own reader."""

import numpy as np


def unpacked(hits, n_thresholds, curves=slice(None)):
    """A table's packed bits as bool (images, curves, thresholds); by default of all curves."""
    width = -(-n_thresholds // 8)
    packed = np.frombuffer(b"".join(hits), np.uint8).reshape(len(hits), -1, width)[:, curves]
    return np.unpackbits(packed, axis=2, count=n_thresholds).view(np.bool_)
