"""A probe asks the network again, counts what that costs, and leaves the network as it was."""

from collections.abc import Callable

import pytest
import torch
from layered_networks import CLASSES
from map_methods import assert_same
from networks import N_CLASSES, build_network, images, network
from torch import Tensor, nn
from traces import fail, unchanged

from wsol_bench.capture import Plan, Probe, capture
from wsol_bench.errors import ModelError
from wsol_bench.models.target_layers import Target, target_of

GRADIENTS = Plan(gradients=True)


def probe_of(net: nn.Module, batch: Tensor, **options: object) -> Probe:
    return Probe(net, batch, [target_of(net)], **options)  # type: ignore[arg-type]


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
    net, names = network("ResNet"), ["layer3", "conv1", "fc", "layer1.0.bn1", "layer3.0.conv1"]
    result = probe_of(net, images()).gradients_at(names, CLASSES)
    expected = by_autograd(net, images(), names, CLASSES)
    assert set(result) == set(names)
    for name in names:
        assert_same(result[name][0], expected[name][0])
        assert_same(result[name][1], expected[name][1])
    assert torch.equal(result["fc"][1], nn.functional.one_hot(CLASSES, N_CLASSES).float())


def test_the_last_output_counts_if_a_module_runs_twice() -> None:
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


def test_a_module_that_did_not_run_is_left_out_and_an_unknown_module_is_an_error() -> None:
    net = build_network("ResNet")
    net.unused = nn.Identity()
    probe = probe_of(net, images())
    assert list(probe.gradients_at(["unused", "layer4"], CLASSES)) == ["layer4"]
    with pytest.raises(ModelError, match=r"ResNet has no layer 'layer5'"):
        probe.gradients_at(["layer5"], CLASSES)


# ---- other images


def test_a_record_of_other_images_equals_their_capture() -> None:
    net = network("ResNet")
    targets = [target_of(net, layer="layer2"), target_of(net)]
    other = images(seed=6)
    record = capture(net, images(), targets, Plan(), classes=CLASSES)
    result = record.probe.record(other, CLASSES.flip(1))
    expected = capture(net, other, targets, GRADIENTS, classes=CLASSES.flip(1))
    assert torch.equal(result.classes, expected.classes)
    assert_same(result.logits, expected.logits)
    for layer, expected_layer in zip(result.layers, expected.layers, strict=True):
        assert layer.name == expected_layer.name
        assert_same(layer.activations, expected_layer.activations)
        assert_same(layer.gradients, expected_layer.gradients)
    assert torch.equal(result.probe.images, other)
    assert torch.equal(record.probe.images, images())


def test_other_images_may_be_any_number() -> None:
    net = network("ResNet")
    probe, other = probe_of(net, images()), images(3, seed=6)
    with torch.no_grad():
        assert_same(probe.logits(other), net(other))
    classes = torch.tensor([[1], [4], [0]])
    result = probe.pixel_gradients(classes, images=other)
    pixels = other.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(pixels).gather(1, classes).sum(), pixels)
    assert_same(result[:, 0], expected)


# ---- what keys the noise


def draws(probe: Probe, seed: int) -> Tensor:
    return torch.stack([torch.randn(8, generator=each) for each in probe.noise(seed)])


def test_noise_is_keyed_by_seed_and_image() -> None:
    net = network("ResNet")
    both = probe_of(net, images(), image_ids=["a", "b"])
    noise = draws(both, 0)
    assert torch.equal(draws(both, 0), noise)  # each caller gets the noise from its start
    assert torch.equal(draws(probe_of(net, images(), image_ids=["b", "a"]), 0), noise.flip(0))
    assert torch.equal(draws(probe_of(net, images(1), image_ids=["b"]), 0), noise[1:])
    assert not torch.isclose(noise[0], noise[1]).any()
    assert not torch.isclose(draws(both, 1), noise).any()
    assert not torch.isclose(draws(both, -1), noise).any()


def test_images_without_ids_get_digests_of_their_pixels() -> None:
    net, batch = network("ResNet"), images(3)
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
    net = network("ResNet")
    record = capture(net, images(), [target_of(net)], Plan(), classes=CLASSES)
    probe = record.probe
    assert counts(probe) == (0, 0, 0)  # the shared pass is not charged to the probe
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
        assert counts(probe) == (11, 10, 3)  # with one pass that notes the modules before the layer
        probe.head(record.activations[of], of)
        assert counts(probe) == (11, 10, 6)
    with probe.metered():
        probe.head(record.activations[of], of)
        assert counts(probe) == (2, 0, 3)  # as if no other method had asked
    assert probe.cost is not cost
    assert cost.seconds() > 0


def test_costs_of_an_inner_meter_count_in_the_outer_meter() -> None:
    probe = probe_of(network("ResNet"), images())
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


def test_a_kept_answer_is_charged_with_its_work_and_time() -> None:
    net = build_network("ResNet")
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


def test_a_question_that_fails_can_be_asked_again() -> None:
    net = build_network("ResNet")
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
def test_the_network_is_left_unchanged(question: str, grad_mode: bool, failing: bool) -> None:
    net = build_network("ResNet").train()
    net.layer1.eval()
    for index, parameter in enumerate(net.parameters()):
        parameter.requires_grad_(index % 2 == 0)
    if failing:
        net.fc.register_forward_hook(fail)
    probe, batch = probe_of(net, images()), images()
    with torch.set_grad_enabled(grad_mode), unchanged(net):
        if failing:
            with pytest.raises(RuntimeError, match="out of luck"):
                QUESTIONS[question](probe)
        else:
            QUESTIONS[question](probe)
    assert torch.equal(probe.images, batch) and not probe.images.requires_grad
