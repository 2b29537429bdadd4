"""Conventions of boxes, their overlap, and the place of a network's input in its original image.

After loading, every box is half-open xyxy: ``x0 <= x < x1``, ``y0 <= y < y1``, float64 pixels of
the original image, origin at the outer corner of the first pixel. The loaders convert published
conventions, once, by the functions below.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

__all__ = [
    "HALF_OPEN",
    "INCLUSIVE",
    "ONE_BASED_INCLUSIVE",
    "Boxes",
    "Convention",
    "GeometryName",
    "Pairs",
    "Placement",
    "Repaired",
    "box_area",
    "box_intersection",
    "box_iou",
    "from_inclusive",
    "image_pairs",
    "keeps_aspect",
    "place",
    "repair",
    "shown_to_stored",
    "to_inclusive",
    "to_input",
    "to_original",
]

Boxes = Float64[np.ndarray, "n 4"]
GeometryName = Literal["squash", "center_crop", "shorter_side"]

# Convolutions without padding lose some positions at the border: Inception has 8 of 9.3, and, in an
# earlier layer, 35 of 37.4. The loss is at most one position and this share of the others, and
# never above _BORDER.
_LOSS, _BORDER = 0.05, 3.0


def from_inclusive(boxes: Float64[np.ndarray, "*n 4"]) -> Float64[np.ndarray, "*n 4"]:
    """Half-open boxes from 0-based inclusive corners (ILSVRC), whose last pixel is in the box."""
    return boxes + np.array([0.0, 0.0, 1.0, 1.0])


def to_inclusive(boxes: Float64[np.ndarray, "*n 4"]) -> Float64[np.ndarray, "*n 4"]:
    """0-based inclusive corners (ILSVRC) from half-open boxes."""
    return boxes - np.array([0.0, 0.0, 1.0, 1.0])


class Convention(NamedTuple):
    """The convention by which annotations write the two corners of a box.

    Attributes:
        origin: coordinate of an image's first pixel.
        last: 1 if the far corner is the last pixel of the box, 0 if it is the end behind it.
    """

    origin: float
    last: float

    def to_half_open(self, corners: Float64[np.ndarray, "n 4"]) -> Boxes:
        """Half-open boxes from corners as the annotations write them."""
        return corners + self._shift()

    def to_corners(self, boxes: Boxes) -> Float64[np.ndarray, "n 4"]:
        """Corners as the annotations write them, from half-open boxes."""
        return boxes - self._shift()

    def _shift(self) -> Float64[np.ndarray, " 4"]:
        near, far = -self.origin, self.last - self.origin
        return np.array([near, near, far, far])


HALF_OPEN = Convention(origin=0.0, last=0.0)
INCLUSIVE = Convention(origin=0.0, last=1.0)  # ILSVRC
ONE_BASED_INCLUSIVE = Convention(origin=1.0, last=1.0)  # Pascal VOC


class Repaired(NamedTuple):
    """Ground-truth boxes after repair.

    Attributes:
        boxes: half-open xyxy, corners in order, inside the image.
        kept: whether each box has an area in its image; the caller drops the other boxes.
        remarks: text that says what was wrong with a box, by the position of the box.
    """

    boxes: Float64[np.ndarray, "n 4"]
    kept: Bool[np.ndarray, " n"]
    remarks: dict[int, str]


def repair(
    boxes: Boxes, sizes: Float64[np.ndarray, "n 2"], convention: Convention = INCLUSIVE
) -> Repaired:
    """Put the corners of ground-truth boxes in order and cut the boxes at their image's edges.

    Args:
        boxes: half-open xyxy.
        sizes: width and height of each box's image in pixels; infinite if unknown.
        convention: convention of the annotations; remarks show corners as the annotations do.
    """
    # A half-open box from swapped inclusive corners is off by the pixel that the conversion added
    # to the wrong side, so the corners are put in order in the annotations' convention.
    corners = convention.to_corners(boxes)
    ordered = convention.to_half_open(
        np.concatenate(
            [
                np.minimum(corners[:, :2], corners[:, 2:]),
                np.maximum(corners[:, :2], corners[:, 2:]),
            ],
            axis=1,
        )
    )
    clipped = np.clip(ordered, 0.0, np.tile(sizes, 2))
    kept = (clipped[:, :2] < clipped[:, 2:]).all(axis=1) & np.isfinite(boxes).all(axis=1)
    remarks = {}
    for index in np.flatnonzero(~kept | (clipped != boxes).any(axis=1)).tolist():
        box = ", ".join(f"{value:g}" for value in corners[index])
        if not kept[index]:
            remarks[index] = f"box ({box}) has no pixel in the image; dropped"
        elif not np.array_equal(ordered[index], boxes[index]):
            remarks[index] = f"box ({box}) has its minimum above its maximum; corners swapped"
        else:
            remarks[index] = f"box ({box}) reaches outside the image; clipped"
    return Repaired(clipped, kept, remarks)


def shown_to_stored(
    boxes: Boxes, orientation: Int64[np.ndarray, " n"], sizes: Float64[np.ndarray, "n 2"]
) -> Boxes:
    """Boxes on stored pixels, from boxes on images as their EXIF orientation shows them.

    Args:
        boxes: half-open xyxy in pixels of the images as shown.
        orientation: EXIF orientation of each box's image, from 1 (as stored) to 8.
        sizes: width and height of each box's image as stored, in pixels.
    """
    corners = boxes.reshape(-1, 2, 2)  # box, corner, axis
    swapped = (orientation >= 5)[:, None, None]
    corners = np.where(swapped, corners[:, :, ::-1], corners)
    mirrored = np.stack(
        [np.isin(orientation, (2, 3, 7, 8)), np.isin(orientation, (3, 4, 6, 7))], axis=1
    )[:, None]
    corners = np.where(mirrored, sizes[:, None] - corners, corners)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def box_area(boxes: Float64[np.ndarray, "*n 4"]) -> Float64[np.ndarray, "*n"]:
    """The area of half-open boxes with x0 <= x1 and y0 <= y1, in square pixels."""
    return np.asarray((boxes[..., 2:] - boxes[..., :2]).prod(axis=-1))


def box_intersection(
    first: Float64[np.ndarray, "*#n 4"], second: Float64[np.ndarray, "*#n 4"]
) -> Float64[np.ndarray, "*n"]:
    """The area that half-open boxes share, in square pixels, over broadcast leading dimensions.

    Inverted boxes and boxes of NaN share nothing.
    """
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    extent = high - low
    return np.where((extent > 0).all(axis=-1), extent.prod(axis=-1), 0.0)


def box_iou(
    first: Float64[np.ndarray, "*#n 4"], second: Float64[np.ndarray, "*#n 4"]
) -> Float64[np.ndarray, "*n"]:
    """The intersection over union of half-open boxes, in [0, 1], over broadcast leading dimensions.

    It equals the ILSVRC devkit's ``compute_overlap`` on inclusive corners (its ``+1`` is the
    half-open end), except that no overlap is 0 here and -1 in the devkit. Inverted boxes and boxes
    of NaN overlap nothing.
    """
    intersection = box_intersection(first, second)
    union = box_area(first) + box_area(second) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=intersection > 0)


class Pairs(NamedTuple):
    """Pairs of a guessed box and a ground-truth box, guess by guess, as indices into two lists.

    Attributes:
        guess: index of the guess, ascending; a guess whose image has no box is in no pair.
        box: index of the ground-truth box, ascending within a guess.
    """

    guess: Int64[np.ndarray, " p"]
    box: Int64[np.ndarray, " p"]


def image_pairs(
    image_of_guess: Int64[np.ndarray, " n"], boxes_per_image: Int64[np.ndarray, " images"]
) -> Pairs:
    """The pairs of every guess with every ground-truth box of its image, over all images at once.

    Args:
        image_of_guess: position of each guess's image.
        boxes_per_image: number of boxes of each image; the boxes lie image by image in one list.
    """
    first = np.cumsum(boxes_per_image) - boxes_per_image
    pairs = boxes_per_image[image_of_guess]
    guess = np.repeat(np.arange(len(pairs)), pairs)
    within = np.arange(pairs.sum()) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    return Pairs(guess, first[image_of_guess[guess]] + within)


@dataclass(frozen=True)
class Placement:
    """The place of a network's input in its original image.

    The original is resized, and the network sees a window of the result.

    Attributes:
        original: (height, width) of the original image in pixels.
        resized: (height, width) that the original is resized to.
        offset: (top, left) of the window in the resized image.
        input: (height, width) of the window.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    offset: tuple[int, int]
    input: tuple[int, int]

    def to_original(self, boxes: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n 4"]:
        """Half-open boxes of the input as half-open boxes of the original: the exact inverse."""
        return to_original(boxes, [self], np.zeros(len(boxes), np.int64))

    def scaled(self, scale: float) -> "Placement":
        """The place of the same part of the original, resized to ``scale`` times the size.

        Sides and corner are rounded to whole pixels, half to even; each side has at least one.
        """
        height, width = (max(1, round(side * scale)) for side in self.resized)
        of_input = (max(1, round(self.input[0] * scale)), max(1, round(self.input[1] * scale)))
        # Rounded up together, corner and side could reach beyond the resized image.
        top = min(round(self.offset[0] * scale), height - of_input[0])
        left = min(round(self.offset[1] * scale), width - of_input[1])
        return Placement(self.original, (height, width), (top, left), of_input)

    def five_crops(self, size: int) -> "list[Placement]":
        """The squares at the four corners and in the center of the resized original.

        The center's corner is rounded half to even, as torchvision does. So Caffe's is, too, of 256
        pixels for crops of 224 or 227.

        Args:
            size: side of the squares in pixels, at most the shorter side of ``resized``.
        """
        bottom, right = self.resized[0] - size, self.resized[1] - size
        corners = ((0, 0), (0, right), (bottom, 0), (bottom, right))
        center = (round(bottom / 2), round(right / 2))
        return [
            Placement(self.original, self.resized, corner, (size, size))
            for corner in (*corners, center)
        ]


def to_original(
    boxes: Float64[np.ndarray, "n 4"],
    placements: Sequence[Placement],
    index: Int64[np.ndarray, " n"],
) -> Float64[np.ndarray, "n 4"]:
    """Half-open boxes of inputs as half-open boxes of their original images: the exact inverse.

    Args:
        boxes: half-open xyxy boxes in pixels of the inputs.
        placements: place of the input in each image.
        index: position of each box's image in ``placements``.
    """
    top_left = np.array([place.offset for place in placements], np.float64).reshape(-1, 2)
    resized = np.array([place.resized for place in placements], np.float64).reshape(-1, 2)
    original = np.array([place.original for place in placements], np.float64).reshape(-1, 2)
    # (height, width) becomes (x, y, x, y). Multiply first: the input's far edge then comes back as
    # the image's edge, exactly.
    shift, divisor, factor = (
        np.tile(sizes[:, ::-1], 2)[index] for sizes in (top_left, resized, original)
    )
    return (boxes + shift) * factor / divisor


def to_input(
    boxes: Float64[np.ndarray, "n 4"],
    placements: Sequence[Placement],
    index: Int64[np.ndarray, " n"],
) -> Float64[np.ndarray, "n 4"]:
    """Boxes of original images as boxes of network inputs, which they may reach beyond.

    Args:
        boxes: half-open xyxy boxes in pixels of the original images.
        placements: place of the input in each image.
        index: position of each box's image in ``placements``.
    """
    shift, resized, original = (
        np.array([pair[::-1] * 2 for pair in pairs], np.float64).reshape(-1, 4)[index]
        for pairs in zip(*((p.offset, p.resized, p.original) for p in placements), strict=True)
    )
    return boxes * resized / original - shift


def place(
    height: int, width: int, *, geometry: GeometryName, size: int, resize_to: int | None = None
) -> Placement:
    """The place of the network's input in an image of (height, width) pixels.

    Args:
        height, width: size of the original image in pixels.
        geometry: ``squash`` resizes to (size, size) and ignores the aspect ratio; ``center_crop``
            resizes the shorter side to ``resize_to`` and cuts the central (size, size);
            ``shorter_side`` resizes the shorter side to ``size`` and cuts nothing.
        size: side of the input in pixels.
        resize_to: shorter side before the crop, in pixels (``center_crop`` only).

    Raises:
        ValueError: a ``center_crop`` whose ``resize_to`` is missing or smaller than ``size``.
    """
    if geometry == "squash":
        return Placement((height, width), (size, size), (0, 0), (size, size))
    shorter = size if geometry == "shorter_side" else resize_to
    if shorter is None or shorter < size:
        raise ValueError(f"center_crop needs resize_to >= size ({size}), found {resize_to}")
    # The longer side is truncated and the crop's corner rounded half to even, as torchvision's
    # Resize and CenterCrop do.
    if height <= width:
        resized = (shorter, int(shorter * width / height))
    else:
        resized = (int(shorter * height / width), shorter)
    if geometry == "shorter_side":
        return Placement((height, width), resized, (0, 0), resized)
    offset = (round((resized[0] - size) / 2.0), round((resized[1] - size) / 2.0))
    return Placement((height, width), resized, offset, (size, size))


def keeps_aspect(height: int, width: int, input_height: int, input_width: int) -> bool:
    """Return whether a grid of positions has the aspect of an input, up to losses at the border.

    Args:
        height, width: number of rows and columns of the grid.
        input_height, input_width: size of the input in pixels.
    """
    least, most = 0.0, math.inf  # bounds of a stride in pixels that is the same for both sides
    for n, side in ((height, input_height), (width, input_width)):
        lost = min(1 + _LOSS * n, _BORDER)
        least = max(least, side / (n + lost))
        most = min(most, side / (n - lost)) if n > lost else most
    return height <= input_height and width <= input_width and least <= most
