"""The target-layer table names, for each architecture, the layer that feeds its decision."""

import re
from functools import cache

import pytest
import torch
from networks import ARCHITECTURES, calibrate, calibrated_network, images, seeded, side_of
from torch import Tensor, nn
from torchvision import models

from wsol_bench.capture import Plan, Record, capture
from wsol_bench.errors import ModelError
from wsol_bench.models.target_layers import (
    Target,
    candidate_layers,
    find_module,
    target_of,
)

N_CLASSES = 12
NAMES = models.list_models(module=models)


def outline(name: str, **arguments: object) -> nn.Module:
    """A torchvision network without memory behind its parameters: for questions of structure."""
    if name in {"googlenet", "inception_v3"}:
        arguments |= {"init_weights": False}
    with torch.device("meta"):
        return models.get_model(name, weights=None, **arguments).eval()


# ---- the table and torchvision


# RegNet reckons its widths with tensors, which need memory; its sizes differ in these alone.
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("regnet")])
def test_the_layers_of_every_torchvision_network_exist(name: str) -> None:
    net = outline(name)
    target = target_of(net)
    assert isinstance(net.get_submodule(target.layer), nn.Module)
    if target.head is not None:
        assert isinstance(net.get_submodule(target.head), nn.Linear | nn.Conv2d)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vgg16", "features.29"),
        ("alexnet", "features.11"),
        ("googlenet", "inception5b"),
        ("resnet50", "layer4"),
        ("squeezenet1_1", "features"),
        ("mobilenet_v2", "features"),
        ("swin_t", "norm"),
        ("vit_b_16", "encoder.layers.encoder_layer_11.ln_1"),
    ],
)
def test_the_layer_is_the_one_that_is_written_in_the_protocols(name: str, layer: str) -> None:
    assert target_of(outline(name)).layer == layer


@pytest.mark.parametrize("name", ["alexnet", *(name for name in NAMES if name.startswith("vgg"))])
def test_the_layer_of_vgg_and_alexnet_is_the_last_relu_before_the_last_pooling(name: str) -> None:
    features = outline(name).features
    last_pooling = max(
        index for index, module in enumerate(features) if isinstance(module, nn.MaxPool2d)
    )
    last_relu = max(index for index in range(last_pooling) if isinstance(features[index], nn.ReLU))
    assert target_of(outline(name)) == Target(f"features.{last_relu}")


# ---- what the layer holds, on small networks through which a signal goes


TIMM: dict[str, tuple[str, dict[str, object]]] = {
    "ConvNeXt": ("convnext_atto", {}),
    "DenseNet": ("densenet121", {"growth_rate": 8, "block_config": (2, 2)}),
    "EfficientNet": ("efficientnet_b0", {}),
    "MobileNetV3": ("mobilenetv3_small_050", {}),
    "RegNet": ("regnetx_002", {}),
    "ResNet": ("resnet18", {}),
    "SwinTransformer": (
        "swin_tiny_patch4_window7_224",
        {
            "img_size": 64,
            "window_size": 4,
            "embed_dim": 24,
            "depths": (2, 2),
            "num_heads": (2, 4),
        },
    ),
    "VGG": ("vgg11", {"mlp_ratio": 1 / 64}),
    "VisionTransformer": ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2}),
}


def timm_network(name: str) -> nn.Module:
    timm = pytest.importorskip("timm")
    architecture, arguments = TIMM[name]
    return timm.create_model(architecture, pretrained=False, num_classes=N_CLASSES, **arguments)


@cache
def calibrated(package: str, name: str) -> nn.Module:
    """With normalizations set to a batch, so that a signal comes through random weights."""
    if package == "torchvision":
        return calibrated_network(name, N_CLASSES)
    return seeded(lambda: calibrate(timm_network(name), images()))


ALL = [("torchvision", name) for name in ARCHITECTURES] + [("timm", name) for name in TIMM]


@pytest.mark.parametrize(("package", "name"), ALL)
def test_the_layer_gives_a_grid_that_the_logits_depend_on(package: str, name: str) -> None:
    net = calibrated(package, name)
    if (package, name) == ("timm", "VisionTransformer"):  # its head is zero at first
        nn.init.normal_(net.get_submodule("head").weight)
    record = capture(net, images(2, side_of(name)), [target_of(net)], Plan(gradients=True))
    height, width = record.activations.shape[-2:]
    assert height == width > 1
    assert record.gradients is not None
    assert (record.gradients.abs().amax((2, 3, 4)) > 0).all()


RECTIFIED = [
    *(
        ("torchvision", name)
        for name in ARCHITECTURES
        if name
        not in {
            "ConvNeXt",
            "EfficientNet",
            "MaxVit",
            "MobileNetV3",
            "SwinTransformer",
            "VisionTransformer",
        }
    ),
    *(("timm", name) for name in ("DenseNet", "RegNet", "ResNet", "VGG")),
]


@pytest.mark.parametrize(("package", "name"), RECTIFIED)
def test_activations_stand_behind_the_relu_where_there_is_one(package: str, name: str) -> None:
    net = calibrated(package, name)
    activations = capture(net, images(2, side_of(name)), [target_of(net)], Plan()).activations
    assert activations.min() == 0
    assert activations.max() > 0


HEADS = [
    *(
        ("torchvision", name)
        for name in ARCHITECTURES
        if name
        not in {
            "AlexNet",
            "ConvNeXt",
            "MaxVit",
            "MobileNetV3",
            "SqueezeNet",
            "VGG",
            "VisionTransformer",
        }
    ),
    *(
        ("timm", name)
        for name in ("DenseNet", "EfficientNet", "RegNet", "ResNet", "SwinTransformer")
    ),
]


