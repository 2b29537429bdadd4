"""The center box: the same share in the middle of every image."""

import math
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from wsol_bench.common.files import digest
from wsol_bench.datasets import Dataset
from wsol_bench.methods.maps_or_boxes import ImageBoxes, RankedBox
from wsol_bench.methods.network_free import network_free_method

__all__ = ["center_box"]

# Half of the image's area, and so much more that rounding does not take the box below half: its IoU
# with a ground-truth box of the whole image is 1/2, which is a hit at the usual least IoU.
HALF_OF_THE_AREA = math.sqrt(0.5) * (1 + 1e-12)


@network_free_method("center_box", gives="boxes", baseline=True)
def center_box(
    dataset: Dataset, *, side: Annotated[float, Field(gt=0, lt=1)] = HALF_OF_THE_AREA
) -> ImageBoxes:
    """A box in the center of every image, of the image's aspect ratio.

    By default the box covers half of the image's area, so its IoU with the whole image is at least
    1/2. Its corners are not rounded to pixels: they
    are ``(1 - side) / 2`` and ``(1 + side) / 2`` of the image's width and height. The box lies in
    the image itself, whatever part of it the protocol shows to a network. A sweep has the same box
    at every threshold. A box has no pixels to score, so a protocol of pixels reports the method as
    not applicable.

    Args:
        dataset: the images, whose sizes the boxes are shares of; an image of unknown size has none.
        side: side of the box as a fraction of the image's side, in (0, 1); ``full_image`` is the
            whole image.
    """
    images = dataset.images
    sizes = images[["width", "height"]].to_numpy(np.float64)
    corners = np.tile(sizes, 2) * (np.array([1, 1, 1, 1]) + np.array([-1, -1, 1, 1]) * side) / 2
    boxes = {
        image_id: [RankedBox(0, "", (x0, y0, x1, y1))] if x0 < x1 else []
        for image_id, (x0, y0, x1, y1) in zip(images["image_id"], corners.tolist(), strict=True)
    }
    return ImageBoxes(boxes, digest(Path(__file__).read_bytes()), ranked=False)
