"""Networks of the CAM paper (Zhou et al., CVPR 2016, arXiv:1512.04150), as they were in Caffe.

Parameters have the names of Caffe's layers, in which a slash is a dot, as ``models.caffe_weights``
reads them. The authors' definitions are the .prototxt files of github.com/zhoubolei/CAM; those of
the networks that they changed are BVLC's, in github.com/BVLC/caffe. Where no definition is
published, the builder's docstring says what is not known. Global pooling takes the whole map, where
the definitions have a kernel of its size at Caffe's input size.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wsol_bench.models.paper_networks._caffe import (
    CaffeNetwork,
    InnerProduct,
    convolution,
    max_pooling,
    normalization,
)

__all__ = [
    "NIN",
    "VGG16",
    "VGG16GAP",
    "AlexNet",
    "AlexNetGAP",
    "AlexNetStarGAP",
    "GoogLeNet",
    "GoogLeNetGAP",
    "GoogLeNetGMP",
    "alexnet",
    "alexnet_gap",
    "alexnet_star_gap",
    "googlenet",
    "googlenet_gap",
    "googlenet_gmp",
    "nin",
    "vgg16",
    "vgg16_gap",
]

# By block, numbers of channels: 1x1; 3x3 and its reduction; 5x5 and its reduction; behind pooling.
_INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet_gap(num_classes: int = 1000) -> nn.Module:
    """GoogLeNet-GAP: layers behind inception_4e replaced by a convolution, GAP and one layer.

    It follows train_val_googlenetCAM.prototxt: the convolution has 1024 units, in two groups.
    """
    return GoogLeNetGAP({**_googlenet("4e"), **_cam_head(832, num_classes)}, 224)


def googlenet_gmp(num_classes: int = 1000) -> nn.Module:
    """GoogLeNet-GMP: GoogLeNet-GAP with global max pooling in the place of average pooling.

    Its definition is not published; layers have the names of GoogLeNet-GAP's.
    """
    head = _cam_head(832, num_classes, pooling=nn.AdaptiveMaxPool2d(1))
    return GoogLeNetGMP({**_googlenet("4e"), **head}, 224)


def googlenet(num_classes: int = 1000) -> nn.Module:
    """GoogLeNet, which ends in GAP and one layer: BVLC's models/bvlc_googlenet/deploy.prototxt.

    The auxiliary classifiers of training (loss1, loss2) are left out, also of a weights file.
    """
    head = {
        "pool5/7x7_s1": nn.AdaptiveAvgPool2d(1),
        "pool5/drop_7x7_s1": nn.Dropout(0.4),
        "loss3/classifier": InnerProduct(1024, num_classes),
    }
    return GoogLeNet({**_googlenet("5b"), **head}, 224)


def vgg16_gap(num_classes: int = 1000) -> nn.Module:
    """VGGnet-GAP: layers behind conv5_3 replaced by a convolution, GAP and one layer.

    It follows deploy_vgg16CAM.prototxt: the convolution has 1024 units, in two groups.
    """
    head = _cam_head(512, num_classes, dropout=True)
    return VGG16GAP({**_vgg16(), **head}, 224)


def vgg16(num_classes: int = 1000) -> nn.Module:
    """VGG-16, the paper's VGGnet: VGG_ILSVRC_16_layers_deploy.prototxt of Simonyan and Zisserman.

    That file is not in the repositories above; names and sizes are those of VGGnet-GAP up to
    conv5_3, then pool5 and the layers fc6, fc7 and fc8.
    """
    head = {"pool5": max_pooling(2, 2), **_fully_connected(512 * 7 * 7, num_classes)}
    return VGG16({**_vgg16(), **head}, 224)


def alexnet_star_gap(num_classes: int = 1000) -> nn.Module:
    """AlexNet*-GAP: pool5 with stride 1, two more convolutions, GAP and one layer.

    It follows deploy_alexnetplusCAM_imagenet.prototxt.
    """
    layers = {
        **_alexnet(384, normalized_first=False),
        "pool5": max_pooling(3, 1),
        **convolution("conv6", 384, 512, 3, pad=1, groups=2, relu="relu6"),
        **convolution("conv7", 512, 512, 3, pad=1, groups=2, relu="relu7"),
        "pool8_global": nn.AdaptiveAvgPool2d(1),
        "drop8": nn.Dropout(0.5),
        "fc9": InnerProduct(512, num_classes),
    }
    return AlexNetStarGAP(layers, 227)


def alexnet_gap(num_classes: int = 1000) -> nn.Module:
    """AlexNet-GAP: layers behind conv5 replaced by a convolution, GAP and one layer.

    Its definition, deploy_caffeNetCAM.prototxt, is not published. By section 3 of the paper the
    convolution is 3x3 with 1024 units. By the file's name the layers before are those of BVLC's
    CaffeNet, which normalizes behind pooling. The convolution's groups (two, as in the other
    networks) and the names are not known.
    """
    layers = {**_alexnet(256, normalized_first=False), **_cam_head(256, num_classes)}
    return AlexNetGAP(layers, 227)


def alexnet(num_classes: int = 1000) -> nn.Module:
    """AlexNet: BVLC's models/bvlc_alexnet/deploy.prototxt, which normalizes before pooling."""
    layers = {
        **_alexnet(256, normalized_first=True),
        "pool5": max_pooling(3, 2),
        **_fully_connected(256 * 6 * 6, num_classes),
    }
    return AlexNet(layers, 227)


