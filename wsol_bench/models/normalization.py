"""The images that a network expects: how they are normalized, and the number of their channels."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from wsol_bench.common.vocabulary import CHANNELS
from wsol_bench.errors import ModelError

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Preprocessing",
    "channels_advice",
    "require_channels",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Preprocessing(NamedTuple):
    """The images that a network expects.

    Attributes:
        mean, std: of each channel of an image in [0, 1], by which it is normalized; their length is
            the number of channels.
        size: side in pixels; None if it is not known, or the images are not square.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int | None = None


def require_channels(mean: Sequence[float], std: Sequence[float], name: str) -> None:
    """Raise ModelError unless mean and standard deviation have a number for each channel."""
    if len(mean) != len(std) or len(mean) not in CHANNELS:
        raise ModelError(
            f"{name}: 'mean:' and 'std:' have a number for each channel of the network's images, "
            f"1 (gray), 3 (RGB) or 4 (RGB and alpha): found {len(mean)} and {len(std)}; give both"
        )


def channels_advice(module: nn.Module, n_channels: int) -> str:
    """Advice if a network takes images of another number of channels; "" if it does not.

    The network's first convolution has the number.

    Args:
        module: the network.
        n_channels: number of channels of the images that it was shown.
    """
    convolutions = (
        (name, part) for name, part in module.named_modules() if isinstance(part, nn.Conv2d)
    )
    name, first = next(convolutions, ("", None))
    if first is None or first.in_channels == n_channels:
        return ""
    takes = first.in_channels
    plural = "" if takes == 1 else "s"
    said = (
        f"Its first convolution, {name!r}, takes {takes} channel{plural}, and 'mean:' and 'std:' "
        f"have {n_channels}"
    )
    if takes not in CHANNELS:
        return f"{said}; images have 1 (gray), 3 (RGB) or 4 (RGB and alpha)"
    example = ", ".join(["0.5"] * takes)
    each = "one number" if takes == 1 else f"{takes} numbers, one for each channel"
    return (
        f"{said}: give the 'mean:' and 'std:' with which it was trained, {each} "
        f"({CHANNELS[takes]}), such as 'mean: [{example}]' and 'std: [{example}]'"
    )
