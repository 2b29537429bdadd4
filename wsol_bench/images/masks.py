"""The ground-truth mask of an image, at the size of the image's maps."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64, Shaped, UInt8

from wsol_bench.common import data_files
from wsol_bench.datasets.masks import MaskFiles, MaskSource, NumberedPixels, RunLengths
from wsol_bench.geometry import Placement
from wsol_bench.images.decode import load_marks, load_numbers

__all__ = ["BACKGROUND", "IGNORED", "OBJECT", "load_mask", "mask_of", "nearest"]

BACKGROUND, OBJECT, IGNORED = 0, 1, 255


def load_mask(files: MaskFiles, size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """The mask of an image: 1 is object, 0 background, 255 ignored.

    A pixel is object if it is in any of the foreground's sources, and ignored if it is in the
    ignored pixels and not object. Of a plain file these are the pixels that are not black:
    ``get_mask`` of wsolevaluation's evaluation.py (Choe et al., CVPR 2020), which reads and resizes
    by OpenCV.

    Args:
        files: mask of the image, its sources in any sizes.
        size: (height, width) of the mask in pixels; the sources are resized to it by ``nearest``.

    Raises:
        ImageError: a file is missing, truncated, no image, or too large to be one.
        OSError: the system is at fault, not the file.
    """
    foreground = np.zeros(size, dtype=np.bool_)
    for source in files.foreground:
        foreground |= nearest(_pixels_of(source), size)
    mask = np.where(foreground, OBJECT, BACKGROUND).astype(np.uint8)
    if files.ignore is not None:
        ignored = nearest(_pixels_of(files.ignore), size)
        mask[ignored & ~foreground] = IGNORED
    return mask


def _pixels_of(source: MaskSource) -> Bool[np.ndarray, "h w"]:
    """The pixels of a source, at the source's size."""
    if isinstance(source, RunLengths):
        return source.pixels()
    if isinstance(source, NumberedPixels):
        return np.asarray(load_numbers(source.path) == source.number)
    return load_marks(source)


def nearest(
    pixels: Shaped[np.ndarray, "height width"], size: tuple[int, int]
) -> Shaped[np.ndarray, "h w"]:
    """Resize pixels as OpenCV's INTER_NEAREST does: output pixel i is floor(i * input / output).

    Pillow and torch take the pixel whose center is nearest instead.
    """
    rows, columns = (_nearest_pixels(*lengths) for lengths in zip(pixels.shape, size, strict=True))
    return pixels[rows[:, None], columns]


def _nearest_pixels(n_input: int, n_output: int) -> Int64[np.ndarray, " n_output"]:
    # OpenCV multiplies by the reciprocal of output / input, in double precision: if the quotient is
    # a whole number, that can be a pixel less than exact arithmetic gives.
    return np.floor(np.arange(n_output) * (1.0 / (n_output / n_input))).astype(np.int64)


def mask_of(files: MaskFiles | None, placement: Placement) -> UInt8[np.ndarray, "h w"]:
    """The mask of the part of an image that is the network's input.

    Args:
        files: mask of the image.
        placement: place of the network's input in the image.

    Raises:
        ImageError: a file cannot be read.
        ValueError: ``files`` is None: the image has no mask.
    """
    if files is None:
        raise ValueError("expected an image with a mask")
    return _mask(files, placement, tuple(map(_stamp, files.paths)))


def _stamp(path: Path) -> tuple[int, int]:
    """The size and time of a file, which change when the file does."""
    try:
        stat = data_files.status(path)
    except OSError:  # the error comes when the file is read
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


# Masks are kept, because every method of a run needs the masks of the same batch.
@lru_cache(maxsize=256)
def _mask(
    files: MaskFiles, placement: Placement, stamps: tuple[tuple[int, int], ...]
) -> UInt8[np.ndarray, "h w"]:
    top, left = placement.offset
    height, width = placement.input
    return load_mask(files, placement.resized)[top : top + height, left : left + width]
