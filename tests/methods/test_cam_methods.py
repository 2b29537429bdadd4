"""CAM and Grad-CAM follow the equations of their papers."""

import pytest
import torch
from map_methods import in_units_of_the_maximum
from networks import build_network, calibrated_network, images, network, side_of
from torch import Tensor, nn

from wsol_bench.capture import BestClasses, Layer, Record, capture
from wsol_bench.errors import NotApplicableError
from wsol_bench.methods.cam import cam
from wsol_bench.methods.grad_cam import grad_cam
from wsol_bench.models.target_layers import Target, target_of

# ---- by hand

# Two channels over 2 x 2 positions, one image.
ACTIVATIONS = torch.tensor([[[[1.0, 0.0], [2.0, 4.0]], [[3.0, 1.0], [0.0, 2.0]]]])


def record(gradients: Tensor | None = None, class_weights: Tensor | None = None) -> Record:
    return Record(
        logits=torch.zeros(1, 2),
        classes=torch.tensor([[0, 1]]),
        layers=(Layer("by hand", ACTIVATIONS, gradients, class_weights),),
    )


def test_cam_is_the_signed_weighted_sum_of_channels() -> None:
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


WITH_A_HEAD = [
    "DenseNet", "EfficientNet", "GoogLeNet", "Inception3", "MNASNet", "MobileNetV2", "RegNet",
    "ResNet", "ShapesNet", "ShuffleNetV2", "SwinTransformer",
]  # fmt: skip


@pytest.mark.parametrize("name", WITH_A_HEAD)
def test_cam_cut_at_zero_is_grad_cam_in_units_of_the_maximum(name: str) -> None:
    net, batch = calibrated_network(name), images(2, side_of(name))
    record = capture(net, batch, [target_of(net)], cam.plan | grad_cam.plan)
    from_weights, from_gradients = cam(record).relu(), grad_cam(record)
    live = from_gradients.amax((2, 3)) > 0
    assert live.any()
    assert torch.equal(live, from_weights.amax((2, 3)) > 0)
    torch.testing.assert_close(
        in_units_of_the_maximum(from_weights)[live],
        in_units_of_the_maximum(from_gradients)[live],
        rtol=0,
        atol=2e-5,
    )


def test_cam_is_grad_cam_on_squeezenet_too_where_no_class_score_is_cut() -> None:
    """SqueezeNet's ReLU stands behind the class convolution, and the average behind the ReLU."""
    net = build_network("SqueezeNet")
    nn.init.constant_(net.classifier[1].bias, 100)
    record = capture(net, images(), [target_of(net)], cam.plan | grad_cam.plan)
    torch.testing.assert_close(
        in_units_of_the_maximum(cam(record).relu()),
        in_units_of_the_maximum(grad_cam(record)),
        rtol=0,
        atol=2e-5,
    )


def test_cam_of_squeezenet_is_its_class_convolution_without_bias() -> None:
    net, batch = calibrated_network("SqueezeNet"), images()
    record = capture(net, batch, [target_of(net)], cam.plan)
    with torch.no_grad():
        convolution = net.classifier[1]
        scores = convolution(net.features(batch)) - convolution.bias[:, None, None]
    for b, outputs in enumerate(record.classes):
        torch.testing.assert_close(cam(record)[b], scores[b, outputs], rtol=1e-4, atol=1e-4)


# ---- what the network lacks


def test_a_method_that_needs_a_head_is_not_applicable_without_one() -> None:
    net = calibrated_network("ResNet")
    elsewhere = capture(net, images(), [Target("layer3")], cam.plan | grad_cam.plan)
    with pytest.raises(NotApplicableError, match="layer3"):
        cam(elsewhere)
    assert grad_cam(elsewhere).shape[:2] == elsewhere.classes.shape


# ---- another library


@pytest.mark.parametrize(
    ("name", "layer"),
    [("ResNet", "layer4"), ("ResNet", "layer2"), ("VGG", "features.19")],
)
def test_grad_cam_agrees_with_captum(name: str, layer: str) -> None:
    attr = pytest.importorskip("captum.attr")
    net, batch = network(name), images()
    record = capture(
        net, batch, [target_of(net, layer=layer)], grad_cam.plan, classes=BestClasses(3)
    )
    explainer = attr.LayerGradCam(net, net.get_submodule(layer))
    for slot in range(3):
        peer_maps = explainer.attribute(
            batch, target=record.classes[:, slot], relu_attributions=True
        ).detach()
        size = peer_maps.max()
        assert size > 0
        torch.testing.assert_close(
            grad_cam(record)[:, slot : slot + 1] / size, peer_maps / size, rtol=0, atol=1e-5
        )
