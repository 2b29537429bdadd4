"""Every map method keeps the contract, and who breaks a clause of it is told which."""

import inspect
import re
from functools import cache

import numpy as np
import pytest
import torch
from installed_plugin import installed_plugin

from wsol_bench.common.vocabulary import Verdict
from wsol_bench.contracts.map_method import CLAUSES, check
from wsol_bench.errors import ConfigError
from wsol_bench.methods.base import cam_methods

SENTENCES = [clause.sentence for clause in CLAUSES]
# Of methods that are costly: how few of what they draw or hide show all that the contract asks.
SMALL = {"samples": 2, "masks": 8, "steps": 2, "stride": 32}


# ---- what is built in


@cache
def verdicts_of(name: str) -> dict[str, Verdict]:
    method = cam_methods.get(name)
    options = {**SMALL, "samples": 1} if name == "ss_cam" else SMALL
    own = inspect.signature(method.function).parameters
    small = {key: value for key, value in options.items() if key in own}
    return {verdict.clause: verdict for verdict in check(method.with_options(small, name))}


# Other libraries' methods bear names with a slash: their adapters have tests of their own.
@pytest.mark.parametrize("name", [name for name in cam_methods if "/" not in name])
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
    assert "attention_rollout is not applicable to ShapesNet" in first.detail
    assert len(others) == len(CLAUSES)
    assert len(verdicts_of("grad_cam")) == len(CLAUSES)


def test_those_that_generalize_cam_say_so() -> None:
    claims = {name for name in cam_methods if "/" not in name}
    claims = {name for name in claims if cam_methods.get(name).generalizes_cam}
    assert claims == {"grad_cam", "hires_cam", "shapley_cam", "xgrad_cam"}


# ---- what is not


SHAPE, FORM, FINITE, CONSTANT, AGAIN, RANDOM, BATCH, ORDER, BESIDE, SHARED, FROZEN, NO_GRAD, \
    INFERENCE, MEMORY, RECORD, NETWORK, FAILING, CAM = SENTENCES  # fmt: skip

# By name in the plug-in: the clause that it breaks, and what the verdict says.
BROKEN = {
    "raises": (SHAPE, "ZeroDivisionError: on purpose"),
    "without_slots": (SHAPE, r"\(2, 4, 6\)"),
    "on_its_side": (SHAPE, "as the input lies, which is 64 x 96; found 6 x 4"),
    "double": (FORM, "expected float32; found torch.float64"),
    "attached": (FORM, "expected maps without a graph behind them; found requires_grad=True"),
    "nan": (FINITE, r"found \d+ values that are none in the map of image 0"),
    "constant": (CONSTANT, "not the same everywhere"),
    "false_claim": (CAM, r"as ReLU\(CAM\); found a map that differs by"),
    "unseeded": (AGAIN, "of the same record of the same images; found a map that differs by"),
    "seeds_the_caller": (RANDOM, "expected generators of its own .* those of torch moved"),
    "of_the_batch": (BATCH, "image [01] alone; found a map that differs by"),
    "of_the_order": (ORDER, "slots in another order; found a map that differs by"),
    "of_the_neighbors": (BESIDE, "slot 0 beside other classes; found a map that differs by"),
    "of_the_last_layer": (SHARED, r"record.at_layer\(0\) of two layers, .* shape \(2, 3, 1, 1\)"),
    "of_parameters": (FROZEN, "RuntimeError: "),
    "of_inference_mode": (INFERENCE, "RuntimeError: Inference tensors cannot be saved"),
    "of_memory": (MEMORY, "RuntimeError: view size is not compatible"),
    "in_place": (RECORD, "expected all as it was; found gradients: .* became"),
    "leaves_a_hook": (NETWORK, "the network._forward_hooks: .* became .*lambda"),
    "thaws": (NETWORK, "features.stem.1.weight.requires_grad: False became True|requires_grad"),
    "leaves_grad": (NETWORK, "fc.weight.grad: None became a tensor"),
    "leaves_evaluation_mode": (NETWORK, "training: True became False"),
    "swaps_a_module": (NETWORK, "pool itself"),
    "spoils_the_images": (NETWORK, "images: a tensor"),
    "swallows": (FAILING, "expected the error that the network raised; found none"),
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
    """With gradients tracked of its own, too, whatever the caller has switched off."""
    method = cam_methods.get(f"wsol-bench-example/{name}").with_options(options, "here")
    *verdicts, cam = check(method)
    assert [verdict for verdict in verdicts if not verdict.ok] == []
    assert cam == (SENTENCES[-1], None, "it does not say so (generalizes_cam=True)")


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_one_fails_its_clause_and_no_other(plugin, name):
    sentence, detail = BROKEN[name]
    verdicts = {one.clause: one for one in check(cam_methods.get(f"wsol-bench-example/{name}"))}
    assert [one.clause for one in verdicts.values() if one.ok is False] == [sentence]
    assert re.search(detail, verdicts[sentence].detail, re.DOTALL), verdicts[sentence].detail
    rest = {one.detail for one in verdicts.values() if one.ok is None}
    assert rest <= {
        "it does not say so (generalizes_cam=True)",
        f"not checked, as this does not hold: {sentence}",
    }


def test_every_clause_is_broken_by_one_of_them():
    """But for one: a method is called with gradients tracked, whatever its caller does."""
    assert {sentence for sentence, _ in BROKEN.values()} == {*SENTENCES} - {NO_GRAD}


def test_a_function_without_a_decorator_is_told_the_line_it_lacks(tmp_path, monkeypatch):
    (tmp_path / "bare_cam.py").write_text("def my_idea(record):\n    return record.activations\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r'above it: @cam_method\("my_idea", plan=Plan\('):
        cam_methods.get("bare_cam:my_idea")


def test_the_check_leaves_the_callers_random_numbers(plugin):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    assert not all(one.ok for one in check(cam_methods.get("wsol-bench-example/unseeded")))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