def nin(num_classes: int = 1000) -> nn.Module:
    """Network in Network (Lin et al., 2014), which ends in class convolutions and GAP.

    The paper does not say which definition it takes. Layers are those of Caffe's model zoo, as
    github.com/ethereon/caffe-tensorflow converts them (examples/imagenet/models/nin.py); the names
    of layers without parameters are ours. There is a ReLU behind the class convolution.
    """
    layers: dict[str, nn.Module] = {}
    channels = 3
    blocks = [("conv1", 96, 11), ("conv2", 256, 5), ("conv3", 384, 3)]
    for number, (name, units, kernel) in enumerate(blocks, 1):
        stride, pad = (4, 0) if number == 1 else (1, kernel // 2)
        layers |= convolution(
            name, channels, units, kernel, stride=stride, pad=pad, relu=f"relu_{name}"
        )
        for cccp in (f"cccp{2 * number - 1}", f"cccp{2 * number}"):
            layers |= convolution(cccp, units, units, 1, relu=f"relu_{cccp}")
        layers[f"pool{number}"] = max_pooling(3, 2)
        channels = units
    layers |= {
        "drop": nn.Dropout(0.5),
        **convolution("conv4-1024", 384, 1024, 3, pad=1, relu="relu_conv4"),
        **convolution("cccp7-1024", 1024, 1024, 1, relu="relu_cccp7"),
        **convolution("cccp8-1024", 1024, num_classes, 1, relu="relu_cccp8"),
        "pool4": nn.AdaptiveAvgPool2d(1),
    }
    return NIN(layers, 224)


# One class each: the target-layer table knows networks by their classes.
class GoogLeNetGAP(CaffeNetwork):
    """The network of ``googlenet_gap``."""


class GoogLeNetGMP(GoogLeNetGAP):
    """The network of ``googlenet_gmp``."""


class GoogLeNet(CaffeNetwork):
    """The network of ``googlenet``."""


class VGG16GAP(CaffeNetwork):
    """The network of ``vgg16_gap``."""


class VGG16(CaffeNetwork):
    """The network of ``vgg16``."""


class AlexNetStarGAP(CaffeNetwork):
    """The network of ``alexnet_star_gap``."""


class AlexNetGAP(CaffeNetwork):
    """The network of ``alexnet_gap``."""


class AlexNet(CaffeNetwork):
    """The network of ``alexnet``."""


class NIN(CaffeNetwork):
    """The network of ``nin``."""


class _Inception(nn.Module):
    """Four branches over one input, whose outputs are concatenated.

    Args:
        channels: number of channels of the input.
        units: see ``_INCEPTION``.
    """

    def __init__(self, channels: int, units: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        n_1x1, n_3x3_reduced, n_3x3, n_5x5_reduced, n_5x5, n_pooled = units
        layers = {
            **convolution("1x1", channels, n_1x1, 1),
            **convolution("3x3_reduce", channels, n_3x3_reduced, 1),
            **convolution("3x3", n_3x3_reduced, n_3x3, 3, pad=1),
            **convolution("5x5_reduce", channels, n_5x5_reduced, 1),
            **convolution("5x5", n_5x5_reduced, n_5x5, 5, pad=2),
            "pool": max_pooling(3, 1, pad=1),
            **convolution("pool_proj", channels, n_pooled, 1),
        }
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, values: Float[Tensor, "n c h w"]) -> Float[Tensor, "_ units h w"]:
        branches = (["1x1"], ["3x3_reduce", "3x3"], ["5x5_reduce", "5x5"], ["pool", "pool_proj"])
        return torch.cat([self._branch(values, names) for names in branches], dim=1)

    def _branch(self, values: Tensor, names: list[str]) -> Tensor:
        """The output of layers that run one after another, each convolution with its ReLU."""
        for name in names:
            values = self.get_submodule(name)(values)
            if name != "pool":
                values = self.get_submodule(f"relu_{name}")(values)
        return values


def _googlenet(last: str) -> dict[str, nn.Module]:
    """The layers of GoogLeNet up to an inception block."""
    layers: dict[str, nn.Module] = {
        **convolution("conv1/7x7_s2", 3, 64, 7, stride=2, pad=3, relu="conv1/relu_7x7"),
        "pool1/3x3_s2": max_pooling(3, 2),
        "pool1/norm1": normalization(),
        **convolution("conv2/3x3_reduce", 64, 64, 1, relu="conv2/relu_3x3_reduce"),
        **convolution("conv2/3x3", 64, 192, 3, pad=1, relu="conv2/relu_3x3"),
        "conv2/norm2": normalization(),
        "pool2/3x3_s2": max_pooling(3, 2),
    }
    channels = 192
    for name, units in _INCEPTION.items():
        layers[f"inception_{name}"] = _Inception(channels, units)
        channels = units[0] + units[2] + units[4] + units[5]
        if name == last:
            break
        if name in ("3b", "4e"):
            layers[f"pool{name[0]}/3x3_s2"] = max_pooling(3, 2)
    return layers


def _vgg16() -> dict[str, nn.Module]:
    """The layers of VGG-16 up to relu5_3."""
    layers: dict[str, nn.Module] = {}
    channels = 3
    for block, (count, units) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], 1):
        for number in range(1, count + 1):
            name = f"{block}_{number}"
            layers |= convolution(f"conv{name}", channels, units, 3, pad=1, relu=f"relu{name}")
            channels = units
        if block < 5:
            layers[f"pool{block}"] = max_pooling(2, 2)
    return layers


