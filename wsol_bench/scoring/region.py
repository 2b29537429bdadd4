"""The region of a map that gives its box: the pixels that a protocol's rule keeps."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy import ndimage

from wsol_bench.boxes.component import largest_components
from wsol_bench.boxes.contours import contour_sweep, gray_levels
from wsol_bench.boxes.levels import levels_of
from wsol_bench.protocols.sections import BoxSection, MapSection
from wsol_bench.scoring.extrema import extrema
from wsol_bench.scoring.upsampling import upsample

__all__ = ["Region", "region_of"]


class Region(NamedTuple):
    """A map at the input's size, cut at one threshold.

    Attributes:
        values: the map as the protocol upsamples it.
        kept: the pixels that are above the threshold.
        component: the pixels of the connected component that gives the box, holes included as they
            are; no pixel without a box.
        box: the box that the protocol takes of the map at this threshold, half-open xyxy pixels of
            the input; None for none.
    """

    values: Float32[np.ndarray, "height width"]
    kept: Bool[np.ndarray, "height width"]
    component: Bool[np.ndarray, "height width"]
    box: Float64[np.ndarray, " 4"] | None


def region_of(
    map: Float32[np.ndarray, "h w"],
    size: tuple[int, int],
    map_section: MapSection,
    box_section: BoxSection,
    threshold: float,
) -> Region:
    """The pixels of a map that are above a threshold by a protocol's rule.

    The box is the one that the protocol's scoring takes. With ``extractor: components`` it is the
    bounding box of the component. With ``contours`` it ends one pixel further on the right and
    below, but inside the map; see ``boxes.contours``.

    Args:
        map: the map as it is stored.
        size: (height, width) of the network's input.
        map_section: how the protocol brings the map to the input's size.
        box_section: how the protocol cuts it.
        threshold: the threshold, a fraction in [0, 1].
    """
    large = upsample(map[None], size, map_section)
    if box_section.extractor == "contours":
        gray = gray_levels(large[0])
        kept = gray > int(threshold * gray.max())
        box = contour_sweep(large[0], np.array([threshold])).largest.boxes[0].astype(np.float64)
        return Region(large[0], kept, _component(kept, box, 8, further=1), box)
    low, high = extrema(large, map[None], map_section, box_section)
    levels = levels_of(low, high, threshold=threshold, of=box_section.of)
    [box] = largest_components(
        large,
        levels,
        comparison=box_section.comparison,
        connectivity=box_section.connectivity,
    )
    exact = large[0].astype(np.float64)
    kept = exact > levels[0] if box_section.comparison == "above" else exact >= levels[0]
    if np.isnan(box[0]):
        return Region(large[0], kept, np.zeros_like(kept), None)
    return Region(large[0], kept, _component(kept, box, box_section.connectivity), box)


def _component(
    kept: Bool[np.ndarray, "height width"],
    box: Float64[np.ndarray, " 4"],
    connectivity: int,
    *,
    further: int = 0,
) -> Bool[np.ndarray, "height width"]:
    """The component whose box is given.

    There is only one: of two components with one box, one would lead from left to right and the
    other from top to bottom, so they would meet.

    Args:
        kept: the pixels of all components.
        box: the box of one of them, half-open xyxy.
        connectivity: the number of neighbors of a pixel.
        further: by how many pixels the box ends further than the component, inside the map.
    """
    neighbors = ndimage.generate_binary_structure(2, 2 if connectivity == 8 else 1)
    labels, _ = ndimage.label(kept, neighbors)
    height, width = kept.shape
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        right = min(columns.stop + further, width)
        below = min(rows.stop + further, height)
        if [columns.start, rows.start, right, below] == box.tolist():
            return np.asarray(labels == number)
    return np.zeros_like(kept)
