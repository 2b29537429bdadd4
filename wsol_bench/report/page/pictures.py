"""Pictures of a run's images, as small JPEG files."""

import io
from pathlib import Path

from PIL import Image

from wsol_bench.images.decode import load_image

__all__ = ["picture"]

_QUALITY = 82


def picture(path: Path, longest: int) -> bytes:
    """An image as a JPEG file whose longer side has at most ``longest`` pixels.

    The pixels are as stored, to which all boxes refer: no EXIF rotation is applied or passed on.

    Raises:
        ImageError: the file cannot be read as an image.
    """
    image = load_image(path)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_QUALITY, optimize=True)
    return content.getvalue()
