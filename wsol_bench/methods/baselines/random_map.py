"""The random map: what is gained by chance."""

import hashlib
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from wsol_bench.common.files import digest
from wsol_bench.datasets import Dataset
from wsol_bench.methods.maps_or_boxes import ImageMaps
from wsol_bench.methods.network_free import network_free_method

__all__ = ["random_map"]


@network_free_method("random_map", gives="maps", baseline=True)
def random_map(
    dataset: Dataset | None, *, size: Annotated[int, Field(ge=2, le=4096)] = 7, seed: int = 0
) -> ImageMaps:
    """A random map: independent standard normal numbers on a grid.

    The protocol's upsampling makes the map smooth. The numbers depend on the seed and the image's
    id, and on nothing else, so an image has the same map in any data set, order and part of a run.

    Args:
        dataset: not needed.
        size: side of the grid, from 2 to 4096; the last layer of most networks has side 7.
        seed: seed of the numbers; each seed gives other maps.
    """

    def map(image_id: str) -> Float32[np.ndarray, "h w"]:
        key = int.from_bytes(hashlib.sha256(f"{seed} {image_id}".encode()).digest(), "big")
        return np.random.default_rng(key).standard_normal((size, size), dtype=np.float32)

    return ImageMaps(map, digest(Path(__file__).read_bytes()))
