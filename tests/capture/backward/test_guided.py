"""Guided backpropagation and deconvnet at each rectifier: module, function or method."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from map_methods import assert_same
from networks import N_CLASSES, calibrated_network, images
from rectifiers import BY_HAND, CLASSES, NETWORKS, RULES, Tiny, by_hooks, dropped, record_of, tiny
from torch import Tensor, nn

from wsol_bench.capture.backward.guided import backward_rule


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_passes_the_gradients_calculated_by_hand(rule: Any) -> None:
    record = tiny()
    actual = record.probe.pixel_gradients(record.classes, rule=rule)
    assert actual[0, :, :, 0, 0].tolist() == BY_HAND[rule]


def test_two_rectifiers_pass_the_gradient_one_after_the_other() -> None:
    """2 ReLU(3 - ReLU(r)): under every rule the lower rectifier gets the gradient -2."""

    def twice(x: Tensor) -> Tensor:
        return torch.relu(3 - torch.relu(x))

    record = tiny(twice)  # the units pass 2, 1, 3, 3; class 0 asks them for 3, -2, 5, -7
    of_rule = {
        rule: record.probe.pixel_gradients(record.classes, rule=rule)[0, 0, :, 0, 0].tolist()
        for rule in RULES
    }
    assert of_rule == {"plain": [-3, 2, 0], "guided": [0, 0, 0], "deconvnet": [0, 0, 0]}


RELUS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": F.relu,
    "F.relu by name": lambda x: F.relu(input=x),
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda x: x.relu(),
    "Tensor.relu_": lambda x: x.relu_(),
    "Tensor.relu_, dropped": dropped("relu_"),
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "F.relu6": F.relu6,
    "F.relu6 in place": lambda x: F.relu6(x, inplace=True),
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "F.hardtanh_": lambda x: F.hardtanh_(x, 0.0, 6.0),
    "Tensor.clamp": lambda x: x.clamp(min=0),
    "Tensor.clamp by position": lambda x: x.clamp(0),
    "Tensor.clamp_, dropped": dropped("clamp_", min=0.0),
    "torch.clamp": lambda x: torch.clamp(input=x, min=0.0),
    "torch.clamp_": lambda x: torch.clamp_(x, min=0.0),
    "Tensor.clip": lambda x: x.clip(min=0),
    "Tensor.clamp_min": lambda x: x.clamp_min(0),
    "Tensor.clamp_min_, dropped": dropped("clamp_min_", min=0.0),
    "torch.clamp_min": lambda x: torch.clamp_min(x, 0),
    "nn.Threshold": nn.Threshold(0.0, 0.0),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("form", RELUS)
def test_relu_is_the_same_however_it_is_written(form: str, rule: Any) -> None:
    record = tiny(RELUS[form])
    actual = record.probe.pixel_gradients(record.classes, rule=rule)
    assert actual[0, :, :, 0, 0].tolist() == BY_HAND[rule]


# Units 7, 2, -1, -7 under rectifiers that are cut at 6; class 0 asks them for 3, -2, 5, -7, class 1
# for -1, 4, -2, 6. The last unit is -r.
ABOVE_SIX = torch.tensor([7.0, 2.0, -1.0]).view(1, 3, 1, 1)

CUT_AT_SIX: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu6": F.relu6,
    "F.relu6 in place": lambda x: F.relu6(x, inplace=True),
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "F.hardtanh": lambda x: F.hardtanh(x, 0.0, 6.0),
    "F.hardtanh by name": lambda x: F.hardtanh(x, min_val=0, max_val=6),
    "F.hardtanh_": lambda x: F.hardtanh_(x, 0.0, 6.0),
    "nn.Hardtanh": nn.Hardtanh(0.0, 6.0),
}


@pytest.mark.parametrize("form", CUT_AT_SIX)
def test_guided_gates_at_six_too_and_deconvnet_at_no_value(form: str) -> None:
    """The derivative of ReLU6 is 0 above 6; deconvnet asks for the sign of the gradient alone."""
    record = tiny(CUT_AT_SIX[form], ABOVE_SIX)
    of_rule = {
        rule: record.probe.pixel_gradients(record.classes, rule=rule)[0, :, :, 0, 0].tolist()
        for rule in RULES
    }
    assert of_rule == {
        "plain": [[0, -2, 0], [0, 4, 0]],
        "guided": [[0, 0, 0], [0, 4, 0]],
        "deconvnet": [[3, 0, 5], [-6, 4, 0]],
    }


def test_a_relu_without_an_upper_bound_does_not_gate_at_six() -> None:
    record = tiny(F.relu, ABOVE_SIX)
    guided = record.probe.pixel_gradients(record.classes, rule="guided")
    assert guided[0, :, :, 0, 0].tolist() == [[3, 0, 0], [0, 4, 0]]


@pytest.mark.parametrize("bound", [0.0, 6.0])
def test_guided_gates_at_both_bounds_themselves(bound: float) -> None:
    record = tiny(F.relu6, torch.tensor([bound, 2.0, -1.0]).view(1, 3, 1, 1))
    guided = record.probe.pixel_gradients(record.classes, rule="guided")
    assert guided[0, :, 0, 0, 0].tolist() == [0, 0]


SMOOTH: dict[str, Callable[[], nn.Module]] = {
    "hardswish": nn.Hardswish,
    "hardswish in place": partial(nn.Hardswish, inplace=True),
    "silu": nn.SiLU,
    "silu in place": partial(nn.SiLU, inplace=True),
    "gelu": nn.GELU,
    "gelu by tanh": partial(nn.GELU, "tanh"),
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "leaky relu": nn.LeakyReLU,
    "leaky relu in place": partial(nn.LeakyReLU, inplace=True),
    "prelu": nn.PReLU,
    "rrelu": nn.RReLU,
    "elu": nn.ELU,
    "elu in place": partial(nn.ELU, inplace=True),
    "celu": nn.CELU,
    "celu in place": partial(nn.CELU, inplace=True),
    "selu": nn.SELU,
    "selu in place": partial(nn.SELU, inplace=True),
}


@pytest.mark.parametrize("form", SMOOTH)
def test_other_rectifiers_have_their_own_derivative(form: str) -> None:
    module = SMOOTH[form]().eval()
    record = tiny(module)
    units = torch.tensor([1.0, 2.0, -1.0, -1.0], requires_grad=True)
    (slopes,) = torch.autograd.grad(module(units * 1).sum(), units)
    for rule, derivative in (("guided", slopes), ("deconvnet", torch.ones(4))):
        passed = derivative * torch.tensor([[3.0, 0.0, 5.0, 0.0], [0.0, 4.0, 0.0, 6.0]])
        colors = passed[:, :3] - torch.tensor([1.0, 0.0, 0.0]) * passed[:, 3:]
        actual = record.probe.pixel_gradients(record.classes, rule=rule)[0, :, :, 0, 0]
        torch.testing.assert_close(actual, colors)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_equal_those_of_networks_with_hooks_at_each_rectifier(
    name: str, rule: Any
) -> None:
    net = calibrated_network(name)
    record = record_of(net, images(), CLASSES)
    actual = record.probe.pixel_gradients(record.classes, rule=rule)
    assert_same(actual, by_hooks(net, images(), CLASSES, rule))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_rules_differ_on_every_architecture(name: str) -> None:
    record = record_of(calibrated_network(name), images(), CLASSES)
    plain, guided, deconv = (
        record.probe.pixel_gradients(record.classes, rule=rule).flatten()
        for rule in ("plain", "guided", "deconvnet")
    )
    for first, second in ((plain, guided), (plain, deconv), (guided, deconv)):
        assert F.cosine_similarity(first, second, dim=0) < 0.99


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
@pytest.mark.parametrize("net", [*NETWORKS, "in place, dropped"])
def test_a_rule_does_not_change_logits(net: str, rule: Any) -> None:
    model = Tiny(dropped("relu_")) if net not in NETWORKS else calibrated_network(net)
    batch = images()
    batch.requires_grad_()
    expected = model(batch)
    with backward_rule(rule):
        logits = model(batch)
    assert logits.grad_fn is not None
    torch.testing.assert_close(logits, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["tf_efficientnet_b0", "mobilenetv3_small_050", "vit_tiny"])
def test_rectifiers_of_timm_are_recognized(name: str) -> None:
    timm = pytest.importorskip("timm")
    options: dict[str, Any] = {"num_classes": N_CLASSES}
    if name == "vit_tiny":
        name, options = "vit_tiny_patch16_224", {**options, "img_size": 64, "depth": 2}
    torch.manual_seed(0)
    net = timm.create_model(name, pretrained=False, **options).eval()
    record = record_of(net, images(), CLASSES)
    for rule in RULES:
        actual = record.probe.pixel_gradients(record.classes, rule=rule)
        if rule != "plain":
            assert not torch.allclose(actual, by_hooks(net, images(), CLASSES, "plain"))
        assert_same(actual, by_hooks(net, images(), CLASSES, rule))
