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
    """A box in the center of every image, of the image's aspect ratio, at every threshold.

    By default the box covers half of the image's area. The map holds ones in the box and zeros
    around it. A pixel of the map is in the box if its center is, so each side of the box is exact
    to half a pixel if the map has the input's size; for a larger input the map is interpolated. The
    box lies in the network's input, which is the image unless the protocol crops.

    Args:
        dataset: not needed.
        side: side of the box as a fraction of the image's side, in (0, 1); ``full_image`` is the
            whole image.
        size: side of the map in pixels, at least 2.
    """
    # The distance of each pixel's center from the middle, in half pixels.
    offset = np.abs(2 * np.arange(size) + 1 - size)
    across = offset < max(side * size, offset.min() + 1)  # at least the pixels in the middle
    map = (across[:, None] & across).astype(np.float32)
    return ImageMaps(lambda image_id: map, digest(Path(__file__).read_bytes()))
