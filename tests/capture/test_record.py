"""A record holds several layers, each as if it were alone, and a selection of class slots."""

import pytest
import torch
from layered_networks import CLASSES, LAYERS, build, network_of, targets_of
from map_methods import assert_same
from networks import images, network
from torch import nn

from wsol_bench.capture import BestClasses, Plan, Record, capture
from wsol_bench.errors import ModelError
from wsol_bench.models.target_layers import Target, target_of

GRADIENTS = Plan(gradients=True)


@pytest.mark.parametrize("turned", [False, True], ids=["as they run", "turned round"])
@pytest.mark.parametrize("frozen", [False, True], ids=["", "frozen"])
@pytest.mark.parametrize("name", LAYERS)
def test_each_of_several_layers_is_recorded_as_if_alone(
    name: str, frozen: bool, turned: bool
) -> None:
    net = build(name).requires_grad_(not frozen)
    targets = targets_of(net, name)
    requested = targets[::-1] if turned else targets
    together = capture(net, images(), requested, GRADIENTS, classes=CLASSES)
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
    net = network_of(name)
    record = capture(net, images(), targets_of(net, name), Plan(), classes=CLASSES)
    for at, layer in enumerate(record.layers):
        assert layer.gradients is None
        with pytest.raises(ModelError, match="no gradients were recorded"):
            _ = record.at_layer(at).gradients


@pytest.mark.parametrize("missing", ["first", "second"])
def test_each_of_several_layers_must_run(missing: str) -> None:
    net = build("ResNet")
    net.unused = nn.Identity()
    targets = [Target("unused"), Target("layer4")]
    with pytest.raises(ModelError, match="layer 'unused' did not run"):
        capture(net, images(), targets if missing == "first" else targets[::-1], GRADIENTS)


def test_half_precision_is_recorded_in_float32_at_each_layer() -> None:
    net = network("ResNet")
    targets = targets_of(net, "ResNet")
    record = capture(net, images(), targets, GRADIENTS, precision="bf16")
    assert record.logits.dtype == torch.float32
    for layer in record.layers:
        assert layer.gradients is not None
        assert layer.activations.dtype == layer.gradients.dtype == torch.float32


def test_a_record_can_select_class_slots() -> None:
    net = network("ResNet")
    targets = [target_of(net, layer="layer3"), target_of(net)]
    record = capture(net, images(), targets, GRADIENTS, classes=BestClasses(4)).at_layer(0)
    slots = torch.tensor([[2, 0, 2], [1, 3, 0]])
    selected = record.select(slots)
    assert selected.at == 0
    assert selected.probe is record.probe
    for b, row in enumerate(slots.tolist()):
        for position, slot in enumerate(row):
            assert selected.classes[b, position] == record.classes[b, slot]
            for part, whole in zip(selected.layers, record.layers, strict=True):
                assert part.gradients is not None and whole.gradients is not None
                assert torch.equal(part.gradients[b, position], whole.gradients[b, slot])
                assert part.activations is whole.activations
    assert selected.layers[0].class_weights is None
    assert torch.equal(selected.layers[1].class_weights, net.fc.weight[selected.classes])
    without = capture(net, images(), targets, Plan(), classes=BestClasses(4)).select(slots)
    assert without.layer.gradients is None


def test_a_record_made_by_hand_has_no_network_to_ask() -> None:
    record = Record(torch.zeros(1, 2), torch.zeros(1, 1, dtype=torch.long), ())
    with pytest.raises(ModelError, match="record was made without a network"):
        _ = record.probe
