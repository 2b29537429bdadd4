"""Image files, which are untrusted: their formats and extensions, and how they are opened."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from wsol_bench.common import data_files
from wsol_bench.common.files import require_regular
from wsol_bench.errors import ImageError

__all__ = ["IMAGE_FORMATS", "IMAGE_SUFFIXES", "opened_image", "problem_of"]

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
    with data_files.opened(path) as stream, Image.open(stream, formats=IMAGE_FORMATS) as file:
        # Pillow only warns up to twice its limit, and warnings are not safe between threads.
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and file.width * file.height > limit:
            raise ImageError(f"expected at most {limit} pixels, found {file.width} x {file.height}")
        yield file


def problem_of(path: Path) -> str:
    """The reason why a file is no image, by its first bytes; "" for none."""
    if re.match(r"https?:/", str(path)):
        return f"{path}: expected an image file, found a web address; download the image first"
    if data_files.is_dir(path):
        ending = _usual_ending(path)
        advice = f"; name its files: {path}/*{ending}" if ending else " without images"
        return f"{path}: expected an image file, found a folder{advice}"
    try:
        with opened_image(path):
            return ""
    except FileNotFoundError:
        return f"{path}: the file does not exist"
    except UnidentifiedImageError:
        kinds = f"{', '.join(IMAGE_FORMATS[:-1])} or {IMAGE_FORMATS[-1]}"
        return f"{path}: expected an image in the format {kinds}, found another kind of file"
    except Image.DecompressionBombError:
        return (
            f"{path}: expected at most {Image.MAX_IMAGE_PIXELS} pixels, found more than twice as "
            "many; make the image smaller first"
        )
    except ImageError as error:
        return f"{path}: {error}; make the image smaller first"
    except Exception as error:  # damaged bytes can make Pillow raise any error
        return f"{path}: cannot be read as an image: {error}"


def _usual_ending(folder: Path) -> str:
    """The commonest ending of the image files in a folder, with its dot; "" if it has none."""
    try:
        found = Counter(Path(name).suffix for name in sorted(data_files.names_in(folder)))
    except OSError:  # which may not be read
        return ""
    images = (ending for ending, _ in found.most_common() if ending[1:].lower() in IMAGE_SUFFIXES)
    return next(images, "")
