"""The center baseline: the same Gaussian in the middle of every image."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from wsol_bench.common.files import digest
from wsol_bench.datasets import Dataset
from wsol_bench.methods.maps_or_boxes import ImageMaps
from wsol_bench.methods.network_free import network_free_method

__all__ = ["center_gaussian"]


@network_free_method("center_gaussian", gives="maps", paper="arXiv:2001.07437", baseline=True)
def center_gaussian(
    dataset: Dataset | None, *, size: Annotated[int, Field(ge=2, le=4096)] = 224
) -> ImageMaps:
    """The center baseline of Choe et al. (CVPR 2020): the same Gaussian for every image.

    ``exp(-(x^2 + y^2) / 2)`` for x and y from -1 to 1 across the input, scaled by its range.

    Args:
        dataset: not needed.
        size: side of the map in pixels, from 2 to 4096.
    """
    across = np.linspace(-1, 1, size)
    bell = np.exp(-(across[:, None] ** 2 + across[None] ** 2) / 2)
    map = ((bell - bell.min()) / (bell.max() - bell.min())).astype(np.float32)
    return ImageMaps(lambda image_id: map, digest(Path(__file__).read_bytes()))
