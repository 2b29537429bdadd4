"""Common properties of the methods whose maps are gradients at the pixels; guided Grad-CAM."""

import warnings
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from map_methods import assert_same, named
from networks import calibrated_network, images
from rectifiers import CLASSES, by_captum, record_of, tiny, without_work_in_place
from torch import nn
from traces import fail, unchanged

from wsol_bench.capture import Plan, Record, capture
from wsol_bench.errors import ConfigError, NotApplicableError, PluginError
from wsol_bench.methods.backprop import backprop
from wsol_bench.methods.base import MapMethod, cam_methods
from wsol_bench.methods.deconvnet import deconvnet
from wsol_bench.methods.grad_cam import grad_cam
from wsol_bench.methods.guided_backprop import guided_backprop
from wsol_bench.methods.guided_grad_cam import guided_grad_cam
from wsol_bench.methods.input_x_gradient import input_x_gradient
from wsol_bench.methods.integrated_gradients import integrated_gradients
from wsol_bench.methods.smooth_grad import smooth_grad
from wsol_bench.models.target_layers import target_of

METHODS = [
    backprop, deconvnet, guided_backprop, guided_grad_cam, input_x_gradient,
    smooth_grad.with_options({"samples": 2}, "test"),
    integrated_gradients.with_options({"steps": 2}, "test"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (backprop, [3, 4]),
        (guided_backprop, [3, 4]),
        (deconvnet, [5, 6]),
        (input_x_gradient, [1, 7]),  # |3 1 - 2 2| and |-1 1 + 4 2|
        (guided_grad_cam, [0, 28]),  # Grad-CAM: ReLU(3 1 - 2 2) and -1 1 + 4 2
        (
            integrated_gradients,
            [1, 7],
        ),  # without biases the gradient is constant on the path from 0
    ],
    ids=lambda value: value.name if isinstance(value, MapMethod) else "",
)
def test_maps_equal_those_calculated_by_hand(method: MapMethod, expected: list[float]) -> None:
    torch.testing.assert_close(method(tiny())[0, :, 0, 0], torch.tensor(expected).float())


