"""From an image file to the network's input, as the protocol says."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Shaped, UInt8
from PIL import Image
from torch import Tensor

from wsol_bench.errors import ImageError
from wsol_bench.files import IMAGE_FORMATS
from wsol_bench.geometry import Placement
from wsol_bench.protocols import InputRule

__all__ = ["load_image", "normalize", "window"]

# An image that could not be read for one of these is not a bad image.
_PASSING = {
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT,
    errno.EAGAIN, errno.EINTR,
}  # fmt: skip
_PIL_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def load_image(path: Path, *, mode: Literal["RGB", "L"] = "RGB") -> Image.Image:
    """The image as 8-bit RGB (or gray: ``L``), from gray, CMYK or palette too.

    EXIF rotation is not applied: boxes are drawn on the pixels as stored.

    Raises:
        ImageError: missing, truncated, no image, or too large to be one.
        OSError: the system is at fault, not the file: too many open files, a lost network disk.
    """
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as file:
            # Pillow only warns up to twice its limit, and warnings are no matter of threads.
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and file.width * file.height > limit:
                raise ImageError(f"{path}: {file.width} x {file.height} pixels are too many")
            return file.convert(mode)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: the file does not exist") from error
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise whatever damaged bytes lead to
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise
        raise ImageError(f"{path}: cannot be decoded: {error}") from error


def window(
    image: Image.Image, placement: Placement, rule: InputRule
) -> UInt8[Tensor, "3 height width"] | Float32[Tensor, "3 height width"]:
    """Resize and cut: the placement's input as RGB from 0 to 255.

    Pillow's filter works on 8-bit pixels and so is what it returns; the other is in float32.
    """
    height, width = placement.resized
    if rule.antialias:
        resized = image.resize((width, height), _PIL_FILTERS[rule.filter])
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)
    else:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
        pixels = F.interpolate(
            pixels[None], size=(height, width), mode=rule.filter, align_corners=False
        )[0]
    top, left = placement.offset
    return pixels[:, top : top + placement.input[0], left : left + placement.input[1]]


def normalize(
    pixels: Shaped[Tensor, "batch 3 height width"], mean: Sequence[float], std: Sequence[float]
) -> Float32[Tensor, "batch 3 height width"]:
    """The network's input from RGB from 0 to 255: ``(rgb / 255 - mean) / std``.

    It lies in memory as the pixels do, on their device.
    """
    shift, scale = (
        torch.tensor(values, device=pixels.device).view(3, 1, 1) * 255 for values in (mean, std)
    )
    return (pixels.float() - shift).div_(scale)
