"""Networks of wsolevaluation (Choe et al., CVPR 2020): CAM, ACoL, SPG and ADL on three backbones.

https://github.com/clovaai/wsolevaluation trains VGG-16, ResNet-50 and Inception-v3 without their
last downsamplings, so that the maps are 14 x 14 for images of 224 x 224 pixels, or 28 x 28 with
``large_feature_map`` (its option of the same name, which is off by default). HaS and CutMix change
the training alone and have the networks of CAM.

``large_feature_map`` must be that of the training. It changes strides and poolings, which a weights
file does not hold: in all networks but ``vgg16_cam`` and ``vgg16_adl``, whose layers it renumbers,
the weights of one kind load into the other and give other scores and maps.

The networks return logits alone, in evaluation mode: what only the training runs (dropout, the
random masks of ADL, the branches B and C of SPG) is left out, or holds weights that nothing reads.
"""

from collections.abc import Callable, Iterable

from torch import nn
from torchvision.models import resnet50
from torchvision.models.inception import BasicConv2d, InceptionA, InceptionC

from wsol_bench.models.paper_networks._wsolevaluation_parts import (
    Acol,
    InceptionCam,
    Mixed6a,
    ResNetSpg,
    VggCam,
    VggSpg,
    pooling,
    rectified,
    spg_beside,
)

__all__ = [
    "inception_v3_acol",
    "inception_v3_adl",
    "inception_v3_cam",
    "inception_v3_spg",
    "resnet50_acol",
    "resnet50_adl",
    "resnet50_cam",
    "resnet50_spg",
    "vgg16_acol",
    "vgg16_adl",
    "vgg16_cam",
    "vgg16_spg",
]


# ---- VGG-16


def _vgg(layers: Iterable[int | nn.Module]) -> nn.Sequential:
    """Layers of VGG: a number of channels is a convolution of so many channels with its ReLU."""
    features, channels = nn.Sequential(), 3
    for layer in layers:
        if isinstance(layer, nn.Module):
            features.append(layer)
        else:
            features.extend([nn.Conv2d(channels, layer, 3, padding=1), nn.ReLU(inplace=True)])
            channels = layer
    return features


def _rectified_512(n: int) -> nn.Sequential:
    return nn.Sequential(*(layer for _ in range(n) for layer in rectified(512, 512)))


def _first_blocks(pool: Callable[[], nn.Module]) -> list[int | nn.Module]:
    """The three first blocks of VGG-16, with the poolings behind them."""
    return [64, 64, pool(), 128, 128, pool(), 256, 256, 256, pool()]


def _pool2() -> nn.MaxPool2d:
    return nn.MaxPool2d(2)


def _pool3(stride: int = 2) -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride, padding=1)


def _vgg_cam(features: nn.Sequential, num_classes: int) -> VggCam:
    return VggCam(
        {
            "features": features,
            "conv6": nn.Conv2d(512, 1024, 3, padding=1),
            "relu": nn.ReLU(),
            **pooling(),
            "fc": nn.Linear(1024, num_classes),
        }
    )


def vgg16_cam(num_classes: int = 1000, *, large_feature_map: bool = False) -> nn.Module:
    """VGG-16 of CAM, HaS and CutMix.

    Args:
        num_classes: number of outputs.
        large_feature_map: whether the layer is 28 x 28 and not 14 x 14. The fourth pooling is left
            out, which renumbers the layers behind it: a file of the other kind does not load.
    """
    fourth = [] if large_feature_map else [_pool2()]
    block = [512] * 3
    return _vgg_cam(_vgg([*_first_blocks(_pool2), *block, *fourth, *block]), num_classes)


def vgg16_adl(num_classes: int = 1000, *, large_feature_map: bool = False) -> nn.Module:
    """VGG-16 of ADL: ``vgg16_cam`` whose layers have other numbers, as those of ADL count.

    Args:
        num_classes, large_feature_map: see ``vgg16_cam``.
    """
    fourth = [] if large_feature_map else [_pool2()]
    block = [512] * 3
    adl = nn.Identity  # which masks features in training only
    layers = [*_first_blocks(_pool2), adl(), *block, adl(), *fourth, *block, adl()]
    return _vgg_cam(_vgg(layers), num_classes)


