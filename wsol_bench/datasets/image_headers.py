"""Facts that the headers of image files tell: sizes, EXIF orientations, and kinds of samples."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from PIL import ExifTags, Image

from wsol_bench.common.image_files import opened_image
from wsol_bench.common.table_cache import TableCache
from wsol_bench.datasets.folders import stamp, with_progress
from wsol_bench.errors import DatasetError, ImageError

__all__ = [
    "BlackAndWhite",
    "black_and_white_of",
    "orientation_of",
    "read_headers",
    "white_is_zero",
]

T = TypeVar("T")

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF
_WHITE_IS_ZERO = 0
_INVERSE = {6: 8, 8: 6}  # quarter turns; every other orientation is its own inverse


class BlackAndWhite(NamedTuple):
    """The values that stand for black and for white in an image of one channel.

    Attributes:
        black: value of black.
        white: value of white.
        samples: kind of the values, as text for people.
    """

    black: float
    white: float
    samples: str


def black_and_white_of(image: Image.Image) -> BlackAndWhite | None:
    """The levels of an opened image whose samples are no 8-bit values; None for 8-bit samples.

    Pillow cuts such samples off at 255 when it converts them, so that nearly all are white, and
    floating-point samples from 0 to 1 are nearly all black. It does scale the samples of images
    with several channels.

    Raises:
        ImageError: the range of the samples is not known.
    """
    if image.mode == "F":
        white, samples = 1.0, "floating-point samples, scaled from 0..1"
    elif image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PNG"):
        tags = getattr(image, "tag_v2", {})
        bits = int(tags.get(_BITS_PER_SAMPLE, (16,))[0])
        white, samples = 2.0**bits - 1, f"{bits} bits a sample, scaled from 0..{2**bits - 1}"
    elif image.mode == "I":
        raise ImageError(
            "expected 8 bits a sample, 16 bits without a sign, or floating-point samples from 0 to "
            "1, found integers with a sign or of 32 bits (mode I), whose range the file does not "
            "tell; save it in one of these forms"
        )
    elif image.mode == "LAB":
        raise ImageError("expected RGB, gray or CMYK, found colors as LAB; save it as RGB")
    else:
        return None
    if white_is_zero(image):  # Pillow inverts 8-bit samples alone
        return BlackAndWhite(white, 0.0, samples)
    return BlackAndWhite(0.0, white, samples)


def white_is_zero(image: Image.Image) -> bool:
    """Return whether an opened image is a TIFF in which greater samples are darker."""
    return bool(getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO)


def read_headers(folder: Path, files: pd.DataFrame, tables: TableCache) -> pd.DataFrame:
    """The facts in the headers of images; no pixel is decoded, no EXIF rotation applied.

    Args:
        folder: folder of ``files``.
        files: rows of ``folders.scan``.
        tables: cache of the result.

    Returns:
        One row a file, in order: width, height (pixels), orientation (EXIF's, from 1 for stored as
        shown to 8), samples (text about samples that are no 8-bit values, or ""), several (whether
        the file holds more images than its first), error ("" if the header was read).
    """

    def read() -> pd.DataFrame:
        rows = []
        with warnings.catch_warnings():
            # Such as broken EXIF, which says nothing about the size.
            warnings.simplefilter("ignore")
            for file in with_progress(files["file"].tolist(), "reading image headers"):
                try:
                    with opened_image(folder / file) as image:
                        rows.append(_facts(image))
                except ImageError as error:
                    rows.append(_Facts(error=str(error)))
                except DatasetError:  # not of the image: of the archive that it lies in
                    raise
                except Exception as error:  # a bad header can make PIL raise any error
                    rows.append(_Facts(error=f"{type(error).__name__}: {error}"))
        table = pd.DataFrame(rows, columns=_Facts._fields)
        numbers = dict.fromkeys(("width", "height", "orientation"), np.int64)
        return table.astype(numbers | {"samples": "str", "several": np.bool_, "error": "str"})

    return tables.table("headers", stamp(folder, files), read)


class _Facts(NamedTuple):
    """A row of ``read_headers``."""

    width: int = 0
    height: int = 0
    orientation: int = 1
    samples: str = ""
    several: bool = False
    error: str = ""


def _facts(image: Image.Image) -> _Facts:
    width, height = image.size
    if not (width and height):
        return _Facts(error="no pixels")
    levels = black_and_white_of(image)
    samples = levels.samples if levels else ""
    tile = str(getattr(image, "tile", ())[:1])  # how the decoder is told to unpack samples
    if not levels and ";16" in tile:
        samples = "16 bits a sample, scaled from 0..65535"
    orientation = orientation_of(image)
    # The further images of an MPO file, which begins as a JPEG, are previews or for the other eye.
    several = image.format != "MPO" and _or_else(
        lambda: bool(getattr(image, "is_animated", False)), False
    )
    return _Facts(width, height, orientation, samples, several)


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of a file's image, from 1 (as stored) to 8; 1 if it is not valid.

    The pixels of a TIFF are those that Pillow decodes, which it turns itself.
    """
    return _or_else(lambda: _orientation(image), 1)


def _orientation(image: Image.Image) -> int:
    tag = image.getexif().get(ExifTags.Base.Orientation, 1)
    if not isinstance(tag, int) or tag not in range(1, 9):
        return 1
    # Pillow turns the pixels of a TIFF itself when it decodes them, and tells their turned size.
    # The other view is that of a tool that does not turn them, which lies the other way round.
    return _INVERSE.get(tag, tag) if image.format == "TIFF" else tag


def _or_else(ask: Callable[[], T], otherwise: T) -> T:
    """The answer to a question about parts of a file that may be damaged while the image is not."""
    try:
        return ask()
    except Exception:  # damaged bytes can make Pillow raise any error
        return otherwise
