"""Decoding of image files, which are untrusted."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped
from PIL import Image

from wsol_bench.common.image_files import opened_image
from wsol_bench.datasets.image_headers import black_and_white_of, orientation_of
from wsol_bench.datasets.masks import numbers_of
from wsol_bench.errors import DatasetError, ImageError

__all__ = ["load_image", "load_marks", "load_numbers", "load_upright"]

# Errors of the system, which do not mean that the image is bad.
_PASSING = {
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT,
    errno.EAGAIN, errno.EINTR,
}  # fmt: skip


def load_image(path: Path) -> Image.Image:
    """The image in a file as 8-bit RGB, also if the file is gray or CMYK, or has 16 bits or floats.

    EXIF rotation is not applied: boxes refer to the pixels as stored. Samples that are no 8-bit
    values are scaled by the range of their type, floats from 0..1. Transparency is ignored, and of
    several images in a file the first is taken.

    Raises:
        ImageError: the file is missing, truncated, no image, or too large to be one, or the range
            of its samples is not known.
        OSError: the system is at fault, not the file: too many open files, a lost network disk.
        DatasetError: the archive that the file lies in is damaged, or was changed.
    """
    with _opened(path) as file:
        levels = black_and_white_of(file)
        if levels is None:
            return _without_premultiplied_alpha(file).convert("RGB")
        values = _finite(file)
        low, high = sorted(levels[:2])
        if values.size and not (low <= values.min() and values.max() <= high):
            raise ImageError(
                f"expected samples from {low:g} to {high:g}, found {values.min():g} to "
                f"{values.max():g}; divide them by the value of white"
            )
        share = (values.astype(np.float32) - levels.black) / (levels.white - levels.black)
        return Image.fromarray(np.rint(share * 255).astype(np.uint8)).convert("RGB")


# How the pixels of a file are turned to be shown, by its EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def load_upright(path: Path) -> Image.Image:
    """The image in a file as ``load_image`` gives it, turned as its EXIF orientation says.

    Raises:
        ImageError, OSError: as ``load_image``.
    """
    image = load_image(path)
    with _opened(path) as file:
        # Pillow turns the pixels of a TIFF itself.
        orientation = 1 if file.format == "TIFF" else orientation_of(file)
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def load_marks(path: Path) -> Bool[np.ndarray, "h w"]:
    """The pixels of a mask file that are marked: those that are not black.

    Colors count as their 8-bit gray value. In a file of one channel with more than 8 bits, or with
    floats, every other value than that of black is a mark: 1 of 65535, too, since such files hold
    the numbers of instances.

    Raises:
        ImageError: the file is missing, truncated, no image, or too large to be one.
        OSError: the system is at fault, not the file.
    """
    with _opened(path) as file:
        if file.mode == "I":  # of any range
            return np.asarray(_finite(file) != 0)
        levels = black_and_white_of(file)
        if levels is None:
            return np.asarray(_without_premultiplied_alpha(file).convert("L")) > 0
        return np.asarray(_finite(file) != levels.black)


def load_numbers(path: Path) -> Shaped[np.ndarray, "h w"]:
    """The number that each pixel of a mask file holds, as ``numbers_of`` tells it.

    Raises:
        ImageError: as ``load_marks``, or the samples are no whole numbers.
        OSError: the system is at fault, not the file.
    """
    with _opened(path) as file:
        return numbers_of(file)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file; every error that is the file's fault becomes an ImageError with its path.

    The error names the file, so what is raised while the file is open need not.
    """
    try:
        with opened_image(path) as file:
            yield file
    except FileNotFoundError as error:
        raise ImageError(f"{path}: the file does not exist") from error
    except MemoryError:
        raise
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    except DatasetError:  # not of the image: of the archive that it lies in
        raise
    except Exception as error:  # damaged bytes can make Pillow raise any error
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise
        raise ImageError(f"{path}: cannot be decoded: {error}") from error


def _without_premultiplied_alpha(file: Image.Image) -> Image.Image:
    """The image in a mode that Pillow converts to any other."""
    return (
        file.convert({"La": "LA", "RGBa": "RGBA"}[file.mode])
        if file.mode in ("La", "RGBa")
        else file
    )


def _finite(file: Image.Image) -> Shaped[np.ndarray, "h w"]:
    """The samples of an image of one channel.

    Raises:
        ImageError: a sample is not finite.
    """
    values = np.asarray(file)
    if not np.isfinite(values).all():
        raise ImageError("expected finite samples, found NaN or infinity")
    return values