@pytest.mark.parametrize(
    "function",
    [
        nn.Identity(), nn.Sigmoid(), nn.Hardsigmoid(), nn.Tanh(), nn.Hardtanh(),
        lambda x: x.clamp(0, 1), lambda x: x.clamp(min=0, max=6), lambda x: x.clamp(min=1e-3),
        lambda x: x.clamp(max=0), lambda x: x.clamp(min=torch.zeros(1)),
        lambda x: x + torch.relu(torch.ones(1)),
    ],
    ids=[
        "identity", "sigmoid", "hardsigmoid", "tanh", "hardtanh", "clamp to 0..1", "clamp to 0..6",
        "clamp above 0.001", "clamp below 0", "clamp by a tensor", "relu of a constant",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", [guided_backprop, deconvnet, guided_grad_cam], ids=named)
def test_a_network_without_rectifiers_is_refused(method: MapMethod, function: Any) -> None:
    """Gates, bounds that are not 0, and values that do not depend on the pixels do not count."""
    with pytest.raises(NotApplicableError, match=rf"^{method.name} is not applicable to Tiny: the"):
        method(tiny(function))


@pytest.mark.parametrize("grad_mode", [True, False])
@pytest.mark.parametrize("method", METHODS, ids=named)
def test_the_network_comes_back_as_it_was_also_when_it_fails(
    method: MapMethod, grad_mode: bool
) -> None:
    net = deepcopy(calibrated_network("ResNet"))
    net.train()
    net.layer1.eval()
    for index, parameter in enumerate(net.parameters()):
        parameter.requires_grad_(index % 2 == 0)
    batch = images()
    record = record_of(net, batch, CLASSES)
    for where in ("", "layer3"):
        if where:
            net.get_submodule(where).register_forward_hook(fail)
            record = Record(record.logits, record.classes, record.layers, _probe=record.probe)
            record.probe._kept.clear()
        with torch.set_grad_enabled(grad_mode), unchanged(net):
            if where:
                with pytest.raises(PluginError, match="out of luck"):
                    method(record)
            else:
                assert not method(record).requires_grad
        assert batch.grad is None and not batch.requires_grad


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("method", METHODS, ids=named)
def test_maps_are_the_same_if_the_caller_has_switched_gradients_off(
    method: MapMethod, context: Any
) -> None:
    expected = method(record_of(calibrated_network("ResNet"), images(), CLASSES))
    with context():
        actual = method(record_of(calibrated_network("ResNet"), images(), CLASSES))
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("name", ["VGG", "ResNet"])
@pytest.mark.parametrize(
    ("method", "peer_name"),
    [(backprop, "Saliency"), (guided_backprop, "GuidedBackprop"), (deconvnet, "Deconvolution")],
    ids=lambda value: value.name if isinstance(value, MapMethod) else "",
)
def test_agrees_with_captum(method: MapMethod, peer_name: str, name: str) -> None:
    actual = method(record_of(calibrated_network(name), images(), CLASSES))
    expected = by_captum(peer_name, calibrated_network(name), images())
    assert_same(actual, expected.abs().amax(dim=2))


def test_guided_grad_cam_agrees_with_captum() -> None:
    """captum resizes its Grad-CAM to the input in the same way."""
    captum = pytest.importorskip("captum.attr")
    net = without_work_in_place(calibrated_network("ResNet"))
    batch = images()
    actual = guided_grad_cam(record_of(net, batch, CLASSES))
    for slot, classes in enumerate(zip(*CLASSES, strict=True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = captum.GuidedGradCam(net, net.layer4).attribute(
                batch.clone(), target=torch.tensor(classes), interpolate_mode="bilinear"
            )
        assert_same(actual[:, slot], expected.detach().abs().amax(dim=1))


def test_guided_grad_cam_uses_the_records_layer() -> None:
    net, batch = calibrated_network("ResNet"), images()
    targets = [target_of(net, layer=layer) for layer in ("layer2", "layer3")]
    record = capture(
        net, batch, targets, Plan(gradients=True), classes=torch.tensor(CLASSES)
    ).at_layer(0)
    resized = F.interpolate(grad_cam(record), (64, 64), mode="bilinear", align_corners=False)
    assert resized.amax() > 0
    assert_same(guided_grad_cam(record), guided_backprop(record) * resized)


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_a_batch_gives_the_same_as_its_images_one_by_one(method: MapMethod) -> None:
    net, batch = calibrated_network("ResNet"), images(3)
    classes = [[4, 1], [0, 5], [2, 2]]
    together = method(record_of(net, batch, classes))
    for b in range(3):
        assert_same(method(record_of(net, batch[b : b + 1], classes[b : b + 1])), together[b:][:1])


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_maps_follow_the_order_of_the_classes(method: MapMethod) -> None:
    record = record_of(calibrated_network("ResNet"), images(), CLASSES)
    maps = method(record)
    assert maps.shape == (2, 2, 64, 64)
    assert not torch.allclose(maps[:, 0], maps[:, 1], rtol=0.01)
    slots = torch.tensor([[1, 0], [1, 0]])
    assert_same(method(record, slots), maps.flip(1))
    assert_same(method(record, slots[:, :1]), maps[:, 1:])


def test_invalid_options_are_refused() -> None:
    refused = [
        (smooth_grad, {"samples": 0}),
        (smooth_grad, {"noise": -0.1}),
        (integrated_gradients, {"steps": 0}),
        (integrated_gradients, {"baseline": [0.0, 0.0]}),
    ]
    for method, options in refused:
        with pytest.raises(ConfigError, match=next(iter(options))):
            method.with_options(options, "test")


# ---- cost, precision, names


def test_a_second_method_is_charged_as_much_but_the_network_does_not_run_again() -> None:
    net = deepcopy(calibrated_network("ResNet"))
    record = record_of(net, images(), CLASSES)
    runs = []
    net.register_forward_hook(lambda module, inputs, output: runs.append(len(output)))
    asked = [backprop, input_x_gradient, guided_backprop, guided_grad_cam, deconvnet, backprop]
    for method, n_runs in zip(asked, [1, 1, 2, 2, 3, 3], strict=True):
        with record.probe.metered() as cost:
            method(record)
        assert (cost.forward, cost.backward, cost.head) == (2, 4, 0)
        assert len(runs) == n_runs
        assert cost.seconds() > 0


@pytest.mark.parametrize(
    "method",
    [
        smooth_grad.with_options({"samples": 3}, "test"),
        integrated_gradients.with_options({"steps": 3}, "test"),
    ],
    ids=named,
)
def test_each_sample_and_step_costs_a_pass(method: MapMethod) -> None:
    record = record_of(calibrated_network("ResNet"), images(), CLASSES)
    for _ in range(2):
        with record.probe.metered() as cost:
            method(record)
        assert (cost.forward, cost.backward) == (6, 12)


@pytest.mark.parametrize("method", METHODS, ids=named)
@pytest.mark.parametrize("name", ["ResNet", "EfficientNet", "VisionTransformer"])
def test_half_precision_is_close_to_full(name: str, method: MapMethod) -> None:
    exact, rounded = (
        method(record_of(calibrated_network(name), images(), CLASSES, precision=precision))
        for precision in ("fp32", "bf16")
    )
    assert rounded.dtype == torch.float32
    assert rounded.isfinite().all()
    assert not torch.equal(exact, rounded), "autocast did nothing"
    if name != "EfficientNet":  # a random EfficientNet magnifies rounding errors
        assert torch.corrcoef(torch.stack([exact.flatten(), rounded.flatten()]))[0, 1] > 0.8


def test_all_methods_are_registered_under_their_names() -> None:
    for method in METHODS:
        registered = cam_methods.get(method.name.partition("+")[0])
        assert registered.paper == method.paper != ""
        assert registered.classes == "label"
        assert registered.scope == ("layer" if registered is guided_grad_cam else "image")