def with_head(package: str, name: str) -> tuple[nn.Module, nn.Module, Record]:
    net = calibrated(package, name)
    target = target_of(net)
    assert target.head is not None
    return (
        net,
        net.get_submodule(target.head),
        capture(net, images(2, side_of(name)), [target], Plan()),
    )


@pytest.mark.parametrize(("package", "name"), HEADS)
def test_logits_are_the_head_times_the_mean_activation(package: str, name: str) -> None:
    _, head, record = with_head(package, name)
    by_hand = record.activations.mean((2, 3)) @ head.weight.detach().T
    signal = record.logits - head.bias.detach()
    size = by_hand.abs().max()
    assert size > 1e-3, "nothing to compare: the logits are the bias"
    torch.testing.assert_close(signal / size, by_hand / size, rtol=0, atol=1e-4)


def test_logits_of_squeezenet_are_the_mean_of_its_rectified_class_convolution() -> None:
    _, head, record = with_head("torchvision", "SqueezeNet")
    scores = torch.einsum("nc,bchw->bnhw", head.weight.detach()[:, :, 0, 0], record.activations)
    by_hand = (scores + head.bias.detach()[:, None, None]).relu().mean((2, 3))
    assert by_hand.max() > 0
    torch.testing.assert_close(record.logits, by_hand, rtol=1e-4, atol=1e-5)


WITHOUT_HEAD = [each for each in ALL if each not in HEADS and each[1] != "SqueezeNet"]


@pytest.mark.parametrize(("package", "name"), WITHOUT_HEAD)
def test_a_network_without_a_pooled_linear_head_has_no_class_weights(
    package: str, name: str
) -> None:
    net = calibrated(package, name)
    record = capture(net, images(2, side_of(name)), [target_of(net)], Plan())
    assert record.layer.class_weights is None


# ---- who is found


def test_a_subclass_has_the_layer_of_its_architecture() -> None:
    class MyResNet(models.ResNet):
        """Somebody's own, from somebody's own module."""

    net = MyResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=N_CLASSES)
    assert target_of(net) == Target("layer4", head="fc")


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 2)

    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(self.pool(self.blocks(self.stem(batch))).flatten(1))


def test_an_unknown_architecture_is_an_error_that_lists_layers_with_shapes_last_first() -> None:
    with pytest.raises(ModelError) as error:
        target_of(Unknown())
    assert str(error.value) == (
        "no target layer is known for Unknown: name one with 'layer:'. Layers with spatial output, "
        "last first: blocks (6, 56, 56), blocks.1 (6, 56, 56), blocks.0 (6, 56, 56), "
        "stem (4, 112, 112)"
    )


def test_the_list_of_layers_leaves_modes_hooks_and_statistics_alone() -> None:
    net = Unknown().train()
    net.blocks[1].eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    candidate_layers(net)
    training = {name for name, module in net.named_modules() if module.training}
    assert training == {"", "stem", "blocks", "blocks.0", "pool", "fc"}
    assert not any(module._forward_hooks for module in net.modules())
    torch.testing.assert_close(dict(net.state_dict()), state, rtol=0, atol=0)


def test_a_network_that_cannot_run_still_gives_an_error_that_says_so() -> None:
    class Stubborn(Unknown):
        def forward(self, batch: Tensor) -> Tensor:
            self.stem(batch)
            raise RuntimeError("not today")

    with pytest.raises(ModelError, match=r"\(the pass stopped: not today\), stem \(4, 112, 112\)"):
        target_of(Stubborn())


def test_a_wrong_name_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ModelError, match="ResNet has no layer 'layer5'; did you mean 'layer4'"):
        target_of(outline("resnet18"), layer="layer5")
    with pytest.raises(ModelError, match="ResNet has no layer 'fcc'; did you mean 'fc'"):
        target_of(outline("resnet18"), head="fcc")
    with pytest.raises(ModelError, match=re.escape("'features.-99': features has only 13")):
        target_of(outline("alexnet"), layer="features.-99")


def test_another_layer_has_no_head_and_the_tables_own_keeps_it() -> None:
    resnet, densenet = outline("resnet18"), outline("densenet121")
    assert target_of(resnet, layer="layer3") == Target("layer3")
    assert target_of(resnet, layer="layer3", head="fc") == Target("layer3", head="fc")
    assert target_of(resnet, layer="layer4") == target_of(resnet)
    assert target_of(densenet, layer="features").then_relu
    assert not target_of(densenet, layer="features.denseblock4").then_relu


def test_a_name_and_its_position_from_the_end_are_the_same_layer() -> None:
    net = outline("vgg11")
    assert target_of(net, layer="features.-2") == target_of(net, layer="features.19")
    assert find_module(net, "features.19") is net.features[19]


# ---- the layer that a configuration names, in a transformer


def activations_of(net: nn.Module, layer: str) -> Tensor:
    batch = images()
    return capture(net, batch, [target_of(net, layer=layer)], Plan()).activations


def test_a_named_layer_of_a_swin_transformer_is_read_with_its_channels_last() -> None:
    net = calibrated("torchvision", "SwinTransformer")
    with torch.no_grad():
        expected = net.features[:2](images()).permute(0, 3, 1, 2)
    torch.testing.assert_close(activations_of(net, "features.1"), expected)


def test_a_named_layer_of_a_vision_transformer_is_read_as_tokens() -> None:
    net = calibrated("torchvision", "VisionTransformer")
    assert activations_of(net, "encoder.layers.-2.ln_1").shape == (2, 32, 4, 4)
