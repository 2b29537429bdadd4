"""Layers of Caffe, of which networks are made as their .prototxt files say."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["CaffeNetwork", "InnerProduct", "convolution", "max_pooling", "normalization"]

# The mean pixel of ilsvrc_2012_mean.mat, RGB in 0 to 255. The authors' prepare_image.m subtracts
# that mean image, and their training of GoogLeNet-GAP its mean pixel, rounded to (123, 117, 104).
_MEAN_PIXEL = (122.6789, 116.6688, 104.0070)


class CaffeNetwork(nn.Sequential):
    """Layers of Caffe's that run one after another, on the images that Caffe's networks take.

    These have the order BGR and values of 0 to 255 less the mean pixel. The network itself takes
    RGB in 0 to 1, normalized as ``pretrained_cfg`` says: less the mean pixel, times 255.

    Args:
        layers: by their names in Caffe. Those whose names have the same beginning up to a slash
            are the children of one module.
        size: height and width of the images in Caffe.
    """

    def __init__(self, layers: Mapping[str, nn.Module], size: int) -> None:
        super().__init__()
        self.pretrained_cfg = {
            "mean": tuple(value / 255 for value in _MEAN_PIXEL),
            "std": (1 / 255,) * 3,
            "input_size": (3, size, size),
        }
        for name, layer in layers.items():
            group, _, child = name.partition("/")
            if not child:
                self.add_module(name, layer)
                continue
            if group not in self._modules:
                self.add_module(group, nn.Sequential())
            self.get_submodule(group).add_module(child, layer)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "_ classes"]:
        """Logits of images, RGB, normalized."""
        values = images.flip(1)
        for layer in self:
            values = layer(values)
        return values.flatten(1)


class InnerProduct(nn.Linear):
    """Caffe's InnerProduct, which takes all values of an image as one vector."""

    def forward(self, values: Float[Tensor, "n ..."]) -> Float[Tensor, "_ outputs"]:
        return super().forward(values.flatten(1))


def convolution(
    name: str,
    channels: int,
    units: int,
    kernel: int,
    *,
    stride: int = 1,
    pad: int = 0,
    groups: int = 1,
    relu: str = "",
) -> dict[str, nn.Module]:
    """A convolution with the ReLU behind it, which is called ``relu_<name>`` by default.

    Args:
        name: name of the convolution.
        channels: number of channels of its input.
        units: number of channels of its output.
        kernel: height and width of its kernel.
        stride, pad, groups: as in Caffe.
        relu: name of the ReLU.
    """
    layer = nn.Conv2d(channels, units, kernel, stride, pad, groups=groups)
    return {name: layer, relu or f"relu_{name}": nn.ReLU()}


def max_pooling(kernel: int, stride: int, *, pad: int = 0) -> nn.Module:
    """Caffe's max pooling: a last window that begins inside of the map may end outside of it."""
    return nn.MaxPool2d(kernel, stride, pad, ceil_mode=True)


def normalization() -> nn.Module:
    """Local response normalization with the constants that all definitions share."""
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
