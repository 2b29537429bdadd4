"""Checkpoints of trainings: prefixes, several state_dicts, objects beside the tensors."""

import argparse
import collections
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_squeezenet import SIDE, squeezenet
from torch import Tensor, nn

from wsol_bench.errors import ModelError
from wsol_bench.models.checkpoints import read_weights
from wsol_bench.models.classifiers import Classifier, load_classifier

State = dict[str, Tensor]
HEAD = ("classifier.1.weight", "classifier.1.bias")


@pytest.fixture(scope="module")
def state(net: nn.Module) -> State:
    return dict(net.state_dict())


@pytest.fixture(scope="module")
def ema() -> State:
    return dict(squeezenet(seed=2).state_dict())


@pytest.fixture
def load(classes: Path, tmp_path: Path) -> Callable[..., Classifier]:
    def load(content: Any, key: str | None = None, **save: Any) -> Classifier:
        path = tmp_path / "weights.pth"
        torch.save(content, path, **save)
        return load_path(path, classes, key)

    return load


def load_path(path: Path, classes: Path, key: str | None = None) -> Classifier:
    return load_classifier(
        "squeezenet1_1", weights=str(path), classes=classes, key=key, input_size=SIDE
    )


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


def assert_holds(loaded: Classifier, state: State) -> None:
    own = loaded.module.state_dict()
    assert all(torch.equal(own[key], value) for key, value in state.items())


