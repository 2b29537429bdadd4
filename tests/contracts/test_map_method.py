"""Every map method keeps the contract, and a method that breaks a clause fails it alone."""

import inspect
import random
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from installed_plugin import installed_plugin
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.common.table import Column
from wsol_bench.contracts import verdict as verdict_module
from wsol_bench.contracts.map_method import CLAUSES, check_map_method
from wsol_bench.contracts.toy_networks import MethodCase, small_convolutional_network
from wsol_bench.contracts.verdict import Verdict
from wsol_bench.errors import ConfigError
from wsol_bench.methods.base import MapMethod, cam_methods
from wsol_bench.methods.cam import cam
from wsol_bench.methods.grad_cam import grad_cam

SENTENCES = [clause.sentence for clause in CLAUSES]
# Options of costly methods: so few samples, masks or steps show all that the contract asks.
SMALL = {"samples": 2, "masks": 8, "steps": 2, "stride": 32}


# ---- built-in methods


def in_zero_to_one(maps):
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (high - low)


def second_zero(maps):
    """The maps, those of the second image zero."""
    return maps.relu() * torch.tensor([1.0, 0.0])[:, None, None, None]


@cache
def verdicts_of(name: str) -> dict[str, Verdict]:
    method = cam_methods.get(name)
    options = {**SMALL, "samples": 1} if name == "ss_cam" else SMALL
    parameters = inspect.signature(method.function).parameters
    small = {key: value for key, value in options.items() if key in parameters}
    cheap = method.with_options(small, name)
    return {verdict.clause: verdict for verdict in check_map_method(cheap)}


# Each passes the network once a channel, in every clause.
OF_CHANNELS = {"ablation_cam", "is_cam", "score_cam", "ss_cam"}


def named(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.slow) if name in OF_CHANNELS else name


# Other libraries' methods have names with a slash; their adapters have tests of their own.
@pytest.mark.parametrize("name", [named(name) for name in cam_methods if "/" not in name])
@pytest.mark.parametrize("sentence", SENTENCES)
def test_every_method_keeps_the_contract(name: str, sentence: str) -> None:
    verdict = verdicts_of(name)[sentence]
    if sentence == SENTENCES[-1] and not cam_methods.get(name).generalizes_cam:
        assert verdict.ok is None
    else:
        assert verdict.ok, verdict.detail


def test_a_method_of_attention_is_checked_on_a_transformer() -> None:
    first, *others = verdicts_of("attention_rollout").values()
    assert first.ok is None
    assert first.clause == "it applies to the small convolutional network"
    assert "attention_rollout is not applicable to ShapesNet" in first.detail
    assert first.detail.endswith("; a small vision transformer takes its place")
    assert len(others) == len(CLAUSES)
    assert len(verdicts_of("grad_cam")) == len(CLAUSES)


def test_a_method_of_two_branches_is_checked_on_a_network_that_has_them() -> None:
    *inapplicable, last = list(verdicts_of("acol").values())[: -len(CLAUSES)]
    assert [verdict.clause for verdict in inapplicable] == [
        "it applies to the small convolutional network",
        "it applies to the small vision transformer",
    ]
    assert last.ok is None
    assert last.detail.endswith("; a small network of two branches takes its place")


def test_four_methods_claim_to_generalize_cam() -> None:
    claims = {name for name in cam_methods if "/" not in name}
    claims = {name for name in claims if cam_methods.get(name).generalizes_cam}
    assert claims == {"grad_cam", "hires_cam", "shapley_cam", "xgrad_cam"}


# ---- what a method measures of its maps


def measuring(value: Callable[[Record], Tensor]) -> MapMethod:
    def function(record: Record) -> tuple[Tensor, dict[str, Tensor]]:
        return grad_cam(record), {"mine": value(record)}

    column = Column("mine", "real", "a value")
    return MapMethod("mine", function, Plan(gradients=True), "", columns=(column,))


def own_score(record: Record) -> Tensor:
    return record.logits.gather(1, record.classes)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (lambda record: own_score(record) + len(record.logits), "of 'mine' for image 0 alone"),
        (lambda record: own_score(record) + random.random(), "of 'mine' from a second call"),
        (lambda record: own_score(record) - own_score(record)[:, :1], "in another order"),
        (lambda record: own_score(record) - own_score(record).mean(1, True), "beside other cla"),
        (lambda record: own_score(record) / 0, "finite values of 'mine'; found -?inf"),
    ],
)
def test_a_value_that_is_not_that_of_its_map_breaks_a_clause(value: Any, found: str) -> None:
    verdict = list(check_map_method(measuring(value)))[-1]
    assert verdict.ok is False
    assert re.search(found, verdict.detail)


@pytest.mark.parametrize("method", [measuring(own_score), cam_methods.get("full_grad")])
def test_values_of_their_maps_keep_the_contract(method: MapMethod) -> None:
    verdict = list(check_map_method(method))[-1]
    assert verdict.ok and "measures" in verdict.clause


# ---- methods of a plug-in


SHAPE, FORM, FINITE, CONSTANT, AS_MADE, AGAIN, RANDOM, BATCH, ORDER, BESIDE, SHARED, FROZEN, \
    NO_GRAD, INFERENCE, MEMORY, RECORD, NETWORK, FAILING, CAM = SENTENCES  # fmt: skip