def vgg16_acol(num_classes: int = 1000, *, large_feature_map: bool = False) -> nn.Module:
    """VGG-16 of ACoL, whose poolings overlap. Its map is the method ``acol``.

    Args:
        num_classes: number of outputs.
        large_feature_map: whether the layer is 28 x 28 and not 14 x 14: the fourth pooling has
            stride 1. The file does not tell.
    """
    fourth, fifth = _pool3(1 if large_feature_map else 2), _pool3(1)
    block = [512] * 3
    backbone = {
        "features": _vgg([*_first_blocks(_pool3), *block, fourth, *block, fifth]),
        "smoothing": nn.AvgPool2d(3, stride=1, padding=1),
    }
    return Acol(backbone, 512, num_classes)


def vgg16_spg(num_classes: int = 1000, *, large_feature_map: bool = False) -> nn.Module:
    """VGG-16 of SPG. Its map is that of ``cam``: the channel of the class convolution.

    Args:
        num_classes: number of outputs.
        large_feature_map: whether the layer is 28 x 28 and not 14 x 14: there is no fourth pooling.
            The file does not tell.
    """
    steps = {
        "features": _vgg(_first_blocks(_pool2)),
        "SPG_A_1": nn.Sequential(*rectified(256, 512), *_rectified_512(2)),
        "pool4": nn.Identity() if large_feature_map else _pool3(),
        "SPG_A_2": _rectified_512(3),
        "SPG_A_3": _rectified_512(2),
        "SPG_A_4": nn.Conv2d(512, num_classes, 1),
        **pooling(),
    }
    return VggSpg(steps, spg_beside(512, 512, 512, 512))


# ---- ResNet-50


def resnet50_cam(num_classes: int = 1000, *, large_feature_map: bool = False) -> nn.Module:
    """ResNet-50 of CAM, HaS and CutMix: torchvision's, with other strides.

    Args:
        num_classes: number of outputs.
        large_feature_map: whether the layer is 28 x 28 and not 14 x 14: layer3 has stride 1, as
            layer4 always has. The file does not tell.
    """
    network = resnet50(num_classes=num_classes)
    for layer, stride in ((network.layer3, 1 if large_feature_map else 2), (network.layer4, 1)):
        for convolution in (layer[0].conv2, layer[0].downsample[0]):
            convolution.stride = (stride, stride)
    return network


def resnet50_adl(num_classes: int = 1000, *, large_feature_map: bool = False) -> nn.Module:
    """ResNet-50 of ADL: ``resnet50_cam`` whose blocks have other numbers, as those of ADL count.

    Args:
        num_classes, large_feature_map: see ``resnet50_cam``.
    """
    network = resnet50_cam(num_classes, large_feature_map=large_feature_map)
    adl = nn.Identity  # which masks features in training only
    first, *others = network.get_submodule("layer3").children()
    network.layer3 = nn.Sequential(first, adl(), *others)
    first, second, third = network.get_submodule("layer4").children()
    network.layer4 = nn.Sequential(first, adl(), second, third, adl())
    return network


def _resnet_trunk(*, large_feature_map: bool) -> dict[str, nn.Module]:
    """The modules of ``resnet50_cam`` up to layer4."""
    modules = dict(resnet50_cam(1, large_feature_map=large_feature_map).named_children())
    del modules["avgpool"], modules["fc"]
    return modules


def resnet50_acol(num_classes: int = 1000, *, large_feature_map: bool = False) -> nn.Module:
    """ResNet-50 of ACoL. Its map is the method ``acol``.

    Args:
        num_classes, large_feature_map: see ``resnet50_cam``.
    """
    return Acol(_resnet_trunk(large_feature_map=large_feature_map), 2048, num_classes)


