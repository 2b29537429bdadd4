"""One method must not harm another: what it changes is an error that names it."""

import copy
from contextlib import ExitStack

import numpy as np
import pytest
import torch

from wsol_bench import localization_maps
from wsol_bench.capture import Plan, Record, capture
from wsol_bench.common.catalog import METHODS
from wsol_bench.contracts.comparison import expect_unchanged
from wsol_bench.contracts.snapshots import network_snapshot, record_snapshot
from wsol_bench.contracts.toy_networks import (
    IMAGE_IDS,
    small_convolutional_network,
    small_network_of_two_branches,
    small_token_semantic_transformer,
    small_transformer,
)
from wsol_bench.errors import ModelError, NotApplicableError, PluginError
from wsol_bench.methods.base import MapMethod, cam_methods
from wsol_bench.methods.grad_cam import grad_cam


def record_of(toy=None):
    toy = toy or small_convolutional_network()
    return capture(
        copy.deepcopy(toy.module), toy.images.clone(), [toy.target], Plan(gradients=True),
        classes=toy.classes, image_ids=IMAGE_IDS,
    )  # fmt: skip


def method_of(change, *, gradients=True):
    """A method that makes a sound map, and does something else besides."""

    def function(record):
        maps = torch.einsum("bkchw,bchw->bkhw", record.gradients, record.activations)
        change(record)
        return maps

    return MapMethod("harmful", function, Plan(gradients=gradients), "")


def network(record):
    return record.probe.model


@torch.no_grad()
def halve(tensor):
    tensor.mul_(0.5)


def set_requires_grad(tensor):
    tensor.requires_grad_(True)


def first_weight(record):
    return next(network(record).parameters())


def replace_module(record):
    model = network(record)
    model.fc = copy.deepcopy(model.fc)


HARM = {
    "activations in place": (lambda r: r.activations.clamp_(min=0.3), "record.activations"),
    "a view of the activations": (lambda r: r.activations[:, 0].zero_(), "record.activations"),
    "the activations' .data": (lambda r: r.activations.data.mul_(2), "record.activations"),
    "the activations as numpy": (
        lambda r: np.multiply(r.activations.numpy(), 2, out=r.activations.numpy()),
        "record.activations at layer 'features'",
    ),
    "sorted activations": (lambda r: r.activations.numpy().sort(), "record.activations"),
    "gradients in place": (lambda r: r.gradients.relu_(), "record.gradients"),
    "class weights": (lambda r: halve(r.class_weights), "record.class_weights"),
    "logits": (lambda r: halve(r.logits), "record.logits"),
    "classes": (lambda r: r.classes.zero_(), "record.classes"),
    "images": (lambda r: halve(r.probe.images), "record.probe.images"),
    "images that require gradients": (
        lambda r: set_requires_grad(r.probe.images),
        "requires_grad=True",
    ),
    "other images": (
        lambda r: setattr(r.probe, "images", torch.zeros_like(r.probe.images)),
        "an attribute of record.probe was replaced",
    ),
    "a result that is kept": (
        lambda r: r.probe.pixel_gradients(r.classes).abs_(),
        "a result of record.probe was changed",
    ),
    "the .data of a kept result": (
        lambda r: r.probe.pixel_gradients(r.classes).data.abs_(),
        "a result of record.probe was changed",
    ),
    "a weight in place": (lambda r: halve(first_weight(r)), "of the network was changed in place"),
    "a weight's .data": (lambda r: first_weight(r).data.zero_(), "of the network was changed"),
    "another .data": (
        lambda r: setattr(first_weight(r), "data", torch.zeros_like(first_weight(r))),
        "of the network was replaced",
    ),
    "a frozen weight": (lambda r: first_weight(r).requires_grad_(False), "requires_grad=False"),
    "a gradient that is left": (
        lambda r: network(r)(r.probe.images).sum().backward(),
        "has another .grad",
    ),
    "the mode": (lambda r: network(r).features.train(), "training mode of features was changed"),
    "a hook that is left": (
        lambda r: network(r).register_forward_hook(lambda *args: None),
        "a hook of the network was changed",
    ),
    "another forward": (
        lambda r: setattr(network(r).fc, "forward", lambda x: x),
        "forward of fc was changed",
    ),
    "another module": (replace_module, "a module of the network was replaced"),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_change_of_what_others_read_is_an_error_that_names_the_method(harm: str) -> None:
    change, message = HARM[harm]
    with pytest.raises(PluginError, match="map method 'harmful': ") as caught:
        method_of(change)(record_of())
    assert message in str(caught.value)


def test_a_default_float_format_that_is_left_is_an_error() -> None:
    with ExitStack() as stack:
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        with pytest.raises(PluginError, match="torch's modes or global hooks were changed"):
            method_of(lambda record: torch.set_default_dtype(torch.float64))(record_of())


def test_a_method_that_is_not_applicable_is_watched_too() -> None:
    def function(record):
        record.activations.zero_()
        raise NotApplicableError("no head")

    with pytest.raises(PluginError, match=r"record\.activations"):
        MapMethod("harmful", function, Plan(), "")(record_of())


def test_a_network_that_is_changed_and_restored_is_no_error() -> None:
    def change(record):
        handle = network(record).register_forward_hook(lambda *args: None)
        handle.remove()
        first_weight(record).requires_grad_(False).requires_grad_(True)

    assert method_of(change)(record_of()).isfinite().all()


def test_localization_maps_watches_its_methods() -> None:
    toy = small_convolutional_network()
    images = toy.images.clone()
    methods = [method_of(lambda record: record.activations.zero_()), "grad_cam"]
    with pytest.raises(PluginError, match="harmful"):
        localization_maps(copy.deepcopy(toy.module), images, methods)


@pytest.mark.parametrize("name", METHODS.built_in)
def test_every_built_in_method_leaves_everything_unchanged(name: str) -> None:
    method = cam_methods.get(name)
    for small in (
        small_convolutional_network,
        small_transformer,
        small_token_semantic_transformer,
        small_network_of_two_branches,
    ):
        record = record_of(small())
        model, images = network(record), record.probe.images
        before = {**record_snapshot(record), **network_snapshot(model, images)}
        try:
            method(record)
        except NotApplicableError:
            continue
        expect_unchanged(before, {**record_snapshot(record), **network_snapshot(model, images)})
        return
    pytest.fail("the method applies to no small network")


def test_a_method_cannot_use_gradients_that_only_another_method_asked_for() -> None:
    toy = small_convolutional_network()
    method = method_of(lambda record: None, gradients=False)
    with pytest.raises(ModelError, match=r"'harmful': .*plan=Plan\(gradients=True\)"):
        localization_maps(toy.module, toy.images, [method, grad_cam])
    with pytest.raises(ModelError, match=r"'harmful': .*plan=Plan\(gradients=True\)"):
        localization_maps(toy.module, toy.images, [method])


def test_a_plan_without_gradients_costs_no_backward_pass() -> None:
    record = record_of()
    assert record.cost_for(Plan()).backward == 0
    assert record.cost_for(Plan(gradients=True)).backward == record.classes.numel()


def test_an_exception_in_a_method_is_one_error_with_its_place() -> None:
    def function(record: Record) -> torch.Tensor:
        return record.activations.view(7, 7, 7)

    expected = r"^map method 'mine': .*test_isolation\.py:\d+: RuntimeError: shape .* is invalid"
    with pytest.raises(PluginError, match=expected) as caught:
        MapMethod("mine", function, Plan(), "")(record_of())
    assert isinstance(caught.value.__cause__, RuntimeError)
