"""The frame that boxes were drawn in, and what it makes of them: rescaled, rotated or left out.

Boxes may refer to the image as stored, to another size of it, to the image as its EXIF tag shows
it, or to shares of its sides. An annotation that tells its image's size tells which of these it is;
of the others, the boxes of the whole data set tell something.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from wsol_bench.datasets.findings import Finding, Kind
from wsol_bench.errors import DatasetError
from wsol_bench.geometry import Boxes, shown_to_stored

__all__ = [
    "MOST_SHARE",
    "Frames",
    "all_are_shares",
    "are_shares",
    "frames_of",
    "into_stored",
    "orientations",
    "require_pixels",
    "resized_images",
    "ways_up",
]

# Every coordinate is at most this if boxes are shares of their images, some of which they leave.
MOST_SHARE = 1.5
# Boxes that leave their images by more than a pixel (a convention's last one): none of the 80,477
# of ILSVRC's validation set do; of images resized to 99% of their sides, 27% do.
_LEAST_LEAVING, _SHARE_LEAVING = 3, 0.05
# Of boxes in enlarged images, none reaches beyond a part of the sides: of 20 boxes of ILSVRC one
# nearly always touches the right or lower edge.
_LEAST_BOXES, _NEVER_REACHED = 20, 0.95


class Frames(NamedTuple):
    """The frames that the boxes of images were drawn in.

    Attributes:
        size: (width, height) of each frame in pixels, 0 if unknown.
        said: whether the annotations tell that size.
        turned: whether the boxes were drawn on the image as its EXIF tag shows it.
        lost: whether the boxes cannot be placed in the image.
    """

    size: Float64[np.ndarray, "n 2"]
    said: Bool[np.ndarray, " n"]
    turned: Bool[np.ndarray, " n"]
    lost: Bool[np.ndarray, " n"]


class WaysUp(NamedTuple):
    """The ways up that images may have had when they were annotated; none if a size is unknown.

    Attributes:
        stored: whether it may have been that of the stored pixels, of this or another size.
        swapped: whether width and height may have been swapped.
    """

    stored: Bool[np.ndarray, " n"]
    swapped: Bool[np.ndarray, " n"]


def are_shares(corners: Float64[np.ndarray, "n 4"]) -> Bool[np.ndarray, " n"]:
    """Return whether each box is more likely in shares of its image than in pixels.

    Such a box lies within a pixel and a half of the image's corner, and between pixels. Boxes in
    pixels may do so, too, but hardly all of a data set.
    """
    within = (np.abs(corners) <= MOST_SHARE).all(axis=1)
    return np.asarray(within & (corners % 1 != 0).any(axis=1))


def all_are_shares(corners: Float64[np.ndarray, "n 4"]) -> bool:
    """Return whether the boxes of a data set or of a file seem to be shares of their images.

    A box (0, 0, 1, 1) is the whole image among others in shares. Without a box nothing tells.
    """
    is_whole_image = (corners == [0, 0, 1, 1]).all(axis=1)
    return bool(len(corners) and (are_shares(corners) | is_whole_image).all())


def require_pixels(corners: Float64[np.ndarray, "n 4"], source: str) -> None:
    """Raise DatasetError if all boxes of a data set seem to be shares of their images.

    Args:
        corners: corners of all boxes, as the annotations write them; NaN for no box.
        source: where they come from, for the error message.
    """
    corners = corners[np.isfinite(corners).all(axis=1)]
    if all_are_shares(corners):
        example = ", ".join(f"{value:g}" for value in corners[0])
        raise DatasetError(
            f"{source}: expected boxes in pixels, found shares of the image's sides: no coordinate "
            f"of {len(corners)} boxes is above {corners.max():g}, the first box is ({example}). "
            "The data set 'table' reads such boxes (x0, y0, x1, y1) with convention: normalized; "
            "in any other file, multiply x by the image's width and y by its height"
        )


def frames_of(
    images: pd.DataFrame, annotated: Bool[np.ndarray, " n"]
) -> tuple[Frames, list[Finding]]:
    """The frames of all images; findings of frames that are not the stored image.

    Args:
        images: images of ``assemble``.
        annotated: whether each image is kept and has boxes.
    """
    size = images[["width", "height"]].to_numpy(np.float64)
    orientation = orientations(images)
    said = np.zeros_like(size)
    if "annotated_width" in images:
        said = images[["annotated_width", "annotated_height"]].to_numpy(np.float64)
    known = (said > 0).all(axis=1) & (size > 0).all(axis=1)
    stored, swapped = ways_up(said, size)
    other_side_up = swapped & ~stored
    turned, lost = other_side_up & (orientation >= 5), other_side_up & (orientation < 5)
    unsure = (orientation > 1) & ~((stored ^ swapped) & (orientation >= 5))
    differs = known & (said != size).any(axis=1)
    # Without an image file the size comes from the annotations, too.
    told = known | ((images["path"] == "").to_numpy() & (size > 0).all(axis=1))
    frames = Frames(np.where(differs[:, None], said, size), told, turned, lost)
    findings = _unsaid_among_resized(annotated & known, annotated & differs, annotated & ~known)
    for index in np.flatnonzero(annotated & (differs | unsure)):
        image_id = images["image_id"].iloc[index]
        tag = f"its EXIF orientation is {orientation[index]}"
        drawn = f"boxes refer to {_by(said[index])} pixels, the image has {_by(size[index])}"
        if turned[index]:
            text = f"{drawn}, shown turned: {tag}; boxes rotated into the stored pixels"
            findings.append(Finding(Kind.ROTATED, image_id, text))
        elif lost[index]:
            text = f"{drawn}, and no EXIF tag turns it: they were drawn on another image; left out"
            findings.append(Finding(Kind.SWAPPED_SIZE, image_id, text))
        elif differs[index]:
            text = f"{drawn}; boxes rescaled"
            if not stored[index]:
                text += ", width and height by different factors: wrong if the image was cropped"
            findings.append(Finding(Kind.SIZE_MISMATCH, image_id, text))
        if unsure[index]:
            text = f"{tag}, and no size tells whether its boxes were drawn on the image as shown"
            findings.append(
                Finding(Kind.ORIENTATION, image_id, f"{text}; taken as drawn on the stored pixels")
            )
    return frames, findings


def _unsaid_among_resized(
    known: Bool[np.ndarray, " n"], differs: Bool[np.ndarray, " n"], unsaid: Bool[np.ndarray, " n"]
) -> list[Finding]:
    """The finding that some images may be resized as most others are, but have no annotated size.

    Args:
        known: whether an image has boxes and the size that they were drawn on.
        differs: whether that is another size than the image's.
        unsaid: whether an image has boxes without such a size.
    """
    if not unsaid.any() or differs.sum() * 2 <= known.sum():
        return []
    text = (
        f"{differs.sum()} of {known.sum()} images have another size than that which their boxes "
        f"were drawn on, and {unsaid.sum()} more do not tell that size: their boxes are taken as "
        "they are"
    )
    return [Finding(Kind.RESIZED_IMAGES, "", text)]


def into_stored(
    boxes: Boxes, image: Int64[np.ndarray, " n"], images: pd.DataFrame, frames: Frames
) -> Boxes:
    """Half-open boxes on stored pixels, from half-open boxes in the frames of their images.

    Args:
        boxes: half-open xyxy in pixels of the frames.
        image: position of each box's image.
        images: images of ``assemble``.
        frames: the images' frames.
    """
    size = images[["width", "height"]].to_numpy(np.float64)
    shown = np.where(frames.turned[:, None], size[:, ::-1], size)
    scale = np.divide(shown, frames.size, out=np.ones_like(size), where=frames.size > 0)
    orientation = np.where(frames.turned, orientations(images), 1)
    return shown_to_stored(boxes * np.tile(scale, 2)[image], orientation[image], size[image])


def resized_images(
    boxes: Boxes, limits: Float64[np.ndarray, "n 2"], said: Bool[np.ndarray, " n"]
) -> list[Finding]:
    """The finding that the images were resized since the boxes were drawn, if the boxes show it.

    Args:
        boxes: half-open xyxy in pixels of their frames, finite.
        limits: width and height of each box's frame; infinite if unknown.
        said: whether the annotations tell the size of each box's frame. Then only boxes that leave
            it contradict it.
    """
    bounded = np.isfinite(limits).all(axis=1)
    boxes, limits, said = boxes[bounded], limits[bounded], said[bounded]
    leaving = (np.maximum(boxes[:, :2], boxes[:, 2:]) > limits + 1).any(axis=1)
    n_leaving = int(leaving.sum())
    if n_leaving >= max(_LEAST_LEAVING, _SHARE_LEAVING * len(boxes)):
        seen = (
            f"{n_leaving} of {len(boxes)} boxes leave their images to the right or below by more "
            "than a pixel"
        )
        how_to_mend = _HOW_TO_CORRECT if said[leaving].all() else _HOW_TO_SAY
        return [Finding(Kind.RESIZED_IMAGES, "", f"{seen}: {how_to_mend}")]
    boxes, limits = boxes[~said], limits[~said]
    if len(boxes) < _LEAST_BOXES:
        return []
    reach = float((np.maximum(boxes[:, :2], boxes[:, 2:]) / limits).max())
    begin = (np.minimum(boxes[:, :2], boxes[:, 2:]) / limits).min(axis=0).max()
    if reach >= _NEVER_REACHED or begin >= (1 - reach) / 5:
        return []
    seen = (
        f"none of {len(boxes)} boxes reaches beyond {reach:.0%} of its image's width or "
        "height, but some begin at the left and at the upper edge"
    )
    return [Finding(Kind.RESIZED_IMAGES, "", f"{seen}: {_HOW_TO_SAY}")]


_HOW_TO_SAY = (
    "the images seem to have been resized since the boxes were drawn. Give the sizes of the images "
    "on which they were drawn: image_sizes.csv (imagenet), the columns width and height (table), "
    "image_sizes.txt (wsol_metadata), or <size> in XML"
)
_HOW_TO_CORRECT = (
    "the sizes in the annotations seem not to be those of the images on which the boxes were "
    "drawn. Correct the sizes, or the boxes"
)


def orientations(images: pd.DataFrame) -> Int64[np.ndarray, " n"]:
    """The EXIF orientation of each image; 1 if it is not known."""
    if "orientation" not in images:
        return np.ones(len(images), np.int64)
    return images["orientation"].to_numpy(np.int64)


def ways_up(drawn: Float64[np.ndarray, "n 2"], size: Float64[np.ndarray, "n 2"]) -> WaysUp:
    """The ways up that the proportions of each drawn size allow; an equal size leaves one of them.

    Args:
        drawn: (width, height) that an annotation was drawn on, 0 if unknown.
        size: (width, height) of the stored image in pixels, 0 if unknown.
    """
    known = (drawn > 0).all(axis=1) & (size > 0).all(axis=1)
    turned = size[:, ::-1]
    is_size, is_turned = (drawn == size).all(axis=1), (drawn == turned).all(axis=1)
    stored = known & (is_size | (_same_proportions(drawn, size) & ~is_turned))
    swapped = known & (is_turned | (_same_proportions(drawn, turned) & ~is_size))
    return WaysUp(stored, swapped)


def _same_proportions(
    first: Float64[np.ndarray, "n 2"], second: Float64[np.ndarray, "n 2"]
) -> Bool[np.ndarray, " n"]:
    """Return whether each two sizes are of one image, resized: of equal proportions.

    Sides are rounded to whole pixels, which moves the smaller image's proportions.
    """
    difference = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
    return np.asarray(difference <= np.maximum(first.sum(axis=1), second.sum(axis=1)))


def _by(size: Float64[np.ndarray, " 2"]) -> str:
    return f"{size[0]:g} x {size[1]:g}"
