"""Pictures of a run's images, as small JPEG files."""

import io
from pathlib import Path

from PIL import Image

from wsol_bench.common.files import require_regular
from wsol_bench.errors import DatasetError
from wsol_bench.images.decode import load_image

__all__ = ["picture", "why_no_picture"]

_QUALITY = 82


def picture(path: Path, longest: int) -> bytes:
    """An image as a JPEG file whose longer side has at most ``longest`` pixels.

    The pixels are as stored, to which all boxes refer: no EXIF rotation is applied or passed on.

    Raises:
        ImageError: the file cannot be read as an image.
        DatasetError: the archive that the file lies in is damaged, or was changed.
    """
    image = load_image(path)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_QUALITY, optimize=True)
    return content.getvalue()


def why_no_picture(path: str) -> str:
    """The reason why there is no picture of an image, as far as its path tells; "" for none.

    Nothing is opened, so the file may still be no image.
    """
    if not path:
        return "The run names no file of this image."
    try:
        require_regular(Path(path))
    except FileNotFoundError:
        return f"{path}: the file does not exist"
    except (OSError, ValueError) as error:  # ValueError: the path cannot be one
        return f"{path}: {error}"
    except DatasetError as error:  # of the archive that it lies in
        return str(error)
    return ""
