"""The oracle of threshold sweeps: each threshold alone, in float64, labeled by scikit-image."""

from functools import cache
from itertools import product

import numpy as np
from scipy.ndimage import find_objects
from skimage.measure import label

from wsol_bench.boxes.threshold_sweep import threshold_sweep

NONE = [None] * 4
CUTS = [
    {"connectivity": connectivity, "of": of, "comparison": comparison}
    for connectivity, of, comparison in product((4, 8), ("maximum", "range"), ("at_least", "above"))
]
CUT_NAMES = ["-".join(map(str, choices.values())) for choices in CUTS]


def cut(values, threshold, *, of, comparison):
    """The pixels that reach a threshold."""
    if not values.size or not np.isfinite(values).all():
        return np.zeros(values.shape, bool)
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if of == "maximum" and high <= 0:
        return np.zeros(values.shape, bool)
    level = threshold * high if of == "maximum" else low + threshold * (high - low)
    return values >= level if comparison == "at_least" else values > level


def components(mask, connectivity):
    """Each component as (number of pixels, first pixel in raster order, half-open box)."""
    if not mask.any():
        return []
    labels = label(mask, connectivity={4: 1, 8: 2}[connectivity])
    numbers, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    foreground = numbers > 0
    boxes = [
        (x.start, y.start, x.stop, y.stop) for y, x in find_objects(labels)
    ]  # as regionprops finds them
    return list(zip(sizes[foreground].tolist(), first[foreground].tolist(), boxes, strict=True))


def largest(regions):
    """The box of the component with most pixels; a tie goes to the first in raster order."""
    return min(regions, key=lambda region: (-region[0], region[1]))[2] if regions else None


def expected_boxes(values, thresholds, *, connectivity, of, comparison):
    @cache
    def box_of(cut_pixels):
        mask = np.frombuffer(cut_pixels, bool).reshape(values.shape)
        return largest(components(mask, connectivity))

    boxes = [
        box_of(cut(values, threshold, of=of, comparison=comparison).tobytes())
        for threshold in thresholds
    ]
    return np.array([NONE if box is None else box for box in boxes], float).reshape(-1, 4)


def assert_as_labeled(values, thresholds, choices):
    boxes = threshold_sweep(values, np.asarray(thresholds, np.float64), **choices)
    expected = expected_boxes(values, thresholds, **choices)
    assert np.array_equal(boxes, expected, equal_nan=True), (values, thresholds, choices, boxes)
