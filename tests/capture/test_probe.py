"""What a probe finds when it asks the network again, and what it charges for that."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from wsol_bench.capture import BestClasses, Plan, Probe, Record, capture
from wsol_bench.errors import ModelError
from wsol_bench.models.target_layers import Target, target_of

N_CLASSES = 6
GRADIENTS = Plan(gradients=True)
CLASSES = torch.tensor([[4, 1], [0, 5]])


def images(n: int = 2, *, seed: int = 5) -> Tensor:
    return torch.randn(n, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


class Parallel(nn.Module):
    """Two branches of one stem; the second does not depend on the first."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.left = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Tanh())
        self.right = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Sigmoid())
        self.fc = nn.Linear(4, N_CLASSES)

    def forward(self, batch: Tensor) -> Tensor:
        x = self.stem(batch)
        left = self.left(x).mean((2, 3))
        return self.fc(left * self.right(x).mean((2, 3)))


def small_vit() -> nn.Module:
    vit = models.VisionTransformer(64, 16, 3, 2, 32, 64, num_classes=N_CLASSES)
    nn.init.normal_(vit.heads.head.weight)  # it is zero at first, and so were every gradient
    return vit


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: models.resnet18(num_classes=N_CLASSES),
    "densenet": lambda: models.DenseNet(8, (2, 2), 16, num_classes=N_CLASSES),
    "vit": small_vit,
    "parallel": Parallel,
}
LAYERS = {
    "resnet18": ["layer2", "layer4.1", "layer4"],
    "densenet": ["features.denseblock1", "features"],
    "vit": ["encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_2.ln_1"],
    "parallel": ["left", "right"],
}


