"""CAM and Grad-CAM are what their papers say; tests/test_contract.py has the contract of all."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from wsol_bench.capture import BestClasses, Layer, Record, capture
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.cam import cam
from wsol_bench.methods.grad_cam import grad_cam
from wsol_bench.models.shapes_net import ShapesNet
from wsol_bench.models.target_layers import Target, target_of

N_CLASSES = 12


def images(n: int = 2, side: int = 64) -> Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(7))


def in_units_of_its_maximum(maps: Tensor) -> Tensor:
    return maps / maps.amax((2, 3), keepdim=True)


# ---- by hand

# Two channels over 2 x 2 positions, one image.
ACTIVATIONS = torch.tensor([[[[1.0, 0.0], [2.0, 4.0]], [[3.0, 1.0], [0.0, 2.0]]]])


def record(gradients: Tensor | None = None, class_weights: Tensor | None = None) -> Record:
    return Record(
        logits=torch.zeros(1, 2),
        classes=torch.tensor([[0, 1]]),
        layers=(Layer("by hand", ACTIVATIONS, gradients, class_weights),),
    )


def test_cam_is_the_weighted_sum_of_channels_sign_and_all() -> None:
    maps = cam(record(class_weights=torch.tensor([[[1.0, -1.0], [0.5, 2.0]]])))
    first = [[1 - 3, 0 - 1], [2 - 0, 4 - 2]]
    second = [[0.5 + 6, 0 + 2], [1 + 0, 2 + 4]]
    assert maps.tolist() == [[first, second]]


def test_grad_cam_weighs_by_the_mean_gradient_and_rectifies() -> None:
    """Slot 0: alpha = (1, -1); slot 1: alpha = (-1, 0.5)."""
    gradients = torch.tensor(
        [
            [
                [[[4.0, 0.0], [0.0, 0.0]], [[-1.0, -1.0], [-1.0, -1.0]]],
                [[[0.0, 2.0], [-6.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]]],
            ]
        ]
    )
    maps = grad_cam(record(gradients=gradients))
    first = [[0, 0], [2 - 0, 4 - 2]]  # 1 - 3 and 0 - 1 are cut
    second = [[-1 + 1.5, 0.5], [0, 0]]  # -2 + 0 and -4 + 1 are cut
    assert maps.tolist() == [[first, second]]


# ---- CAM and Grad-CAM on networks with a head


def small_densenet() -> nn.Module:
    return models.DenseNet(8, (2, 2), 16, num_classes=N_CLASSES)


def small_swin() -> nn.Module:
    return models.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=N_CLASSES)


def googlenet() -> nn.Module:
    return models.googlenet(num_classes=N_CLASSES, aux_logits=False, init_weights=False)


def inception() -> nn.Module:
    return models.inception_v3(num_classes=N_CLASSES, aux_logits=False, init_weights=False)


WITH_A_HEAD: dict[str, Callable[[], nn.Module]] = {
    "DenseNet": small_densenet,
    "EfficientNet": lambda: models.efficientnet_b0(num_classes=N_CLASSES),
    "GoogLeNet": googlenet,
    "Inception3": inception,
    "MNASNet": lambda: models.mnasnet0_5(num_classes=N_CLASSES),
    "MobileNetV2": lambda: models.mobilenet_v2(num_classes=N_CLASSES, width_mult=0.5),
    "RegNet": lambda: models.regnet_x_400mf(num_classes=N_CLASSES),
    "ResNet": lambda: models.resnet18(num_classes=N_CLASSES),
    "ShapesNet": lambda: ShapesNet(N_CLASSES),
    "ShuffleNetV2": lambda: models.shufflenet_v2_x0_5(num_classes=N_CLASSES),
    "SqueezeNet": lambda: models.squeezenet1_1(num_classes=N_CLASSES),
    "SwinTransformer": small_swin,
}


@cache
def network(name: str) -> nn.Module:
    """With normalizations set to the batch, so that a signal comes through random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = WITH_A_HEAD[name]()
        side = 128 if name == "Inception3" else 64
        if any(isinstance(module, nn.BatchNorm2d) for module in net.modules()):
            for module in net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = None
            with torch.no_grad():
                net.train()(torch.randn(2, 3, side, side))
        return net.eval()


