"""The center box: the same share in the middle of every image."""

import math
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from wsol_bench.common.files import digest
from wsol_bench.datasets import Dataset
from wsol_bench.methods.maps_or_boxes import ImageMaps
from wsol_bench.methods.network_free import network_free_method

__all__ = ["center_box"]


@network_free_method("center_box", gives="maps")
def center_box(
    dataset: Dataset | None,
    *,
    side: Annotated[float, Field(gt=0, lt=1)] = math.sqrt(0.5),
    size: Annotated[int, Field(ge=2)] = 224,
) -> ImageMaps:
    """A box in the center of every image, of the image's aspect, at every threshold.

    By default it covers half of the image's area. The map holds ones in the box and zeros around
    it. A pixel of the map is in the box if its center is, so each side of the box is right to half
    a pixel of a map of the input's size; a larger input has the map interpolated. The box lies in
    the network's input, which is the image unless the protocol crops.

    Args:
        dataset: not needed.
        side: side of the box as a fraction of the image's, in (0, 1); for the whole image there is
            ``full_image``.
        size: side of the map in pixels, at least 2.
    """
    offset = np.abs(2 * np.arange(size) + 1 - size)  # of a pixel's center, in half pixels
    across = offset < max(side * size, offset.min() + 1)  # at least the pixels in the middle
    map = (across[:, None] & across).astype(np.float32)
    return ImageMaps(lambda image_id: map, digest(Path(__file__).read_bytes()))
