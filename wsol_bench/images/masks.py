"""Ground truth as pixels: the masks of an image, at the size of its maps."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from wsol_bench.datasets import MaskFiles
from wsol_bench.geometry import Placement
from wsol_bench.images.decode import load_image

__all__ = ["BACKGROUND", "IGNORED", "OBJECT", "load_mask", "mask_of", "nearest"]

BACKGROUND, OBJECT, IGNORED = 0, 1, 255


def load_mask(files: MaskFiles, size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """What each pixel is: 1 object, 0 background, 255 counts neither way.

    A pixel is object where it is not black in any of the foreground files, and ignored where it is
    not black in the ignore file and not object: ``get_mask`` of wsolevaluation's evaluation.py
    (Choe et al., CVPR 2020), which reads and resizes by OpenCV.

    Args:
        files: of one image; each may have a size of its own.
        size: (height, width) in pixels of the answer, which is resized by ``nearest``.

    Raises:
        ImageError: a file that is missing, truncated, no image, or too large to be one.
        OSError: the system is at fault, not the file.
    """
    marked = np.zeros(size, dtype=np.bool_)
    for path in files.foreground:
        marked |= nearest(np.asarray(load_image(path, mode="L")), size) > 0
    mask = np.where(marked, OBJECT, BACKGROUND).astype(np.uint8)
    if files.ignore is not None:
        ignored = nearest(np.asarray(load_image(files.ignore, mode="L")), size) > 0
        mask[ignored & ~marked] = IGNORED
    return mask


def nearest(
    pixels: UInt8[np.ndarray, "height width"], size: tuple[int, int]
) -> UInt8[np.ndarray, "h w"]:
    """Resize as OpenCV's INTER_NEAREST does, which takes pixel floor(i * source / target).

    Pillow and torch take the pixel whose center is nearest instead.
    """
    rows, columns = (
        _sources(source, target) for source, target in zip(pixels.shape, size, strict=True)
    )
    return pixels[rows[:, None], columns]


def _sources(source: int, target: int) -> Int64[np.ndarray, " target"]:
    # OpenCV multiplies by the reciprocal of target / source, in double precision: where the
    # quotient is a whole number, that can be a pixel less than exact arithmetic gives.
    return np.floor(np.arange(target) * (1.0 / (target / source))).astype(np.int64)


def mask_of(files: MaskFiles | None, placement: Placement) -> UInt8[np.ndarray, "h w"]:
    """The mask of the part of an image that is the network's input.

    Args:
        files: of the image.
        placement: where the network's input lies in the image.

    Raises:
        ImageError: a file that cannot be read.
        ValueError: an image without masks.
    """
    if files is None:
        raise ValueError("expected an image with a mask")
    named = [path for path in (*files.foreground, files.ignore) if path]
    return _mask(files, placement, tuple(map(_stamp, named)))


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file, which change when it does."""
    try:
        stat = path.stat()
    except OSError:  # reading it says why
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


# Every method asks for the masks of its batch.
@lru_cache(maxsize=256)
def _mask(
    files: MaskFiles, placement: Placement, stamps: tuple[tuple[int, int], ...]
) -> UInt8[np.ndarray, "h w"]:
    top, left = placement.offset
    height, width = placement.input
    return load_mask(files, placement.resized)[top : top + height, left : left + width]
