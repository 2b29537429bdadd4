"""The argument of a metric per map: one localization map and its image's ground truth."""

from dataclasses import dataclass
from functools import cached_property
from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float32, UInt8

from wsol_bench.common.arrays import read_only
from wsol_bench.datasets.ground_truth import ImageTruth
from wsol_bench.geometry import Boxes, Placement, to_input
from wsol_bench.images.masks import OBJECT, mask_of

__all__ = ["MapView"]


@dataclass(frozen=True, eq=False)
class MapView:
    """One localization map of an image's label, beside the ground truth of the image.

    Its arrays are read-only, since all metrics per map get the same view.

    Attributes:
        values: the map at the size of the network's input, as the protocol upsamples it.
        truth: ground truth of the image, in pixels of the image.
        placement: place of the network's input in the image.
    """

    values: Float32[np.ndarray, "height width"]
    truth: ImageTruth
    placement: Placement

    def __post_init__(self) -> None:
        truth = self.truth._replace(boxes=read_only(self.truth.boxes))
        vars(self).update(values=read_only(self.values), truth=truth)

    @cached_property
    def finite(self) -> bool:
        """Return whether all values are finite."""
        return bool(np.isfinite(self.values).all())

    @cached_property
    def boxes(self) -> Boxes:
        """The ground-truth boxes in pixels of the network's input, half-open xyxy."""
        boxes = self.truth.boxes
        return read_only(to_input(boxes, [self.placement], np.zeros(len(boxes), np.int64)))

    @cached_property
    def pixels(self) -> UInt8[np.ndarray, "height width"]:
        """The ground truth of each pixel: 1 object, 0 background, 255 ignored.

        It is the image's mask in a data set of masks; otherwise a pixel is object if its center
        lies in a ground-truth box.
        """
        if self.truth.mask is not None:
            return read_only(mask_of(self.truth.mask, self.placement))
        height, width = self.values.shape[0], self.values.shape[1]
        pixels = np.zeros((height, width), np.uint8)
        for x0, y0, x1, y1 in np.ceil(self.boxes - 0.5).tolist():
            rows = slice(max(0, int(y0)), min(height, max(0, int(y1))))
            columns = slice(max(0, int(x0)), min(width, max(0, int(x1))))
            pixels[rows, columns] = OBJECT
        return read_only(pixels)

    @cached_property
    def peak(self) -> tuple[int, int] | None:
        """(x, y) of the first maximum in raster order; None without a positive value.

        A map whose positive values have no finite sum, as with a NaN or an infinite value, has no
        peak.
        """
        x, y, whole = _peak(self.values)
        return (x, y) if whole > 0 and np.isfinite(whole) else None


@no_type_check
@numba.njit(nogil=True, cache=True)
def _peak(values):
    height, width = values.shape
    whole = 0.0
    top_x, top_y = 0, 0
    for y in range(height):
        row = 0.0
        for x in range(width):
            value = values[y, x]
            if value > values[top_y, top_x]:
                top_x, top_y = x, y
            # A NaN is not <= 0, so the sum becomes NaN.
            row += 0.0 if value <= 0 else value
        whole += row
    return top_x, top_y, whole