# ---- prefixes


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",  # DataParallel, DistributedDataParallel
        "_orig_mod.",  # torch.compile
        "module._orig_mod.", "_orig_mod.module.",  # in either order
        "model.", "model._orig_mod.", "net.",  # Lightning
        "backbone.", "module.encoder.", "_forward_module.model.",
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_prefix_of_all_keys_is_left_out_if_they_fit_without(
    suffix: str, prefix: str, state: State, classes: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    save = torch.save if suffix == ".pth" else save_file
    save(prefixed(state, prefix), path)
    loaded = load_path(path, classes)
    assert_holds(loaded, state)
    assert loaded.weights_from.startswith(str(path))


def test_where_weights_come_from_says_how_keys_were_read(state: State, load: Any) -> None:
    assert "keys" not in load(state).weights_from
    loaded = load({"state_dict": prefixed(state, "model."), "epoch": 3})
    assert loaded.weights_from.startswith("'state_dict' in ")
    assert loaded.weights_from.endswith("weights.pth; all keys without their beginning 'model.'")


@pytest.mark.parametrize("wrapper", ["module", "_orig_mod", "_fsdp_wrapped_module"])
def test_a_wrapper_within_the_network_is_left_out(wrapper: str, state: State, load: Any) -> None:
    # The ImageNet example of PyTorch wraps `features` of AlexNet and VGG alone.
    inner = {key.replace("features.", f"features.{wrapper}."): state[key] for key in state}
    loaded = load({"state_dict": inner})
    assert_holds(loaded, state)
    assert loaded.weights_from.endswith("keys without the names of wrappers")
    assert_holds(load(prefixed(inner, "model.")), state)


def test_a_prefix_that_the_network_has_itself_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State, classes: Path
) -> None:
    (tmp_path / "wrapping.py").write_text(
        "from torch import nn\nfrom torchvision import models\n"
        "def net(num_classes):\n"
        "    squeezenet = models.squeezenet1_1(num_classes=num_classes)\n"
        "    net = nn.Module()\n    net.module = squeezenet\n    net.forward = squeezenet.forward\n"
        "    return net\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = prefixed(state, "module.")
    for prefix in ("", "module."):
        torch.save(prefixed(own, prefix), tmp_path / "weights.pth")
        loaded = load_classifier(
            "wrapping:net", weights=str(tmp_path / "weights.pth"), classes=classes,
            layer="module.features", input_size=SIDE,
        )  # fmt: skip
        assert_holds(loaded, own)


@pytest.mark.parametrize("counter", ["n_averaged", "steps"])
def test_the_counter_of_an_averaged_model_is_left_out(
    counter: str, state: State, load: Any
) -> None:
    assert_holds(load({counter: torch.tensor(3), **prefixed(state, "module.")}), state)


# ---- several state_dicts


def test_of_several_state_dicts_the_trained_one_is_read_and_the_others_are_named(
    state: State, ema: State, load: Any
) -> None:
    # torchvision's references; the averaged model counts, and has a prefix.
    averaged = {"n_averaged": torch.tensor(3), **prefixed(ema, "module.")}
    content = {"model": state, "optimizer": {"state": {}}, "model_ema": averaged, "epoch": 3}
    loaded = load(content)
    assert_holds(loaded, state)
    assert "(which also holds 'model_ema': 'key:' chooses)" in loaded.weights_from
    chosen = load(content, "model_ema")
    assert_holds(chosen, ema)
    assert chosen.weights_from.startswith("'model_ema' in ")
    assert chosen.fingerprint != loaded.fingerprint


def test_a_choice_that_nothing_decides_is_an_error(state: State, ema: State, load: Any) -> None:
    # DINO's checkpoints.
    content = {
        "student": prefixed(ema, "module.backbone."),
        "teacher": prefixed(state, "backbone."),
        "epoch": 3,
    }
    message = r"holds 2 state_dicts: student, teacher; choose one with .*'key: student'"
    with pytest.raises(ModelError, match=message):
        load(content)
    assert_holds(load(content, "teacher"), state)
    assert_holds(load(content, "student"), ema)


def test_the_only_state_dict_is_read_whatever_its_name(state: State, load: Any) -> None:
    assert_holds(load({"ema": state, "best": torch.tensor(0.7), "epoch": 3}), state)


def test_an_entry_without_weights_is_no_choice(state: State, load: Any) -> None:
    content = {"model": {"depth": 3}, "weights": state, "optimizer": {"state": {}}}
    assert_holds(load(content), state)


@pytest.mark.parametrize("key", ["a.b", "a.b.net", "a.b.net.more"])
def test_a_key_goes_through_entries_and_prefixes(key: str, state: State, load: Any) -> None:
    assert_holds(load({"a": {"b": prefixed(state, "net.more.")}}, key), state)


def test_a_key_chooses_by_a_prefix_of_safetensors(
    state: State, ema: State, classes: Path, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({**prefixed(state, "model."), **prefixed(ema, "ema.")}, path)
    assert_holds(load_path(path, classes, "ema"), ema)
    with pytest.raises(ModelError, match=r"begin with 'ema.' or 'model.' do; choose with"):
        load_path(path, classes)


def test_a_key_that_the_file_lacks_is_an_error_with_those_that_it_has(
    state: State, load: Any
) -> None:
    content = {"model": state, "ema": prefixed(state, "net.")}
    with pytest.raises(ModelError, match=r"no weights under key 'emma'; .* model, ema$"):
        load(content, "emma")
    message = r"no weights under key 'ema.model'; .*keys in 'ema' begin with: net"
    with pytest.raises(ModelError, match=message):
        load(content, "ema.model")


@pytest.mark.parametrize("weights", ["random", "IMAGENET1K_V1"])
def test_a_key_without_a_file_is_an_error(weights: str) -> None:
    with pytest.raises(ModelError, match="'key: ema' chooses in a weights file"):
        load_classifier("squeezenet1_1", weights=weights, key="ema")


# ---- weights that do not fit


def test_a_backbone_without_its_head_is_an_error_that_says_so(state: State, load: Any) -> None:
    headless = {key: value for key, value in state.items() if key not in HEAD}
    message = (
        r"entry 'state_dict' \(all keys without their beginning 'backbone.'\): 2 missing \(first: "
        r"classifier.1.weight\). Weights are never loaded in part"
    )
    with pytest.raises(ModelError, match=message):
        load({"state_dict": prefixed(headless, "backbone.")})


def test_parts_with_other_names_are_an_error_that_names_them(state: State, load: Any) -> None:
    # mmpretrain's checkpoints.
    content = {("head." if key in HEAD else "backbone.") + key: state[key] for key in state}
    message = (
        r"begin with 'backbone.', which come closest\): 2 missing.* other keys begin with head"
    )
    with pytest.raises(ModelError, match=message):
        load({"state_dict": content, "meta": {}})


def test_keys_that_fit_alone_are_an_error_that_tells_the_key(
    state: State, ema: State, load: Any
) -> None:
    # Lightning, with a loss that has weights.
    content = {"state_dict": {**prefixed(state, "model."), "criterion.weight": torch.ones(3)}}
    with pytest.raises(ModelError, match=r"only those that begin with 'model.' do.*model'"):
        load(content)
    assert_holds(load(content, "state_dict.model"), state)
    # MoCo.
    both = {**prefixed(state, "module.encoder_q."), **prefixed(ema, "module.encoder_k.")}
    with pytest.raises(ModelError, match=r"'key: module.encoder_k' or 'key: module.encoder_q'"):
        load(both)
    assert_holds(load(both, "module.encoder_q"), state)


def test_an_error_names_the_other_state_dicts(state: State, load: Any) -> None:
    content = {"model": {"novel": torch.ones(2)}, "model_ema": state}
    with pytest.raises(ModelError, match=r"1 unexpected .* The file also holds model_ema; 'key:'"):
        load(content)


# ---- objects beside the tensors


class Options:
    """A class of the user's, which the reader does not import."""

    def __init__(self) -> None:
        self.rate = 0.1

    def __setstate__(self, state: object) -> None:
        raise AssertionError("the file was executed")


class AttributeDict(dict[str, Any]):
    """As Lightning's, EasyDict and mmengine's ConfigDict: a dict with more methods."""


BESIDE: dict[str, object] = {
    "namespace": argparse.Namespace(lr=0.1, out=Path("x")),
    "path": Path("x"),
    "numpy": {"best": np.float64(0.7), "history": np.ones(3)},
    "class": Options(),
    "class itself": Options,
    "partial": functools.partial(sorted, Options()),
    "function": sorted,
    "dict": AttributeDict(a=1, b=Options()),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("ab"),
    "set": {1, 2},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("beside", BESIDE)
def test_objects_beside_the_tensors_are_neither_imported_nor_run(
    beside: str, zipped: bool, state: State, load: Any
) -> None:
    content = {"state_dict": prefixed(state, "model."), "hyper_parameters": BESIDE[beside]}
    assert_holds(load(content, _use_new_zipfile_serialization=zipped), state)


def test_a_pickled_network_is_an_error_that_names_its_class(net: nn.Module, load: Any) -> None:
    message = "found a pickled torchvision.models.squeezenet.SqueezeNet; save what 'state_dict"
    with pytest.raises(ModelError, match=message):
        load(net)
    message = r"found keys model \(a pickled torchvision.models.squeezenet.SqueezeNet\), epoch"
    with pytest.raises(ModelError, match=message):
        load({"model": net, "epoch": 3})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"weights_only=True\): the file is empty\. Save a state_dict alone"),
        (b"<!DOCTYPE html><p>Sign in", "it begins with '<!DOCTYPE html><p>Si', as a web page does"),
    ],
)
def test_a_file_that_holds_no_weights_is_an_error(
    content: bytes, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_weights(file)


def test_a_tensor_that_only_its_own_class_can_read_is_missing(state: State, load: Any) -> None:
    content: dict[str, Any] = {**state, HEAD[1]: Options()}
    with pytest.raises(ModelError, match=r"1 missing \(first: classifier.1.bias\)"):
        load(content)
