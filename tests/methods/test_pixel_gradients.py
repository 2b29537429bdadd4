"""Methods of gradients at the pixels, against hand-solved networks, autograd by hand and captum."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache, partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from wsol_bench.capture import Plan, Record, capture
from wsol_bench.capture.backward.guided import backward_rule
from wsol_bench.errors import ConfigError, NotApplicableError
from wsol_bench.methods.backprop import backprop
from wsol_bench.methods.base import MapMethod, cam_methods
from wsol_bench.methods.deconvnet import deconvnet
from wsol_bench.methods.grad_cam import grad_cam
from wsol_bench.methods.guided_backprop import guided_backprop
from wsol_bench.methods.guided_grad_cam import guided_grad_cam
from wsol_bench.methods.input_x_gradient import input_x_gradient
from wsol_bench.methods.integrated_gradients import attributions, integrated_gradients
from wsol_bench.methods.smooth_grad import smooth_grad
from wsol_bench.models.target_layers import Target, target_of

N_CLASSES = 6
METHODS = [
    backprop, deconvnet, guided_backprop, guided_grad_cam, input_x_gradient,
    smooth_grad.with_options({"samples": 2}, "test"),
    integrated_gradients.with_options({"steps": 2}, "test"),
]  # fmt: skip
RULES = ["plain", "guided", "deconvnet"]


def named(method: MapMethod) -> str:
    return method.name


def record_of(net: nn.Module, batch: Tensor, classes: list[list[int]], **options: Any) -> Record:
    rows = torch.tensor(classes)
    target = Target("relu") if isinstance(net, Tiny) else target_of(net)
    return capture(net, batch, [target], Plan(gradients=True), classes=rows, **options)


def images(n: int = 2, side: int = 64) -> Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(3))


# ---- by hand: one pixel, four units behind a rectifier, two classes


class Rectifier(nn.Module):
    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Tiny(nn.Module):
    """Units (r, g, b, -r); scores 3, -2, 5, -7 and -1, 4, -2, 6 times what they pass."""

    def __init__(self, function: Callable[[Tensor], Any] = F.relu) -> None:
        super().__init__()
        self.units = nn.Conv2d(3, 4, 1, bias=False)
        self.relu = Rectifier(function)
        self.fc = nn.Linear(4, 2, bias=False)
        units = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]]
        self.units.weight.data = torch.tensor(units)[:, :, None, None]
        self.fc.weight.data = torch.tensor([[3.0, -2.0, 5.0, -7.0], [-1.0, 4.0, -2.0, 6.0]])

    def forward(self, batch: Tensor) -> Tensor:
        return self.fc(self.relu(self.units(batch)).mean((2, 3)))


PIXEL = torch.tensor([1.0, 2.0, -1.0]).view(1, 3, 1, 1)  # units: 1, 2, -1, -1


def tiny(function: Callable[[Tensor], Any] = F.relu, pixel: Tensor = PIXEL) -> Record:
    return record_of(Tiny(function), pixel, [[0, 1]])


# What a class passes to each unit, and so to the colors.
BY_HAND = {
    "plain": [[3, -2, 0], [-1, 4, 0]],  # where the unit is positive
    "guided": [[3, 0, 0], [0, 4, 0]],  # and what comes is positive, too
    "deconvnet": [[3, 0, 5], [-6, 4, 0]],  # where what comes is positive, 6 to -r among it
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_on_units_and_gradients_of_both_signs(rule: Any) -> None:
    record = tiny()
    found = record.probe.pixel_gradients(record.classes, rule=rule)
    assert found[0, :, :, 0, 0].tolist() == BY_HAND[rule]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (backprop, [3, 4]),
        (guided_backprop, [3, 4]),
        (deconvnet, [5, 6]),
        (input_x_gradient, [1, 7]),  # |3 1 - 2 2| and |-1 1 + 4 2|
        (guided_grad_cam, [0, 28]),  # Grad-CAM: ReLU(3 1 - 2 2) and -1 1 + 4 2
        (integrated_gradients, [1, 7]),  # no jump on the way from 0 of a network without biases
    ],
    ids=lambda value: value.name if isinstance(value, MapMethod) else "",
)
def test_maps_by_hand(method: MapMethod, expected: list[float]) -> None:
    torch.testing.assert_close(method(tiny())[0, :, 0, 0], torch.tensor(expected).float())


def test_two_rectifiers_pass_the_gradient_one_after_the_other() -> None:
    """2 ReLU(3 - ReLU(r)): what comes to the lower one is -2, whatever the upper one does."""

    def twice(x: Tensor) -> Tensor:
        return torch.relu(3 - torch.relu(x))

    record = tiny(twice)  # the units pass 2, 1, 3, 3; class 0 asks them for 3, -2, 5, -7
    of_rule = {
        rule: record.probe.pixel_gradients(record.classes, rule=rule)[0, 0, :, 0, 0].tolist()
        for rule in RULES
    }
    assert of_rule == {"plain": [-3, 2, 0], "guided": [0, 0, 0], "deconvnet": [0, 0, 0]}


def test_a_path_that_crosses_a_kink_is_integrated_to_where_it_ends() -> None:
    """Blue falls from 1 to -1 and counts 5 half of the way: -2 * 5 / 2."""
    found = attributions(tiny(), steps=2, baseline=(1.0, 2.0, 1.0))
    assert found[0, 0, :, 0, 0].tolist() == [0, 0, -5]


# ---- what a rectifier is, however it is written


def dropped(method: str, **arguments: float) -> Callable[[Tensor], Tensor]:
    """In place; what the method returns is not used."""

    def work(x: Tensor) -> Tensor:
        getattr(x, method)(**arguments)
        return x

    return work


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
    found = record.probe.pixel_gradients(record.classes, rule=rule)
    assert found[0, :, :, 0, 0].tolist() == BY_HAND[rule]


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
        found = record.probe.pixel_gradients(record.classes, rule=rule)[0, :, :, 0, 0]
        torch.testing.assert_close(found, colors)


@pytest.mark.parametrize(
    "function",
    [
        nn.Identity(), nn.Sigmoid(), nn.Hardsigmoid(), nn.Tanh(), nn.Hardtanh(),
        lambda x: x.clamp(0, 1), lambda x: x.clamp(min=0, max=6), lambda x: x.clamp(min=1e-3),
        lambda x: x.clamp(max=0), lambda x: x.clamp(min=torch.zeros(1)),
        lambda x: x + torch.relu(torch.ones(1)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", [guided_backprop, deconvnet, guided_grad_cam], ids=named)
def test_a_network_without_rectifiers_is_refused(method: MapMethod, function: Any) -> None:
    """Gates, bounds that are not 0, and what is no function of the pixels are left alone."""
    with pytest.raises(NotApplicableError, match=rf"^{method.name} is not applicable to Tiny: the"):
        method(tiny(function))


# ---- networks of torchvision: no rule changes what they say, or leaves a trace


def small_vit() -> nn.Module:
    vit = models.VisionTransformer(64, 16, 2, 2, 32, 64, num_classes=N_CLASSES)
    nn.init.normal_(vit.heads.head.weight)  # it is zero at first, and so were every gradient
    return vit


def small_convnext() -> nn.Module:
    setting = models.convnext.CNBlockConfig
    net = models.ConvNeXt([setting(8, 16, 1), setting(16, None, 2)], num_classes=N_CLASSES)
    for name, parameter in net.named_parameters():
        if "layer_scale" in name:
            nn.init.ones_(parameter)  # at 1e-6 the blocks, and their rectifiers, were next to none
        elif parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.3)
    return net


def small_vgg() -> nn.Module:
    net = models.vgg11(num_classes=N_CLASSES, init_weights=False)
    net.avgpool = nn.AdaptiveAvgPool2d(1)
    net.classifier = nn.Sequential(nn.Linear(512, 16), nn.ReLU(True), nn.Linear(16, N_CLASSES))
    return net


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "vgg11": small_vgg,
    "resnet18": partial(models.resnet18, num_classes=N_CLASSES),
    "googlenet": partial(
        models.googlenet, num_classes=N_CLASSES, aux_logits=False, init_weights=False
    ),
    "densenet": lambda: models.DenseNet(8, (2, 2), 16, num_classes=N_CLASSES),
    "mobilenet_v2": partial(models.mobilenet_v2, num_classes=N_CLASSES),
    "mobilenet_v3": partial(models.mobilenet_v3_small, num_classes=N_CLASSES),
    "efficientnet": partial(models.efficientnet_b0, num_classes=N_CLASSES),
    "convnext": small_convnext,
    "vit": small_vit,
}


@cache
def network(name: str) -> nn.Module:
    """Built once, in evaluation mode; statistics of normalizations are those of the images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = NETWORKS[name]()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
                nn.init.normal_(module.bias, std=0.3)
        with torch.no_grad():
            net.train()(images(8))
    return net.eval()


