"""The whole image as the box: what is gained by no localization at all."""

from pathlib import Path

import numpy as np

from wsol_bench.common.files import digest
from wsol_bench.datasets import Dataset
from wsol_bench.methods.maps_or_boxes import ImageMaps
from wsol_bench.methods.network_free import network_free_method

__all__ = ["full_image"]

_SIZE = 224


@network_free_method("full_image", gives="maps", baseline=True)
def full_image(dataset: Dataset | None) -> ImageMaps:
    """The whole image as the box, for every image and at every threshold.

    The map holds ones, and a zero in its last corner: a protocol that scales maps by their range
    finds nothing in a constant map (wsolevaluation makes it zeros), and the box of all pixels but
    one corner is the box of all pixels. The maximum is the first pixel. The box is the whole of the
    network's input, and so of the image unless the protocol crops.

    Args:
        dataset: not needed.
    """
    map = np.ones((_SIZE, _SIZE), np.float32)
    map[-1, -1] = 0
    return ImageMaps(lambda image_id: map, digest(Path(__file__).read_bytes()))
