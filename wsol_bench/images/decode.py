"""Decoding of image files, which are untrusted."""

import errno
from pathlib import Path
from typing import Literal

from PIL import Image

from wsol_bench.common.files import IMAGE_FORMATS
from wsol_bench.errors import ImageError

__all__ = ["load_image"]

# Errors of the system, which do not mean that the image is bad.
_PASSING = {
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT,
    errno.EAGAIN, errno.EINTR,
}  # fmt: skip


def load_image(path: Path, *, mode: Literal["RGB", "L"] = "RGB") -> Image.Image:
    """The image in a file as 8-bit RGB (or gray: ``L``), also if the file is gray or CMYK.

    EXIF rotation is not applied: boxes are drawn on the pixels as stored.

    Raises:
        ImageError: the file is missing, truncated, no image, or too large to be one.
        OSError: the system is at fault, not the file: too many open files, a lost network disk.
    """
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as file:
            # Pillow only warns up to twice its limit, and warnings are not safe between threads.
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and file.width * file.height > limit:
                raise ImageError(
                    f"{path}: expected at most {limit} pixels, found {file.width} x {file.height}"
                )
            return file.convert(mode)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: the file does not exist") from error
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # damaged bytes can make Pillow raise any error
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise
        raise ImageError(f"{path}: cannot be decoded: {error}") from error