def ruled(function: Callable[..., Tensor], rule: str, *args: Any, **kwargs: Any) -> Tensor:
    """A rectifier whose backward pass is written with a hook on a tensor, never in place."""
    kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
    inputs, *rest = args
    rest = [value for value in rest if not isinstance(value, bool)]
    output = function(inputs, *rest, **kwargs)
    if rule == "deconvnet":
        output = inputs + (output - inputs).detach()
    output.register_hook(lambda gradient: gradient.clamp(min=0))
    return output


@contextmanager
def patched(rule: str) -> Iterator[None]:
    """The functions that the rectifiers among torchvision's modules call."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("relu", "hardtanh", "hardswish", "silu", "gelu") if rule != "plain" else ():
            patch.setattr(F, name, partial(ruled, getattr(F, name), rule))
        yield


def by_hand(net: nn.Module, batch: Tensor, classes: list[list[int]], rule: str) -> Tensor:
    pixels = batch.clone().requires_grad_()
    with patched(rule):
        logits = net(pixels)
    slots = [
        torch.autograd.grad(
            logits.gather(1, torch.tensor(classes))[:, slot].sum(), pixels, retain_graph=True
        )[0]
        for slot in range(len(classes[0]))
    ]
    return torch.stack(slots, dim=1)


def assert_same(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    size = expected.abs().max()
    assert size > 0
    torch.testing.assert_close(found / size, expected / size, rtol=0, atol=tolerance)


CLASSES = [[4, 1], [0, 5]]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_networks_with_hooks_at_each_rectifier(name: str, rule: Any) -> None:
    net = network(name)
    record = record_of(net, images(), CLASSES)
    found = record.probe.pixel_gradients(record.classes, rule=rule)
    assert_same(found, by_hand(net, images(), CLASSES, rule))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_rules_differ_on_every_architecture(name: str) -> None:
    record = record_of(network(name), images(), CLASSES)
    plain, guided, deconv = (
        record.probe.pixel_gradients(record.classes, rule=rule).flatten()
        for rule in ("plain", "guided", "deconvnet")
    )
    for one, other in ((plain, guided), (plain, deconv), (guided, deconv)):
        assert F.cosine_similarity(one, other, dim=0) < 0.99


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
@pytest.mark.parametrize("net", [*NETWORKS, "in place, dropped"])
def test_logits_under_a_rule_are_those_of_the_network(net: str, rule: Any) -> None:
    model = Tiny(dropped("relu_")) if net not in NETWORKS else network(net)
    batch = images()
    batch.requires_grad_()
    expected = model(batch)
    with backward_rule(rule):
        logits = model(batch)
    assert logits.grad_fn is not None
    torch.testing.assert_close(logits, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["tf_efficientnet_b0", "mobilenetv3_small_050", "vit_tiny"])
def test_rectifiers_of_timm_are_known(name: str) -> None:
    timm = pytest.importorskip("timm")
    options: dict[str, Any] = {"num_classes": N_CLASSES}
    if name == "vit_tiny":
        name, options = "vit_tiny_patch16_224", {**options, "img_size": 64, "depth": 2}
    torch.manual_seed(0)
    net = timm.create_model(name, pretrained=False, **options).eval()
    record = record_of(net, images(), CLASSES)
    for rule in RULES:
        found = record.probe.pixel_gradients(record.classes, rule=rule)
        if rule != "plain":
            assert not torch.allclose(found, by_hand(net, images(), CLASSES, "plain"))
        assert_same(found, by_hand(net, images(), CLASSES, rule))


def trace(net: nn.Module) -> dict[str, object]:
    """All that a careless pass changes on a network, or around it."""
    return {
        "modes": [module.training for module in net.modules()],
        "requires_grad": [value.requires_grad for value in net.parameters()],
        "grads": [value.grad for value in net.parameters()],
        "hooks": [
            list(value)
            for module in net.modules()
            for kind, value in vars(module).items()
            if kind.endswith("_hooks")
        ],
        "patches": [sorted(vars(module)) for module in net.modules()],
        "functions": [F.relu, torch.relu, Tensor.relu, F.hardtanh],
        "grad mode": torch.is_grad_enabled(),
        "function modes": torch.overrides._get_current_function_mode_stack(),
    }


def fail(*_: object) -> None:
    raise RuntimeError("out of luck")


@pytest.mark.parametrize("grad_mode", [True, False])
@pytest.mark.parametrize("method", METHODS, ids=named)
def test_the_network_comes_back_as_it_was_also_where_it_fails(
    method: MapMethod, grad_mode: bool
) -> None:
    net = deepcopy(network("resnet18"))
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
        before = trace(net), {key: value.clone() for key, value in net.state_dict().items()}
        with torch.set_grad_enabled(grad_mode):
            if where:
                with pytest.raises(RuntimeError, match="out of luck"):
                    method(record)
            else:
                assert not method(record).requires_grad
            assert trace(net) == {**before[0], "grad mode": grad_mode}
        torch.testing.assert_close(dict(net.state_dict()), before[1], rtol=0, atol=0)
        assert batch.grad is None and not batch.requires_grad


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("method", METHODS, ids=named)
def test_maps_are_the_same_where_the_caller_has_switched_gradients_off(
    method: MapMethod, context: Any
) -> None:
    expected = method(record_of(network("resnet18"), images(), CLASSES))
    with context():
        found = method(record_of(network("resnet18"), images(), CLASSES))
    torch.testing.assert_close(found, expected)


# ---- captum


def without_work_in_place(net: nn.Module) -> nn.Module:
    net = deepcopy(net)
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return net


def by_captum(name: str, net: nn.Module, batch: Tensor, **options: Any) -> Tensor:
    captum = pytest.importorskip("captum.attr")
    method = getattr(captum, name)(without_work_in_place(net))
    slots = []
    for slot in zip(*CLASSES, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it sets hooks, and requires_grad on the input
            found = method.attribute(batch.clone(), target=torch.tensor(slot), **options)
        slots.append(found.detach())
    return torch.stack(slots, dim=1)


@pytest.mark.parametrize("name", ["vgg11", "resnet18"])
@pytest.mark.parametrize(
    ("method", "theirs"),
    [(backprop, "Saliency"), (guided_backprop, "GuidedBackprop"), (deconvnet, "Deconvolution")],
    ids=lambda value: value.name if isinstance(value, MapMethod) else "",
)
def test_agrees_with_captum(method: MapMethod, theirs: str, name: str) -> None:
    found = method(record_of(network(name), images(), CLASSES))
    expected = by_captum(theirs, network(name), images())
    assert_same(found, expected.abs().amax(dim=2))


@pytest.mark.parametrize("name", ["vgg11", "resnet18"])
def test_contributions_to_the_score_agree_with_captum(name: str) -> None:
    record = record_of(network(name), images(), CLASSES)
    expected = by_captum("InputXGradient", network(name), images())
    assert_same(input_x_gradient(record), expected.sum(dim=2).abs())
    options = {"n_steps": 4, "method": "riemann_middle", "baselines": 0.25}
    expected = by_captum("IntegratedGradients", network(name), images(), **options)
    found = attributions(record, steps=4, baseline=(0.25, 0.25, 0.25))
    assert_same(found, expected)
    bound = integrated_gradients.with_options({"steps": 4, "baseline": [0.25] * 3}, "test")
    assert_same(bound(record), expected.sum(dim=2).abs())


def test_guided_grad_cam_agrees_with_captum() -> None:
    """Whose Grad-CAM is resized to the input the same way."""
    captum = pytest.importorskip("captum.attr")
    net = without_work_in_place(network("resnet18"))
    batch = images()
    found = guided_grad_cam(record_of(net, batch, CLASSES))
    for slot, classes in enumerate(zip(*CLASSES, strict=True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = captum.GuidedGradCam(net, net.layer4).attribute(
                batch.clone(), target=torch.tensor(classes), interpolate_mode="bilinear"
            )
        assert_same(found[:, slot], expected.detach().abs().amax(dim=1))


def test_guided_grad_cam_is_of_the_records_own_layer() -> None:
    net, batch = network("resnet18"), images()
    targets = [target_of(net, layer=layer) for layer in ("layer2", "layer3")]
    record = capture(
        net, batch, targets, Plan(gradients=True), classes=torch.tensor(CLASSES)
    ).at_layer(0)
    resized = F.interpolate(grad_cam(record), (64, 64), mode="bilinear", align_corners=False)
    assert resized.amax() > 0
    assert_same(guided_grad_cam(record), guided_backprop(record) * resized)


# ---- averages along a path and over noise


@pytest.mark.parametrize("baseline", [(0.0, 0.0, 0.0), (-2.1, -2.0, -1.8)])
@pytest.mark.parametrize(
    ("rectifier", "steps", "error"), [(nn.SiLU, 20, 1e-3), (nn.ReLU, 100, 1e-2)]
)
def test_attributions_add_up_to_the_difference_of_the_scores(
    rectifier: type[nn.Module], steps: int, error: float, baseline: tuple[float, float, float]
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), rectifier(), nn.Conv2d(8, 8, 3), rectifier(),
        nn.Flatten(), nn.LazyLinear(N_CLASSES),
    ).eval()  # fmt: skip
    batch = images(side=8)
    start = torch.tensor(baseline)[:, None, None].expand_as(batch)
    difference = (net(batch) - net(start)).detach().gather(1, torch.tensor(CLASSES))
    record = capture(net, batch, [Target("3")], Plan(), classes=torch.tensor(CLASSES))
    found = attributions(record, steps=steps, baseline=baseline).sum(dim=(2, 3, 4))
    torch.testing.assert_close(
        found, difference, rtol=0, atol=error * float(difference.abs().max())
    )


def test_without_noise_smooth_grad_is_backprop() -> None:
    record = record_of(network("resnet18"), images(), CLASSES)
    bound = smooth_grad.with_options({"noise": 0.0, "samples": 3}, "test")
    assert_same(bound(record), backprop(record))


def test_smooth_grad_averages_gradients_with_their_signs_over_noisy_images() -> None:
    net, batch = network("resnet18"), images() * torch.tensor([1.0, 2.0])[:, None, None, None]
    record = record_of(net, batch, CLASSES, image_ids=["one", "two"])
    gradients = []
    generators = record.probe.noise(8)
    for _ in range(3):
        noise = torch.stack([torch.randn(3, 64, 64, generator=one) for one in generators])
        ranges = torch.stack([image.max() - image.min() for image in batch])
        noisy = batch + 0.2 * ranges[:, None, None, None] * noise
        gradients.append(by_hand(net, noisy, CLASSES, "plain"))
    bound = smooth_grad.with_options({"noise": 0.2, "samples": 3, "seed": 8}, "test")
    assert_same(bound(record), torch.stack(gradients).mean(dim=0).abs().amax(dim=2))


def test_noise_depends_on_the_seed_and_the_image_alone() -> None:
    def maps(batch: Tensor, classes: list[list[int]], ids: list[str], seed: int = 0) -> Tensor:
        bound = smooth_grad.with_options({"samples": 2, "seed": seed}, "test")
        return bound(record_of(network("resnet18"), batch, classes, image_ids=ids))

    batch = images(1).expand(2, -1, -1, -1)  # one image, two names
    together = maps(batch, [[4, 1], [4, 1]], ["a", "b"])
    assert_same(maps(batch[:1], [[4, 1]], ["b"]), together[1:])
    assert not torch.allclose(together[0], together[1], rtol=0.01)
    assert not torch.allclose(maps(batch[:1], [[4, 1]], ["b"], seed=1), together[1:], rtol=0.01)


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_a_batch_is_its_images_one_by_one(method: MapMethod) -> None:
    net, batch = network("resnet18"), images(3)
    classes = [[4, 1], [0, 5], [2, 2]]
    together = method(record_of(net, batch, classes))
    for b in range(3):
        assert_same(method(record_of(net, batch[b : b + 1], classes[b : b + 1])), together[b:][:1])


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_maps_follow_the_order_of_the_classes(method: MapMethod) -> None:
    record = record_of(network("resnet18"), images(), CLASSES)
    maps = method(record)
    assert maps.shape == (2, 2, 64, 64)
    assert not torch.allclose(maps[:, 0], maps[:, 1], rtol=0.01)
    slots = torch.tensor([[1, 0], [1, 0]])
    assert_same(method(record, slots), maps.flip(1))
    assert_same(method(record, slots[:, :1]), maps[:, 1:])


def test_options_that_make_no_sense_are_refused() -> None:
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


def test_who_asks_second_is_charged_as_much_and_the_network_does_not_run_again() -> None:
    net = deepcopy(network("resnet18"))
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
    record = record_of(network("resnet18"), images(), CLASSES)
    for _ in range(2):
        with record.probe.metered() as cost:
            method(record)
        assert (cost.forward, cost.backward) == (6, 12)


@pytest.mark.parametrize("method", METHODS, ids=named)
@pytest.mark.parametrize("name", ["resnet18", "efficientnet", "vit"])
def test_half_precision_is_close_to_full(name: str, method: MapMethod) -> None:
    exact, rounded = (
        method(record_of(network(name), images(), CLASSES, precision=precision))
        for precision in ("fp32", "bf16")
    )
    assert rounded.dtype == torch.float32
    assert rounded.isfinite().all()
    assert not torch.equal(exact, rounded), "autocast did nothing"
    if name != "efficientnet":  # where it is random, no rounding error is small
        assert torch.corrcoef(torch.stack([exact.flatten(), rounded.flatten()]))[0, 1] > 0.8


def test_all_are_registered_under_their_names() -> None:
    for method in METHODS:
        known = cam_methods.get(method.name.partition("+")[0])
        assert known.paper == method.paper != ""
        assert known.classes == "label"
        assert known.scope == ("layer" if known is guided_grad_cam else "image")
