"""Image files, which are untrusted: their formats and extensions, and how they are opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from wsol_bench.common.files import require_regular
from wsol_bench.errors import ImageError

__all__ = ["IMAGE_FORMATS", "IMAGE_SUFFIXES", "opened_image"]

# Formats that an image file may have, and the extensions of their files; no decoder of these starts
# a program.
_IMAGE_TYPES = {
    "JPEG": ("jpeg", "jpg", "jpe", "jfif"),
    "PNG": ("png", "apng"),
    "WEBP": ("webp",),
    "BMP": ("bmp",),
    "GIF": ("gif",),
    "TIFF": ("tif", "tiff"),
}
# An image file may have any of the formats, whatever its extension.
IMAGE_FORMATS = tuple(_IMAGE_TYPES)
# The extensions of files that are images, in lower case, without the dot.
IMAGE_SUFFIXES = frozenset(suffix for suffixes in _IMAGE_TYPES.values() for suffix in suffixes)


@contextmanager
def opened_image(path: Path) -> Iterator[Image.Image]:
    """Open an image file; no pixel is decoded yet.

    Raises:
        ImageError: the image has more pixels than Pillow's limit.
        OSError: there is no regular file, or no image; damaged bytes can make Pillow raise any
            other error, too.
    """
    require_regular(path)
    # By a path, Pillow maps the file into memory, and scrambles an uncompressed TIFF that its
    # orientation turns.
    with path.open("rb") as stream, Image.open(stream, formats=IMAGE_FORMATS) as file:
        # Pillow only warns up to twice its limit, and warnings are not safe between threads.
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and file.width * file.height > limit:
            raise ImageError(f"expected at most {limit} pixels, found {file.width} x {file.height}")
        yield file
