"""The maps that a report holds: as many as its size allows, those of the labels first."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float16

from wsol_bench.report.page.details import StoredMap

__all__ = ["MapChoice"]

# A map with more cells a side is shown by a smaller picture if it does not fit.
_SMALL = 40


class MapChoice:
    """Chooses the maps of image after image, so that all of them together stay below a size.

    Each image may use its share of what is left; what it leaves goes to the images behind it.

    Args:
        n_bytes: the largest size of all maps.
        n_images: the number of images that are asked for.
    """

    def __init__(self, n_bytes: int, n_images: int) -> None:
        self._n_bytes = n_bytes
        self._n_images = n_images

    def __call__(self, maps: Sequence[StoredMap]) -> Sequence[StoredMap | None]:
        """The maps of an image that the report gets; see ``details.Choice``."""
        left = self._n_bytes // max(1, self._n_images)
        chosen: list[StoredMap | None] = [None] * len(maps)
        # Labels' maps first, small ones first: a large map must not cost many small ones.
        order = sorted(range(len(maps)), key=lambda n: (not maps[n].is_label, maps[n].values.size))
        for number in order:
            for candidate in (maps[number], _smaller(maps[number])):
                if candidate is not None and candidate.values.nbytes <= left:
                    chosen[number] = candidate
                    left -= candidate.values.nbytes
                    self._n_bytes -= candidate.values.nbytes
                    break
        self._n_images -= 1
        return chosen


def _smaller(map: StoredMap) -> StoredMap | None:
    """A smaller picture of a label's map: means of blocks; None for a small or another map."""
    factor = -(-max(map.values.shape) // _SMALL)
    if factor == 1 or not map.is_label:
        return None
    return StoredMap(_block_means(map.values, factor), map.scale, map.is_label, reduced=True)


def _block_means(values: Float16[np.ndarray, "h w"], factor: int) -> Float16[np.ndarray, "a b"]:
    height, width = values.shape
    filled = np.full((-(-height // factor) * factor, -(-width // factor) * factor), np.nan)
    filled[:height, :width] = values
    blocks = filled.reshape(filled.shape[0] // factor, factor, filled.shape[1] // factor, factor)
    return np.nanmean(blocks, axis=(1, 3)).astype(np.float16)