def resnet50_spg(num_classes: int = 1000, *, large_feature_map: bool = False) -> nn.Module:
    """ResNet-50 of SPG. Its map is that of ``cam``: the channel of the class convolution.

    Args:
        num_classes, large_feature_map: see ``resnet50_cam``.
    """
    trunk = _resnet_trunk(large_feature_map=large_feature_map)
    layer4 = trunk.pop("layer4")
    first, *others = trunk.pop("layer3").children()
    steps = {
        **trunk,
        "SPG_A1": nn.Sequential(first),
        "SPG_A2": nn.Sequential(*others),
        "layer4": layer4,
        "SPG_A4": nn.Conv2d(2048, num_classes, 1),
        **pooling(),
    }
    return ResNetSpg(steps, spg_beside(1024, 1024, 2048, 1024))


# ---- Inception-v3


def _inception_trunk(*, large_feature_map: bool) -> dict[str, nn.Module]:
    """Inception-v3 up to Mixed_6e; 768 channels."""
    without = nn.Identity()
    return {
        "Conv2d_1a_3x3": BasicConv2d(3, 32, kernel_size=3, stride=2, padding=1),
        "Conv2d_2a_3x3": BasicConv2d(32, 32, kernel_size=3),
        "Conv2d_2b_3x3": BasicConv2d(32, 64, kernel_size=3, padding=1),
        "maxpool1": nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
        "Conv2d_3b_1x1": BasicConv2d(64, 80, kernel_size=1),
        "Conv2d_4a_3x3": BasicConv2d(80, 192, kernel_size=3),
        "maxpool2": nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
        "Mixed_5b": InceptionA(192, pool_features=32),
        "Mixed_5c": InceptionA(256, pool_features=64),
        "Mixed_5d": InceptionA(288, pool_features=64),
        "maxpool3": without if large_feature_map else nn.MaxPool2d(3, 2, ceil_mode=True),
        "Mixed_6a": Mixed6a(),
        "Mixed_6b": InceptionC(768, channels_7x7=128),
        "Mixed_6c": InceptionC(768, channels_7x7=160),
        "Mixed_6d": InceptionC(768, channels_7x7=160),
        "Mixed_6e": InceptionC(768, channels_7x7=192),
    }


def _inception_steps(num_classes: int, *, large_feature_map: bool) -> dict[str, nn.Module]:
    return {
        **_inception_trunk(large_feature_map=large_feature_map),
        "SPG_A3_1b": rectified(768, 1024),
        "SPG_A3_2b": rectified(1024, 1024),
        "SPG_A4": nn.Conv2d(1024, num_classes, 1),
        **pooling(),
    }


def inception_v3_cam(num_classes: int = 1000, *, large_feature_map: bool = False) -> nn.Module:
    """Inception-v3 of CAM, HaS and CutMix. Its weights also have the form of those of ADL.

    Args:
        num_classes: number of outputs.
        large_feature_map: whether the layer is 28 x 28 and not 14 x 14: there is no pooling before
            Mixed_6a. The file does not tell.
    """
    return InceptionCam(_inception_steps(num_classes, large_feature_map=large_feature_map))


def inception_v3_adl(num_classes: int = 1000, *, large_feature_map: bool = False) -> nn.Module:
    """Inception-v3 of ADL: ``inception_v3_cam`` in evaluation mode.

    Args:
        num_classes, large_feature_map: see ``inception_v3_cam``.
    """
    return inception_v3_cam(num_classes, large_feature_map=large_feature_map)


def inception_v3_acol(num_classes: int = 1000, *, large_feature_map: bool = False) -> nn.Module:
    """Inception-v3 of ACoL. Its map is the method ``acol``.

    Args:
        num_classes, large_feature_map: see ``inception_v3_cam``.
    """
    return Acol(_inception_trunk(large_feature_map=large_feature_map), 768, num_classes)


def inception_v3_spg(num_classes: int = 1000, *, large_feature_map: bool = False) -> nn.Module:
    """Inception-v3 of SPG. Its map is that of ``cam``: the channel of the class convolution.

    Args:
        num_classes, large_feature_map: see ``inception_v3_cam``.
    """
    steps = _inception_steps(num_classes, large_feature_map=large_feature_map)
    return InceptionCam(steps, spg_beside(288, 768, 1024, 512))