# Methods of the plug-in by name: the clause that each breaks, and a pattern in its verdict.
BROKEN = {
    "raises": (SHAPE, "ZeroDivisionError: on purpose"),
    "without_slots": (SHAPE, r"\(2, 4, 6\)"),
    "on_its_side": (SHAPE, r"orientation of the input, 64 x 96 .*; found 6 x 4"),
    "double": (FORM, "expected float32; found torch.float64"),
    "attached": (FORM, "expected maps that are detached from the graph; found requires_grad=True"),
    "nan": (FINITE, r"found \d+ NaN or infinite values in the map of image 0"),
    "constant": (CONSTANT, r"expected a map whose values differ; found [\d.e-]+ everywhere"),
    "false_claim": (CAM, r"as ReLU\(CAM\), in units of the maximum; found a map that differs by"),
    "unseeded": (AGAIN, "on the same record of the same images; found a map that differs by"),
    "seeds_the_caller": (RANDOM, "record.probe.noise alone; found a changed state .* of torch$"),
    "of_the_batch": (BATCH, "for image [01] alone; found a map that differs by"),
    "of_the_order": (ORDER, "for class slots in another order; found a map that differs by"),
    "of_the_neighbors": (BESIDE, "for slot 0 beside other classes; found a map that differs by"),
    "of_the_last_layer": (SHARED, r"record.at_layer\(0\) of two layers, .* shape \(2, 3, 1, 1\)"),
    "of_parameters": (FROZEN, "RuntimeError: "),
    "of_inference_mode": (INFERENCE, "RuntimeError: Inference tensors cannot be saved"),
    "of_memory": (MEMORY, "RuntimeError: view size is not compatible"),
    "in_place": (RECORD, "expected no change; found gradients: .* became"),
    "leaves_a_hook": (NETWORK, "the network._forward_hooks: .* became .*lambda"),
    "thaws": (NETWORK, "features.stem.1.weight.requires_grad: False became True|requires_grad"),
    "leaves_grad": (NETWORK, "fc.weight.grad: None became a tensor"),
    "leaves_evaluation_mode": (NETWORK, "training: True became False"),
    "swaps_a_module": (NETWORK, "pool itself"),
    "spoils_the_images": (NETWORK, "images: a tensor"),
    "swallows": (FAILING, "expected the error that the network raised; found no error"),
    "patches": (FAILING, "pool.forward: None became"),
}  # fmt: skip


SOUND = {"positive", "by_autograd"}


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    with installed_plugin(tmp_path_factory.mktemp("site-packages")) as folder:
        yield folder


def test_the_plugin_is_found_by_its_entry_points(plugin):
    offered = {name.partition("/")[2] for name in cam_methods if "wsol-bench-example/" in name}
    assert offered == {*SOUND, *BROKEN}


@pytest.mark.parametrize(
    ("name", "options"),
    [("positive", {}), ("positive", {"power": 2.0, "samples": 3}), ("by_autograd", {})],
    ids=str,
)
def test_a_sound_plugin_passes(plugin, name, options):
    """One takes gradients of its own, whatever the caller has switched off."""
    method = cam_methods.get(f"wsol-bench-example/{name}").with_options(options, "here")
    *verdicts, cam = check_map_method(method)
    assert [verdict for verdict in verdicts if not verdict.ok] == []
    assert cam == (
        SENTENCES[-1],
        None,
        "the method does not claim that (with generalizes_cam=True)",
    )


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_method_fails_its_clause_and_no_other(plugin, name):
    sentence, pattern = BROKEN[name]
    method = cam_methods.get(f"wsol-bench-example/{name}")
    verdicts = {verdict.clause: verdict for verdict in check_map_method(method)}
    assert [clause for clause, verdict in verdicts.items() if verdict.ok is False] == [sentence]
    assert re.search(pattern, verdicts[sentence].detail, re.DOTALL), verdicts[sentence].detail
    unchecked = {verdict.detail for verdict in verdicts.values() if verdict.ok is None}
    assert unchecked <= {
        "the method does not claim that (with generalizes_cam=True)",
        f"not checked, because this clause failed: {sentence}",
    }


def test_every_clause_but_two_is_broken_by_a_method():
    """A method is called with gradients on, whatever its caller does; the other clause warns."""
    broken = {sentence for sentence, _ in BROKEN.values()}
    assert broken == {*SENTENCES} - {NO_GRAD, AS_MADE}


@pytest.mark.parametrize(
    ("change", "clause", "expected"),
    [
        (lambda maps: F.interpolate(maps, (64, 96)), AS_MADE, "the size of the input, 64 x 96"),
        (in_zero_to_one, AS_MADE, "each map has the minimum 0 and the maximum 1"),
        (second_zero, CONSTANT, "of 2 maps of labels 1 zero everywhere"),
        (lambda maps: second_zero(maps) - 1, CONSTANT, "of 2 maps of labels 1 without a positive"),
        (lambda maps: second_zero(maps) + 1, CONSTANT, "of 2 maps of labels 1 constant"),
    ],
)
def test_odd_maps_are_a_warning(change, clause, expected):
    method = MapMethod("odd", lambda record: change(cam.function(record)), Plan(), "")
    case = MethodCase(method, small_convolutional_network())
    [checked] = [checked for checked in CLAUSES if checked.sentence == clause]
    [verdict] = verdict_module.verdicts_of([replace(checked, needs=())], case)
    assert verdict.ok
    assert expected in verdict.detail


def test_a_function_without_a_decorator_is_told_the_line_it_lacks(tmp_path, monkeypatch):
    (tmp_path / "bare_cam.py").write_text("def my_idea(record):\n    return record.activations\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r'above it: @cam_method\("my_idea", plan=Plan\('):
        cam_methods.get("bare_cam:my_idea")


def test_the_check_leaves_the_callers_random_numbers(plugin):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    verdicts = check_map_method(cam_methods.get("wsol-bench-example/unseeded"))
    assert not all(verdict.ok for verdict in verdicts)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
