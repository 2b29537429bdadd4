"""The network's input, made of a decoded image by the protocol's section ``input``."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Shaped, UInt8
from PIL import Image
from torch import Tensor

from wsol_bench.geometry import Placement
from wsol_bench.protocols.sections import InputSection

__all__ = ["normalize", "window"]

_PIL_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def window(
    image: Image.Image, placement: Placement, section: InputSection
) -> UInt8[Tensor, "3 height width"] | Float32[Tensor, "3 height width"]:
    """The part of the resized image that the network sees, as RGB from 0 to 255.

    The pixels are uint8 if the protocol antialiases (Pillow's filter works on 8-bit pixels), else
    float32.
    """
    height, width = placement.resized
    if section.antialias:
        resized = image.resize((width, height), _PIL_FILTERS[section.filter])
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)
    else:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
        pixels = F.interpolate(
            pixels[None], size=(height, width), mode=section.filter, align_corners=False
        )[0]
    top, left = placement.offset
    return pixels[:, top : top + placement.input[0], left : left + placement.input[1]]


def normalize(
    pixels: Shaped[Tensor, "batch 3 height width"], mean: Sequence[float], std: Sequence[float]
) -> Float32[Tensor, "batch 3 height width"]:
    """The network's input, ``(rgb / 255 - mean) / std``, from RGB from 0 to 255.

    The input has the device and the memory format of ``pixels``.
    """
    shift, scale = (
        torch.tensor(values, device=pixels.device).view(3, 1, 1) * 255 for values in (mean, std)
    )
    return (pixels.float() - shift).div_(scale)
