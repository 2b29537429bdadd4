"""A head of a class convolution: its gradients are autograd's, bit for bit, for less work."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from networks import N_CLASSES, images, seeded
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models
from wsolevaluation_weights import weights_for

from wsol_bench.capture import BestClasses, Plan, Precision, Record, capture
from wsol_bench.capture import class_maps as rule
from wsol_bench.errors import ModelError
from wsol_bench.models.paper_networks import wsolevaluation, zhou_2016
from wsol_bench.models.target_layers import Target, target_of

GRADIENTS = Plan(gradients=True)
CLASSES = torch.tensor([[4, 1, 0], [2, 5, 5]])
Head = Callable[[Tensor], Tensor]


class ClassMaps(nn.Module):
    """Six channels, a class convolution, and what makes scores of the class maps."""

    def __init__(self, head: Head = F.relu, convolution: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=8, padding=1)
        self.features = nn.Sequential(nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())
        self.classes = convolution or nn.Conv2d(6, N_CLASSES, 1)
        self.dropout = nn.Dropout()
        self.head = head

    def forward(self, batch: Tensor) -> Tensor:
        values = self.head(self.classes(self.dropout(self.features(self.stem(batch)))))
        return values.mean((-2, -1)) if values.ndim == 4 else values


def by_autograd(net: nn.Module, batch: Tensor, layer: str, classes: Tensor) -> Tensor:
    """Gradients (batch, k, ...) of plain torch, slot by slot."""
    taken: list[Tensor] = []
    with net.get_submodule(layer).register_forward_hook(lambda _, inputs, out: taken.append(out)):
        logits = net(batch)
    slots = [
        torch.autograd.grad(
            logits, taken[0], F.one_hot(column, logits.shape[1]).to(logits), retain_graph=True
        )[0]
        for column in classes.T
    ]
    return torch.stack(slots, dim=1)


def recorded(net: nn.Module, batch: Tensor, layers: tuple[str, ...] = ("features",)) -> Record:
    return capture(net, batch, [Target(layer) for layer in layers], GRADIENTS, classes=CLASSES)


def is_used(net: nn.Module) -> bool:
    """Whether the rule was compared with autograd for a network, and agreed."""
    return list(rule._SEEN.get(net, {}).values()) == [True]


def gmp_first(maps: Tensor) -> Tensor:
    return F.max_pool2d(maps, 2).amax((2, 3))


# Each works on the map of each class alone.
BY_CLASS: dict[str, Head] = {
    "SqueezeNet: ReLU and average": lambda maps: F.adaptive_avg_pool2d(F.relu(maps), 1).flatten(1),
    "average": lambda maps: F.adaptive_avg_pool2d(maps, 1)[:, :, 0, 0],
    "a window's average": lambda maps: F.avg_pool2d(maps, maps.shape[-1]).flatten(1),
    "mean": lambda maps: maps.mean((-1, -2)),
    "mean of positions": lambda maps: maps.view(len(maps), N_CLASSES, -1).mean(2),
    "sum": lambda maps: maps.sum((2, 3), keepdim=True).squeeze(),
    "maximum": lambda maps: F.adaptive_max_pool2d(maps, 1).flatten(1),
    "maxima twice": gmp_first,
    "maximum of positions": lambda maps: maps.flatten(2).max(2).values,
    "log of the sum of exponentials": lambda maps: maps.logsumexp((2, 3)) / 2 - 1,
}  # fmt: skip
# The indexing [:, :, 0, 0] is one operation that the rule does not know.
UNKNOWN = {"average"}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", BY_CLASS)
def test_its_gradients_are_those_of_autograd_bit_for_bit(
    name: str, memory_format: torch.memory_format
) -> None:
    net = seeded(lambda: ClassMaps(BY_CLASS[name])).to(memory_format=memory_format)
    batch = images().contiguous(memory_format=memory_format)
    expected = by_autograd(net, batch, "features", CLASSES)
    for _ in range(2):  # the first time it is compared
        assert torch.equal(recorded(net, batch).gradients, expected)
    assert expected.any()
    assert is_used(net) == (name not in UNKNOWN)


class _Flipped(torch.autograd.Function):
    """A function whose gradient is that of another one."""

    @staticmethod
    def forward(context: object, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        return -gradient.flip(1)


def pooled_over_classes(maps: Tensor) -> Tensor:
    """A pooling over (classes, positions) as if they were an image: no class is alone."""
    return F.avg_pool2d(maps.flatten(2), 3, stride=1, padding=1).mean(2)


class Depthwise(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(6, N_CLASSES, 1, groups=2)


class OfItsInput(nn.Module):
    """A class convolution whose weights are made from its input."""

    def forward(self, values: Tensor) -> Tensor:
        return F.conv2d(values, values.mean((0, 2, 3))[:, None, None, None].expand(6, 6, 1, 1))


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "softmax": lambda: ClassMaps(lambda maps: maps.mean((2, 3)).log_softmax(1)),
    "softmax of each position": lambda: ClassMaps(lambda maps: maps.softmax(1)),
    "norm over the classes": lambda: ClassMaps(lambda maps: F.normalize(maps.mean((2, 3)))),
    "squares": lambda: ClassMaps(lambda maps: maps * maps),
    "a residual sum": lambda: ClassMaps(lambda maps: maps + maps.flip(1)),
    "classes and rows change places": lambda: ClassMaps(
        lambda maps: F.adaptive_avg_pool2d(maps, (6, 6)).transpose(1, 2)
    ),
    "pooling over classes": lambda: ClassMaps(pooled_over_classes),
    "mean over classes": lambda: ClassMaps(
        lambda maps: F.adaptive_avg_pool2d(maps, (6, 6)).mean(1).mean(2)
    ),
    "a linear layer": lambda: ClassMaps(
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 6))
    ),
    "a function of its own": lambda: ClassMaps(_Flipped.apply),
    "3 x 3": lambda: ClassMaps(convolution=nn.Conv2d(6, N_CLASSES, 3, padding=1)),
    "stride": lambda: ClassMaps(convolution=nn.Conv2d(6, N_CLASSES, 1, stride=2)),
    "padding": lambda: ClassMaps(convolution=nn.Conv2d(6, N_CLASSES, 1, padding=1)),
    "groups": lambda: ClassMaps(convolution=Depthwise()),
    "transposed": lambda: ClassMaps(convolution=nn.ConvTranspose2d(6, N_CLASSES, 1)),
    "a hook that changes gradients": lambda: hooked(ClassMaps()),
    "a hook that changes gradients a little": lambda: hooked(ClassMaps(), 1e-3),
    "a hook that changes values": lambda: changed(ClassMaps()),
    "a full backward hook": lambda: backward_hooked(ClassMaps()),
}


def hooked(net: nn.Module, share: float = 1.0) -> nn.Module:
    """The graph does not show this hook."""

    def put(module: nn.Module, inputs: object, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda gradient: gradient + share * gradient.cumsum(1))

    net.classes.register_forward_hook(put)
    return net


def changed(net: nn.Module) -> nn.Module:
    net.classes.register_forward_hook(lambda module, inputs, output: output + output.flip(1))
    return net


def backward_hooked(net: nn.Module) -> nn.Module:
    net.classes.register_full_backward_hook(lambda module, ins, outs: (ins[0].flip(1) * 2,))
    return net


@pytest.mark.parametrize("name", OTHERS)
def test_other_heads_go_through_autograd(name: str) -> None:
    net, batch = seeded(OTHERS[name]), images()
    expected = by_autograd(net, batch, "features", CLASSES)
    for _ in range(2):
        torch.testing.assert_close(recorded(net, batch).gradients, expected)
    assert expected.any()
    assert not is_used(net)


def test_weights_that_depend_on_the_layer_go_through_autograd() -> None:
    batch = images()
    net = seeded(lambda: ClassMaps(convolution=OfItsInput()))
    logits = net(batch)
    assert logits.requires_grad
    assert rule._class_convolution(logits) is None


def test_a_hook_that_comes_later_is_seen() -> None:
    net, batch = seeded(ClassMaps), images()
    recorded(net, batch)
    assert is_used(net)
    hooked(net)
    expected = by_autograd(net, batch, "features", CLASSES)
    assert torch.equal(recorded(net, batch).gradients, expected)


def test_frozen_weights_change_nothing() -> None:
    net, batch = seeded(ClassMaps), images()
    expected = by_autograd(net, batch, "features", CLASSES)
    net.requires_grad_(requires_grad=False)
    assert torch.equal(recorded(net, batch).gradients, expected)
    assert is_used(net)


def test_several_layers_get_their_gradients_through_what_lies_between() -> None:
    net, batch = seeded(ClassMaps), images()
    record = recorded(net, batch, ("stem", "features.1", "features"))
    for layer in record.layers:
        expected = by_autograd(net, batch, layer.name, CLASSES)
        torch.testing.assert_close(layer.gradients, expected)
    assert is_used(net)


@pytest.mark.parametrize("layers", [("classes",), ("features", "classes")])
def test_a_layer_at_or_behind_the_convolution_goes_through_autograd(layers) -> None:
    net, batch = seeded(ClassMaps), images()
    for layer in recorded(net, batch, layers).layers:
        assert torch.equal(layer.gradients, by_autograd(net, batch, layer.name, CLASSES))
    assert not is_used(net)


def test_a_layer_that_the_logits_do_not_depend_on_is_still_an_error() -> None:
    net = seeded(lambda: ClassMaps(lambda maps: maps.detach()))
    with pytest.raises(ModelError, match="do not depend on layer 'features'"):
        recorded(net, images())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gives_autograds_half_precision(precision: Precision) -> None:
    """The oracle passes the same scaled cotangents back (PROTOCOLS: small gradients underflow)."""
    net, batch, scale = seeded(ClassMaps), images(), 2.0**10
    taken: list[Tensor] = []
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    with (
        torch.autocast("cpu", dtype),
        net.features.register_forward_hook(lambda _, inputs, out: taken.append(out)),
    ):
        logits = net(batch)
    for _ in range(2):
        record = capture(
            net, batch, [Target("features")], GRADIENTS, classes=CLASSES, precision=precision
        )
    for slot, column in enumerate(CLASSES.T):
        cotangent = F.one_hot(column, N_CLASSES).to(logits) * scale
        (expected,) = torch.autograd.grad(logits, taken[0], cotangent, retain_graph=True)
        assert torch.equal(record.gradients[:, slot], expected.float() / scale)
    assert is_used(net)


def test_in_float16_what_overflows_with_the_scale_is_passed_back_without_it() -> None:
    net = seeded(lambda: ClassMaps(lambda maps: maps.sum((2, 3))))
    with torch.no_grad():
        net.classes.weight[0] = 100.0  # 100 * 2 ** 10 is above the largest float16
    record = capture(
        net, images(), [Target("features")], GRADIENTS, classes=CLASSES, precision="fp16"
    )
    assert is_used(net)
    assert set(record.gradients[0, 2].unique().tolist()) == {100.0}


@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
def test_squeezenets_passes_for_six_classes_take_the_work_of_the_forward_pass(name: str) -> None:
    """The work of convolutions, as torch counts it; that of six dense gradients is far more."""
    net = seeded(getattr(models, name))
    batch, slots = images(1), torch.arange(6)[None]
    capture(net, batch, [target_of(net)], GRADIENTS, classes=slots)  # once compared
    with FlopCounterMode(display=False) as bare, torch.no_grad():
        net(batch)
    with FlopCounterMode(display=False) as ours:
        record = capture(net, batch, [target_of(net)], GRADIENTS, classes=slots)
    assert ours.get_total_flops() == bare.get_total_flops()
    assert record.cost_for(GRADIENTS).backward == 6  # a cotangent for each class slot
    expected = by_autograd(net, batch, "features", slots)
    assert torch.equal(record.gradients, expected)


def test_squeezenet_with_its_weights_has_autograds_gradients(data_dir: Path) -> None:
    net = models.squeezenet1_1().eval()
    state = torch.load(data_dir / "weights/squeezenet1_1_imagenet.pth", weights_only=True)
    net.load_state_dict(state)
    batch = images(3, 224)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        other = copy.deepcopy(net).to(memory_format=memory_format)
        inputs = batch.contiguous(memory_format=memory_format)
        for _ in range(2):
            record = capture(other, inputs, [target_of(other)], GRADIENTS, classes=BestClasses(5))
        expected = by_autograd(other, inputs, "features", record.classes)
        assert torch.equal(record.gradients, expected)
        assert is_used(other)


# The target is the map of the classes in wsolevaluation's Inception, and its head is no class
# convolution in those with a linear layer: they go through autograd.
PAPERS = {"vgg16_acol": True, "vgg16_spg": True, "resnet50_spg": True, "vgg16_cam": False}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PAPERS, "nin"])
def test_networks_of_papers_have_autograds_gradients(name: str) -> None:
    if name == "nin":
        net = seeded(lambda: zhou_2016.nin(N_CLASSES))
        nn.init.ones_(net.get_submodule("cccp8-1024").bias)  # else its ReLU passes nothing on
    else:
        net = seeded(lambda: getattr(wsolevaluation, name)(N_CLASSES))
        net.load_state_dict(weights_for(net))
    batch, target = images(2, 224), target_of(net)
    for _ in range(2):
        record = capture(net, batch, [target], GRADIENTS, classes=CLASSES)
    expected = by_autograd(net, batch, target.layer, CLASSES)
    assert expected.any()
    torch.testing.assert_close(record.gradients, expected, rtol=1e-5, atol=0)
    assert is_used(net) == PAPERS.get(name, True)
