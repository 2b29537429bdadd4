"""The pixels that the network sees, made of a decoded image by the protocol's section ``input``."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Shaped, UInt8
from PIL import Image
from torch import Tensor

from wsol_bench.geometry import Placement
from wsol_bench.protocols.input_section import InputSection

__all__ = ["normalize", "windows"]

_PIL_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def windows(
    image: Image.Image, placements: Sequence[Placement], section: InputSection
) -> list[UInt8[Tensor, "channels _ _"] | Float32[Tensor, "channels _ _"]]:
    """The parts of the resized image that the network sees, with channels from 0 to 255.

    The pixels are uint8 if the protocol antialiases (Pillow's filter works on 8-bit pixels), else
    float32.

    Args:
        image: the original.
        placements: places of the parts in it.
        section: the protocol's section ``input``.
    """
    sizes = dict.fromkeys(placement.resized for placement in placements)
    resized = {size: _resized(image, size, section) for size in sizes}
    return [
        resized[placement.resized][
            :,
            placement.offset[0] : placement.offset[0] + placement.input[0],
            placement.offset[1] : placement.offset[1] + placement.input[1],
        ]
        for placement in placements
    ]


def _resized(
    image: Image.Image, size: tuple[int, int], section: InputSection
) -> UInt8[Tensor, "channels height width"] | Float32[Tensor, "channels height width"]:
    """The whole image at (height, width)."""
    height, width = size
    if section.antialias:
        # Pillow would weigh the colors of RGBA by alpha.
        parts = [image.convert("RGB"), image.getchannel("A")] if image.mode == "RGBA" else [image]
        filter_ = _PIL_FILTERS[section.filter]
        return torch.cat([_pixels(part.resize((width, height), filter_)) for part in parts])
    pixels = _pixels(image).float()
    return F.interpolate(
        pixels[None], size=(height, width), mode=section.filter, align_corners=False
    )[0]


def _pixels(image: Image.Image) -> UInt8[Tensor, "channels height width"]:
    return torch.from_numpy(np.array(image)).reshape(image.height, image.width, -1).permute(2, 0, 1)


def normalize(
    pixels: Shaped[Tensor, "batch channels height width"],
    mean: Sequence[float],
    std: Sequence[float],
) -> Float32[Tensor, "batch channels height width"]:
    """The network's input, ``(pixels / 255 - mean) / std``, from channels from 0 to 255.

    The input has the device and the memory format of ``pixels``.
    """
    shift, scale = (
        torch.tensor(values, device=pixels.device).view(-1, 1, 1) * 255 for values in (mean, std)
    )
    return (pixels.float() - shift).div_(scale)