def build(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BUILDERS[name]().eval()


@cache
def network(name: str) -> nn.Module:
    return build(name)


def targets_of(net: nn.Module, name: str) -> list[Target]:
    if name == "parallel":
        return [Target(layer) for layer in LAYERS[name]]
    return [target_of(net, layer=layer) for layer in LAYERS[name]]


def probe_of(net: nn.Module, batch: Tensor, **options: object) -> Probe:
    return Probe(net, batch, [target_of(net)], **options)  # type: ignore[arg-type]


def assert_same(found: Tensor | None, expected: Tensor | None) -> None:
    assert found is not None and expected is not None
    size = expected.abs().max()
    assert size > 0
    torch.testing.assert_close(found / size, expected / size, rtol=0, atol=1e-4)


# ---- several layers of one pass


@pytest.mark.parametrize("turned", [False, True], ids=["as they run", "turned round"])
@pytest.mark.parametrize("frozen", [False, True], ids=["", "frozen"])
@pytest.mark.parametrize("name", LAYERS)
def test_each_of_several_layers_is_what_it_is_alone(name: str, frozen: bool, turned: bool) -> None:
    net = build(name).requires_grad_(not frozen)
    targets = targets_of(net, name)
    asked = targets[::-1] if turned else targets
    together = capture(net, images(), asked, GRADIENTS, classes=CLASSES)
    assert [layer.name for layer in together.layers] == LAYERS[name]
    for at, target in enumerate(targets):
        alone = capture(net, images(), [target], GRADIENTS, classes=CLASSES)
        of_layer = together.at_layer(at)
        assert of_layer.layer.name == target.layer
        assert_same(of_layer.logits, alone.logits)
        assert_same(of_layer.activations, alone.activations)
        assert_same(of_layer.gradients, alone.gradients)
        assert (of_layer.layer.class_weights is None) == (target.head is None)
    assert together.layer is together.layers[-1]


@pytest.mark.parametrize("name", LAYERS)
def test_without_a_plan_for_gradients_several_layers_have_none(name: str) -> None:
    net = network(name)
    record = capture(net, images(), targets_of(net, name), Plan(), classes=CLASSES)
    for at, layer in enumerate(record.layers):
        assert layer.gradients is None
        with pytest.raises(ModelError, match="no gradients were recorded"):
            _ = record.at_layer(at).gradients


@pytest.mark.parametrize("missing", ["first", "second"])
def test_each_of_several_layers_must_run(missing: str) -> None:
    net = build("resnet18")
    net.unused = nn.Identity()
    targets = [Target("unused"), Target("layer4")]
    with pytest.raises(ModelError, match="layer 'unused' did not run"):
        capture(net, images(), targets if missing == "first" else targets[::-1], GRADIENTS)


def test_half_precision_is_recorded_in_float32_at_each_layer() -> None:
    net = network("resnet18")
    targets = targets_of(net, "resnet18")
    record = capture(net, images(), targets, GRADIENTS, precision="bf16")
    assert record.logits.dtype == torch.float32
    for layer in record.layers:
        assert layer.gradients is not None
        assert layer.activations.dtype == layer.gradients.dtype == torch.float32


def test_slots_of_a_record() -> None:
    net = network("resnet18")
    targets = [target_of(net, layer="layer3"), target_of(net)]
    record = capture(net, images(), targets, GRADIENTS, classes=BestClasses(4)).at_layer(0)
    slots = torch.tensor([[2, 0, 2], [1, 3, 0]])
    some = record.select(slots)
    assert some.at == 0
    assert some.probe is record.probe
    for b, row in enumerate(slots.tolist()):
        for position, slot in enumerate(row):
            assert some.classes[b, position] == record.classes[b, slot]
            for mine, all_of_it in zip(some.layers, record.layers, strict=True):
                assert mine.gradients is not None and all_of_it.gradients is not None
                assert torch.equal(mine.gradients[b, position], all_of_it.gradients[b, slot])
                assert mine.activations is all_of_it.activations
    assert some.layers[0].class_weights is None
    assert torch.equal(some.layers[1].class_weights, net.fc.weight[some.classes])
    without = capture(net, images(), targets, Plan(), classes=BestClasses(4)).select(slots)
    assert without.layer.gradients is None


def test_a_record_by_hand_has_no_network_to_ask() -> None:
    record = Record(torch.zeros(1, 2), torch.zeros(1, 1, dtype=torch.long), ())
    with pytest.raises(ModelError, match="record was made without a network"):
        _ = record.probe


# ---- gradients inside of the network


def by_autograd(
    net: nn.Module, batch: Tensor, names: list[str], classes: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    taken: dict[str, Tensor] = {}

    def note(name: str) -> Callable[[nn.Module, object, Tensor], Tensor]:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            taken[name] = output
            return output * 1  # a ReLU behind it works in place

        return hook

    handles = [net.get_submodule(name).register_forward_hook(note(name)) for name in names]
    logits = net(batch.clone().requires_grad_())
    for handle in handles:
        handle.remove()
    gradients = {
        name: torch.stack(
            [
                torch.autograd.grad(score.sum(), output, retain_graph=True)[0]
                for score in logits.gather(1, classes).unbind(1)
            ],
            dim=1,
        )
        for name, output in taken.items()
    }
    return {name: (taken[name].detach(), gradients[name]) for name in names}


def test_gradients_at_modules_are_those_of_autograd() -> None:
    net, names = network("resnet18"), ["layer3", "conv1", "fc", "layer1.0.bn1", "layer3.0.conv1"]
    found = probe_of(net, images()).gradients_at(names, CLASSES)
    expected = by_autograd(net, images(), names, CLASSES)
    assert set(found) == set(names)
    for name in names:
        assert_same(found[name][0], expected[name][0])
        assert_same(found[name][1], expected[name][1])
    assert torch.equal(found["fc"][1], nn.functional.one_hot(CLASSES, N_CLASSES).float())


def test_of_a_module_that_runs_twice_the_last_time_counts() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Conv2d(3, 3, 1, groups=3, bias=False)
            nn.init.constant_(self.scale.weight, 2)

        def forward(self, batch: Tensor) -> Tensor:
            return self.scale(self.scale(batch)).sum((2, 3)).repeat(1, 2)

    probe = Probe(Twice(), images(), [Target("scale")])
    output, gradients = probe.gradients_at(["scale"], CLASSES)["scale"]
    torch.testing.assert_close(output, 4 * images())
    channels = nn.functional.one_hot(CLASSES % 3, 3)[..., None, None]
    assert torch.equal(gradients, channels.expand(2, 2, 3, 64, 64).float())


def test_what_did_not_run_is_left_out_and_what_is_no_module_is_an_error() -> None:
    net = build("resnet18")
    net.unused = nn.Identity()
    probe = probe_of(net, images())
    assert list(probe.gradients_at(["unused", "layer4"], CLASSES)) == ["layer4"]
    with pytest.raises(ModelError, match=r"ResNet has no layer 'layer5'"):
        probe.gradients_at(["layer5"], CLASSES)


# ---- other images


def test_a_record_of_other_images_is_their_capture() -> None:
    net = network("resnet18")
    targets = [target_of(net, layer="layer2"), target_of(net)]
    other = images(seed=6)
    record = capture(net, images(), targets, Plan(), classes=CLASSES)
    found = record.probe.record(other, CLASSES.flip(1))
    expected = capture(net, other, targets, GRADIENTS, classes=CLASSES.flip(1))
    assert torch.equal(found.classes, expected.classes)
    assert_same(found.logits, expected.logits)
    for mine, theirs in zip(found.layers, expected.layers, strict=True):
        assert mine.name == theirs.name
        assert_same(mine.activations, theirs.activations)
        assert_same(mine.gradients, theirs.gradients)
    assert torch.equal(found.probe.images, other)
    assert torch.equal(record.probe.images, images())


def test_other_images_may_be_any_number() -> None:
    net = network("resnet18")
    probe, other = probe_of(net, images()), images(3, seed=6)
    with torch.no_grad():
        assert_same(probe.logits(other), net(other))
    classes = torch.tensor([[1], [4], [0]])
    found = probe.pixel_gradients(classes, images=other)
    pixels = other.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(pixels).gather(1, classes).sum(), pixels)
    assert_same(found[:, 0], expected)


# ---- what keys the noise


def draws(probe: Probe, seed: int) -> Tensor:
    return torch.stack([torch.randn(8, generator=each) for each in probe.noise(seed)])


def test_noise_is_keyed_by_seed_and_image() -> None:
    net = network("resnet18")
    both = probe_of(net, images(), image_ids=["a", "b"])
    noise = draws(both, 0)
    assert torch.equal(draws(both, 0), noise)  # from the start, whoever asks
    assert torch.equal(draws(probe_of(net, images(), image_ids=["b", "a"]), 0), noise.flip(0))
    assert torch.equal(draws(probe_of(net, images(1), image_ids=["b"]), 0), noise[1:])
    assert not torch.isclose(noise[0], noise[1]).any()
    assert not torch.isclose(draws(both, 1), noise).any()
    assert not torch.isclose(draws(both, -1), noise).any()


def test_nobodys_images_are_named_by_what_they_show() -> None:
    net, batch = network("resnet18"), images(3)
    batch[2] = batch[0]
    ids = probe_of(net, batch).image_ids
    assert ids[0] == ids[2] != ids[1]
    assert all(len(name) == 64 for name in ids)
    assert list(probe_of(net, batch[1:2]).image_ids) == [ids[1]]
    assert list(probe_of(net, batch.flip(0)).image_ids) == list(ids)[::-1]
    channels_last = batch.contiguous(memory_format=torch.channels_last)
    assert list(probe_of(net, channels_last).image_ids) == list(ids)
    record = capture(net, batch[:2], [target_of(net)], Plan(), image_ids=["x", "y"])
    assert list(record.probe.image_ids) == ["x", "y"]


# ---- what it costs


def counts(probe: Probe) -> tuple[int, int, int]:
    return probe.cost.forward, probe.cost.backward, probe.cost.head


def test_each_question_has_its_price() -> None:
    net = network("resnet18")
    record = capture(net, images(), [target_of(net)], Plan(), classes=CLASSES)
    probe = record.probe
    assert counts(probe) == (0, 0, 0)  # the pass that all share is nobody's question
    with probe.metered() as cost:
        probe.logits(images(3))
        assert counts(probe) == (3, 0, 0)
        probe.record(images(), CLASSES)
        assert counts(probe) == (5, 4, 0)
        probe.gradients_at(["layer4"], CLASSES)
        assert counts(probe) == (7, 8, 0)
        probe.pixel_gradients(CLASSES[:, :1])
        assert counts(probe) == (9, 10, 0)
        of = torch.tensor([0, 0, 1])
        probe.head(record.activations[of], of)
        assert counts(probe) == (11, 10, 3)  # and a pass to note what stands around
        probe.head(record.activations[of], of)
        assert counts(probe) == (11, 10, 6)
    with probe.metered():
        probe.head(record.activations[of], of)
        assert counts(probe) == (2, 0, 3)  # as if nobody else had asked
    assert probe.cost is not cost
    assert cost.seconds() > 0


def test_what_is_metered_within_counts_around_it_too() -> None:
    probe = probe_of(network("resnet18"), images())
    with probe.metered() as outer:
        probe.logits(images(1))
        with probe.metered() as inner:
            probe.logits(images(2))
            probe.pixel_gradients(CLASSES)
        probe.logits(images(3))
    assert (inner.forward, inner.backward) == (4, 4)
    assert (outer.forward, outer.backward) == (8, 4)
    assert 0 < inner.seconds() < outer.seconds()
    assert len(inner.spans) == len(outer.spans) == 1


def test_what_was_asked_before_is_charged_with_its_work_and_time() -> None:
    net = build("resnet18")
    runs = []
    net.register_forward_hook(lambda module, inputs, output: runs.append(len(output)))
    probe = probe_of(net, images())
    costs = []
    for _ in range(3):
        with probe.metered() as cost:
            probe.pixel_gradients(CLASSES)
        costs.append(cost)
    assert runs == [2]
    assert [(cost.forward, cost.backward) for cost in costs] == [(2, 4)] * 3
    assert [len(cost.spans) for cost in costs] == [1, 2, 2]
    assert costs[2].seconds() > costs[0].seconds() / 2
    probe.pixel_gradients(CLASSES.flip(1))
    probe.pixel_gradients(CLASSES, rule="guided")
    probe.pixel_gradients(CLASSES, images=images())
    assert runs == [2] * 4


def test_a_question_that_fails_is_over_and_can_be_asked_again() -> None:
    net = build("resnet18")
    probe = probe_of(net, images())
    expected = probe_of(net, images()).pixel_gradients(CLASSES)
    before = probe.cost
    handle = net.fc.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of luck"), probe.metered():
        probe.pixel_gradients(CLASSES)
    handle.remove()
    assert probe.cost is before
    assert_same(probe.pixel_gradients(CLASSES), expected)


# ---- the network is left as it was found


def fail(*_: object) -> None:
    raise RuntimeError("out of luck")


@contextmanager
def traceless(net: nn.Module) -> Iterator[None]:
    def trace() -> list[object]:
        return [
            [module.training for module in net.modules()],
            [(value.requires_grad, value.grad) for value in net.parameters()],
            [sorted(vars(module)) for module in net.modules()],
            [
                list(value)
                for module in net.modules()
                for kind, value in vars(module).items()
                if kind.endswith("_hooks")
            ],
            torch.is_grad_enabled(),
            torch.overrides._get_current_function_mode_stack(),
        ]

    before = trace()
    yield
    assert trace() == before


QUESTIONS: dict[str, Callable[[Probe], object]] = {
    "logits": lambda probe: probe.logits(images()),
    "record": lambda probe: probe.record(images(), CLASSES),
    "gradients_at": lambda probe: probe.gradients_at(["layer2", "bn1"], CLASSES),
    "pixel_gradients": lambda probe: probe.pixel_gradients(CLASSES),
    "guided": lambda probe: probe.pixel_gradients(CLASSES, rule="guided"),
    "head": lambda probe: probe.head(torch.rand(2, 512, 2, 2), torch.tensor([0, 1])),
}


@pytest.mark.parametrize("failing", [False, True], ids=["", "failing"])
@pytest.mark.parametrize("grad_mode", [True, False])
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_network_is_left_as_it_was_found(question: str, grad_mode: bool, failing: bool) -> None:
    net = build("resnet18").train()
    net.layer1.eval()
    for index, parameter in enumerate(net.parameters()):
        parameter.requires_grad_(index % 2 == 0)
    if failing:
        net.fc.register_forward_hook(fail)
    probe, batch = probe_of(net, images()), images()
    with torch.set_grad_enabled(grad_mode), traceless(net):
        if failing:
            with pytest.raises(RuntimeError, match="out of luck"):
                QUESTIONS[question](probe)
        else:
            QUESTIONS[question](probe)
    assert torch.equal(probe.images, batch) and not probe.images.requires_grad