def _alexnet(conv5: int, *, normalized_first: bool) -> dict[str, nn.Module]:
    """The layers of AlexNet up to relu5.

    Args:
        conv5: number of units of the last convolution.
        normalized_first: whether normalization stands before pooling, as in the paper of AlexNet,
            or behind it.
    """

    def reduction(number: int) -> dict[str, nn.Module]:
        pooling = {f"pool{number}": max_pooling(3, 2)}
        normalized = {f"norm{number}": normalization()}
        return normalized | pooling if normalized_first else pooling | normalized

    return {
        **convolution("conv1", 3, 96, 11, stride=4, relu="relu1"),
        **reduction(1),
        **convolution("conv2", 96, 256, 5, pad=2, groups=2, relu="relu2"),
        **reduction(2),
        **convolution("conv3", 256, 384, 3, pad=1, relu="relu3"),
        **convolution("conv4", 384, 384, 3, pad=1, groups=2, relu="relu4"),
        **convolution("conv5", 384, conv5, 3, pad=1, groups=2, relu="relu5"),
    }


def _cam_head(
    channels: int,
    num_classes: int,
    *,
    pooling: nn.Module | None = None,
    dropout: bool = False,
) -> dict[str, nn.Module]:
    """The layers that the paper puts in the place of a network's last ones."""
    return {
        **convolution("CAM_conv", channels, 1024, 3, pad=1, groups=2, relu="CAM_relu"),
        "CAM_pool": pooling or nn.AdaptiveAvgPool2d(1),
        **({"CAM_dropout": nn.Dropout(0.5)} if dropout else {}),
        "CAM_fc": InnerProduct(1024, num_classes),
    }


def _fully_connected(n_values: int, num_classes: int) -> dict[str, nn.Module]:
    """The layers fc6, fc7 and fc8 of AlexNet and VGG-16."""
    layers: dict[str, nn.Module] = {}
    for number in (6, 7):
        layers[f"fc{number}"] = InnerProduct(n_values, 4096)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"drop{number}"] = nn.Dropout(0.5)
        n_values = 4096
    layers["fc8"] = InnerProduct(n_values, num_classes)
    return layers