@pytest.mark.parametrize("name", sorted({*WITH_A_HEAD} - {"SqueezeNet"}))
def test_cam_cut_at_zero_is_grad_cam_in_units_of_the_maximum(name: str) -> None:
    net, batch = network(name), images(side=128 if name == "Inception3" else 64)
    record = capture(net, batch, [target_of(net)], cam.plan | grad_cam.plan)
    from_weights, from_gradients = cam(record).relu(), grad_cam(record)
    live = from_gradients.amax((2, 3)) > 0
    assert live.any()
    assert torch.equal(live, from_weights.amax((2, 3)) > 0)
    torch.testing.assert_close(
        in_units_of_its_maximum(from_weights)[live],
        in_units_of_its_maximum(from_gradients)[live],
        rtol=0,
        atol=2e-5,
    )


def test_cam_is_grad_cam_on_squeezenet_too_where_no_class_score_is_cut() -> None:
    """Its ReLU stands behind the class convolution, and the average behind that."""
    net = models.squeezenet1_1(num_classes=N_CLASSES).eval()
    nn.init.constant_(net.classifier[1].bias, 100)
    record = capture(net, images(), [target_of(net)], cam.plan | grad_cam.plan)
    torch.testing.assert_close(
        in_units_of_its_maximum(cam(record).relu()),
        in_units_of_its_maximum(grad_cam(record)),
        rtol=0,
        atol=2e-5,
    )


def test_cam_of_squeezenet_is_its_class_convolution_without_bias() -> None:
    net, batch = network("SqueezeNet"), images()
    record = capture(net, batch, [target_of(net)], cam.plan)
    with torch.no_grad():
        convolution = net.classifier[1]
        scores = convolution(net.features(batch)) - convolution.bias[:, None, None]
    for b, outputs in enumerate(record.classes):
        torch.testing.assert_close(cam(record)[b], scores[b, outputs], rtol=1e-4, atol=1e-4)


# ---- what the network has not got


def test_a_method_that_needs_a_head_is_not_applicable_without_one() -> None:
    net = network("ResNet")
    elsewhere = capture(net, images(), [Target("layer3")], cam.plan | grad_cam.plan)
    with pytest.raises(NotApplicableError, match="layer3"):
        cam(elsewhere)
    assert grad_cam(elsewhere).shape[:2] == elsewhere.classes.shape


# ---- another library


@pytest.mark.parametrize(
    ("builder", "layer"),
    [
        (lambda: models.resnet18(num_classes=N_CLASSES), "layer4"),
        (lambda: models.resnet18(num_classes=N_CLASSES), "layer2"),
        (lambda: models.vgg11(num_classes=N_CLASSES, init_weights=False), "features.19"),
    ],
    ids=["resnet18 layer4", "resnet18 layer2", "vgg11"],
)
def test_grad_cam_agrees_with_captum(builder: Callable[[], nn.Module], layer: str) -> None:
    attr = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    net, batch = builder().eval(), images()
    record = capture(
        net, batch, [target_of(net, layer=layer)], grad_cam.plan, classes=BestClasses(3)
    )
    explainer = attr.LayerGradCam(net, net.get_submodule(layer))
    for slot in range(3):
        theirs = explainer.attribute(
            batch, target=record.classes[:, slot], relu_attributions=True
        ).detach()
        size = theirs.max()
        assert size > 0
        torch.testing.assert_close(
            grad_cam(record)[:, slot : slot + 1] / size, theirs / size, rtol=0, atol=1e-5
        )
