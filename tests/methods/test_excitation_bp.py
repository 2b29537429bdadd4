"""Excitation backprop and c-MWP on torchvision's networks: layers, probability, refusals."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from excitation_networks import N_CLASSES, assert_same, mass
from networks import ARCHITECTURES, network, seeded
from torch import Tensor, nn
from torchvision import models

from wsol_bench import localization_maps
from wsol_bench.capture.backward.excitation import excitation
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.base import cam_methods
from wsol_bench.models.shapes_net import ShapesNet
from wsol_bench.models.target_layers import target_of


def normal(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- real architectures


@cache
def real(name: str) -> nn.Module:
    """A network of `networks.ARCHITECTURES`, or torchvision's own."""
    if name in ARCHITECTURES:
        return network(name, N_CLASSES)
    return seeded(lambda: from_torchvision(name))


def from_torchvision(name: str) -> nn.Module:
    arguments = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    return models.get_model(name, weights=None, num_classes=N_CLASSES, **arguments)


LAYERS = {
    "VGG": ("features.15", "classifier.4"),
    "AlexNet": ("features.5", "classifier.5"),
    "GoogLeNet": ("maxpool2", "avgpool"),
    "ResNet": ("layer3", "avgpool"),
    "SqueezeNet": ("features.8", "features"),
    "DenseNet": ("features", "features"),
    "RegNet": ("trunk_output.block3", "avgpool"),
    "ShapesNet": ("features.down2", "pool"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_real_networks_have_layers_and_keep_probability_above_them(name: str) -> None:
    net = real(name)
    layers = target_of(net).excitation
    assert layers == LAYERS[name]
    classes = torch.tensor([[0, 1, 2]])
    images = normal(1, 3, 96, 96)
    p = excitation(net, images, classes, layers[0])
    c = excitation(net, images, classes, *layers)
    assert p.shape == c.shape and p.shape[:2] == (1, 3)
    assert p.isfinite().all() and c.isfinite().all() and (p >= 0).all()
    # SqueezeNet rectifies its class maps: a class whose map is zero has no winner.
    active = net.eval()(images).detach().gather(1, classes) != 0 if name == "SqueezeNet" else p == p
    active = active.reshape(1, 3, -1).all(-1)
    assert active.any() and (c[active].abs().amax((1, 2, 3)) > 0).all()
    torch.testing.assert_close(mass(p), active.float(), rtol=0, atol=1e-3)
    torch.testing.assert_close(mass(c), torch.zeros(1, 3), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vgg16", ("features.23", "classifier.4")),
        ("vgg19_bn", ("features.39", "classifier.4")),
        ("resnext50_32x4d", ("layer3", "avgpool")),
        ("inception_v3", ("maxpool2", "avgpool")),
        ("squeezenet1_0", ("features.11", "features")),
        ("mobilenet_v2", None),
        ("mnasnet0_5", None),
        ("vit_b_16", None),
    ],
)
def test_the_table_names_pool4_or_the_corresponding_layer(
    name: str, layer: tuple[str, str] | None
) -> None:
    with torch.device("meta"):
        net = from_torchvision(name)
    assert target_of(net).excitation == layer


def test_a_users_layer_keeps_the_excitation_layers_and_an_altered_network_has_none() -> None:
    with torch.device("meta"):
        net = models.vgg11(weights=None)
    assert target_of(net, layer="features.10").excitation == LAYERS["VGG"]
    assert target_of(net, layer="features.10").layer == "features.10"
    net.classifier = nn.Linear(1, 1)
    assert target_of(net).excitation is None


@pytest.mark.parametrize(
    ("name", "layers", "message"),
    [
        ("mobilenet_v2", ("features.13", "features"), r"features\.14\.conv\.0\.0 \(Conv2d\).*>= 0"),
        ("mobilenet_v3_small", ("features.3", "avgpool"), r"features\.4\.block\.0\.0 \(Conv2d\)"),
        ("mobilenet_v3_small", ("features.12", "avgpool"), r"avgpool \(AdaptiveAvgPool2d\).*>= 0"),
        ("efficientnet_b0", ("features.7", "avgpool"), r"features\.8\.0 \(Conv2d\)"),
        ("efficientnet_b0", ("features.7.0.block.0.1", "avgpool"), r"SiLU\).*silu"),
        ("regnet_y_400mf", ("trunk_output.block3", "avgpool"), r"se\.scale_activation \(Sigmoid"),
        ("convnext_tiny", ("features.5", "avgpool"), r"features\.6\.0 \(LayerNorm2d\).*layer_norm"),
        ("vit_b_16", ("conv_proj", "encoder"), r"encoder \(Encoder\).*sum"),
    ],
)  # fmt: skip
def test_networks_without_rules_are_refused_with_the_module_that_has_no_rule(
    name: str, layers: tuple[str, str], message: str
) -> None:
    net = real(name)
    images = normal(1, 3, *([224, 224] if name == "vit_b_16" else [64, 64]))
    for contrast in (None, layers[1]):
        with pytest.raises(NotApplicableError, match=message):
            excitation(net, images, torch.tensor([[0]]), layers[0], contrast)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


# ---- images and slots


@pytest.mark.parametrize("contrast", [None, "avgpool"])
def test_an_image_alone_equals_the_image_in_a_batch_and_slots_are_independent(
    contrast: str | None,
) -> None:
    net = real("ResNet")
    images, classes = normal(3, 3, 64, 64), torch.tensor([[0, 1, 3], [2, 2, 0], [1, 0, 3]])
    together = excitation(net, images, classes, "layer3", contrast)
    size = together.abs().max()
    for b in range(3):
        alone = excitation(net, images[[b]], classes[[b]], "layer3", contrast)
        torch.testing.assert_close(together[[b]] / size, alone / size, rtol=0, atol=1e-4)
    for k in range(3):
        alone = excitation(net, images, classes[:, [k]], "layer3", contrast)
        torch.testing.assert_close(together[:, [k]] / size, alone / size, rtol=0, atol=1e-4)
    assert_same(together[1, 0], together[1, 1])
    assert not torch.allclose(together[1, 0], together[1, 2])


# ---- by the method's name


@pytest.mark.parametrize("method", ["excitation_bp", "c_mwp"])
@pytest.mark.parametrize(
    ("builder", "named"),
    [
        (models.mobilenet_v2, r"features\.1 is a linear bottleneck \(InvertedResidual\)"),
        (models.mobilenet_v3_small, "is a linear bottleneck"),
        (models.convnext_tiny, "is layer normalization"),
    ],
)
def test_an_architecture_without_a_map_layer_is_refused_with_the_module_in_the_way(
    method: str, builder: Callable[..., nn.Module], named: str
) -> None:
    net = builder(num_classes=5).eval()
    with pytest.raises(NotApplicableError, match=named):
        localization_maps(net, torch.randn(1, 3, 64, 64), method)


def test_a_map_layer_can_be_named() -> None:
    """Behind its last block MobileNetV2 is a rectified convolution, an average, a linear layer."""
    net = models.mobilenet_v2(num_classes=5).eval()
    method = cam_methods.get("excitation_bp").with_options({"map_layer": "features"}, "")
    maps = localization_maps(net, torch.randn(1, 3, 64, 64), method, k=2)[method.name]
    assert maps.shape == (1, 2, 2, 2)
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(1, 2))
    with pytest.raises(NotApplicableError, match=r"features\.1[0-9]"):
        localization_maps(
            net,
            torch.randn(1, 3, 64, 64),
            cam_methods.get("c_mwp").with_options({"map_layer": "features.10"}, ""),
        )


def test_an_image_of_nan_does_not_change_other_images() -> None:
    net = ShapesNet(num_classes=N_CLASSES).eval()
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(7))
    alone = localization_maps(net, batch[:1], "excitation_bp", targets=[1])["excitation_bp"]
    batch[1] = torch.nan
    both = localization_maps(net, batch, "excitation_bp", targets=[1])["excitation_bp"]
    torch.testing.assert_close(both[:1], alone)
