"""Polygons and run lengths as COCO writes them, turned into compressed run lengths by its tools."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from wsol_bench.datasets.formats.text import LARGEST
from wsol_bench.datasets.masks import RunLengths
from wsol_bench.errors import DatasetError, ImageError

__all__ = ["Segmentations"]

# COCO's tools walk along a polygon in fifths of a pixel: no outline of an object is longer.
_LONGEST_OUTLINE = 2_000_000


class Segmentations:
    """COCO's own tools (pycocotools), which are imported when they are first needed.

    Raises:
        DatasetError: pycocotools is not installed.
    """

    def __init__(self) -> None:
        try:
            from pycocotools import mask
        except ImportError as error:
            raise DatasetError(
                "masks from polygons and run lengths need pycocotools: "
                "pip install 'wsol-bench[coco]'"
            ) from error
        self._tools = mask

    def encode(self, segmentation: Any, height: int, width: int) -> dict[str, Any] | None:
        """The run lengths of an object, as COCO's tools take them; None if it has no segmentation.

        Args:
            segmentation: a list of polygons, each x0, y0, x1, y1, ... in pixels of the image; or a
                mapping with size and counts, compressed (text) or not (numbers). A polygon of less
                than three points has no pixel.
            height, width: size of the image in pixels.

        Raises:
            ImageError: the segmentation is neither, or does not fit the image.
        """
        if segmentation is None or segmentation == []:
            return None
        limit = Image.MAX_IMAGE_PIXELS or LARGEST**2
        if not 0 < height * width <= limit:
            found = f"found {width} x {height}"
            raise ImageError(f"expected an image size of at most {limit} pixels, {found}")
        if isinstance(segmentation, dict):
            return self._of_runs(segmentation, height, width)
        if not isinstance(segmentation, list):
            kind = type(segmentation).__name__
            raise ImageError(f"expected a list of polygons, or run lengths, found a {kind}")
        polygons = [_polygon(polygon, height, width) for polygon in segmentation]
        polygons = [polygon for polygon in polygons if len(polygon) >= 6]
        if not polygons:
            return None
        drawn = self._tools.frPyObjects(polygons, height, width)
        return dict(drawn[0] if len(drawn) == 1 else self._tools.merge(drawn))

    def _of_runs(self, segmentation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
        counts, size = segmentation.get("counts"), segmentation.get("size")
        if size != [height, width] or bool in map(type, size):
            raise ImageError(
                f"expected the size [{height}, {width}] of its image, found {size!r:.80}"
            )
        if isinstance(counts, str):
            RunLengths(height, width, counts).pixels()  # COCO's tools trust the text
            return {"size": [height, width], "counts": counts.encode()}
        if (
            not isinstance(counts, list)
            or not all(type(count) is int and count >= 0 for count in counts)
            or sum(counts) != height * width
        ):
            raise ImageError(
                f"expected counts of runs whose sum is {height * width}, found {counts!r:.80}"
            )
        runs = {"size": [height, width], "counts": counts}
        return dict(self._tools.frPyObjects(runs, height, width))

    def union(self, masks: Sequence[dict[str, Any]]) -> str:
        """The pixels in any of several masks of one size, as compressed run lengths."""
        merged = self._tools.merge(list(masks)) if len(masks) > 1 else masks[0]
        text: str = merged["counts"].decode("ascii")
        return text


def _polygon(polygon: Any, height: int, width: int) -> list[float]:
    """A polygon whose coordinates lie near the image.

    Raises:
        ImageError: it is no list of pairs of numbers, leaves the image far, or is too long.
    """
    if not isinstance(polygon, list) or not all(type(value) in (int, float) for value in polygon):
        raise ImageError(f"expected polygons of numbers x, y, x, y, ..., found {polygon!r:.80}")
    if len(polygon) % 2:
        raise ImageError(f"expected polygons of pairs x, y, found {len(polygon)} numbers")
    try:
        points = np.array(polygon, np.float64).reshape(-1, 2)
    except OverflowError as error:
        raise ImageError("expected coordinates of pixels, found a huge number") from error
    sides = np.array([width, height])
    if not ((points >= -sides) & (points <= 2 * sides)).all():
        raise ImageError(
            f"expected a polygon in the image of {width} x {height} pixels, found coordinates from "
            f"{points.min():g} to {points.max():g}"
        )
    steps = np.abs(np.diff(points, axis=0, append=points[:1])).max(axis=1, initial=0)
    if steps.sum() > _LONGEST_OUTLINE:
        raise ImageError(f"expected an outline of at most {_LONGEST_OUTLINE} pixels, found more")
    numbers: list[float] = points.ravel().tolist()
    return numbers
