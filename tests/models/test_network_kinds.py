"""Networks in wrappers, or checkpointed, make the network's own maps; other kinds are refused."""

import copy
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
import torch
from attention_networks import timm_vit, torchvision_vit
from functorch.compile import aot_module, nop
from networks import images, seeded
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils import checkpoint

import wsol_bench
from wsol_bench.errors import ModelError
from wsol_bench.models.classifiers import load_classifier
from wsol_bench.models.network_kinds import direct_checkpoints, plain_network
from wsol_bench.models.shapes_net import ShapesNet

# One method of each kind of question to the network: gradients at the layer and at its pixels, the
# part behind the layer, its second derivative, changed images, biases, rules.
METHODS = [
    "cam", "grad_cam", "backprop", "guided_backprop", "ablation_cam", "shapley_cam", "score_cam",
    "full_grad", "excitation_bp",
]  # fmt: skip
ATTENTION_METHODS = ["attention_rollout", "transformer_attribution", "shapley_cam"]
N_CLASSES = 5


class TinyNet(ShapesNet):
    """A ShapesNet of two convolutions, with all the layers that the target-layer table names."""

    def __init__(self) -> None:
        super().__init__(N_CLASSES)
        self.features = nn.Sequential()
        for name, inputs, outputs in (("stem", 3, 4), ("down2", 4, 6)):
            layers = nn.Conv2d(inputs, outputs, 3, 2), nn.BatchNorm2d(outputs), nn.ReLU()
            self.features.add_module(name, nn.Sequential(*layers))
        self.fc = nn.Linear(6, N_CLASSES)


def net() -> nn.Module:
    return seeded(TinyNet)


def batch() -> Tensor:
    return images(height=32)


def maps(network: nn.Module, methods: list[str]) -> dict[str, Tensor]:
    inputs = batch() if hasattr(plain_network(network), "fc") else images()
    return wsol_bench.localization_maps(network, inputs, methods, targets=[3])


def assert_maps_of(network: nn.Module, plain: nn.Module, methods: list[str]) -> None:
    assert_maps(network, maps(plain, methods))


def assert_maps(network: nn.Module, expected: dict[str, Tensor]) -> None:
    for name, found in maps(network, list(expected)).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-5, atol=1e-7)


@cache
def maps_of_net() -> dict[str, Tensor]:
    return maps(net(), METHODS)


# ---- kinds that make the network's maps


def checkpointed(network: nn.Module, parts: list[str], *, use_reentrant: bool) -> nn.Module:
    """The network, which checkpoints these modules; "" is the whole network."""
    for part in parts:
        module = network.get_submodule(part)
        module.forward = checkpointing(module.forward, use_reentrant)
    return network


def checkpointing(forward: Callable[..., Any], use_reentrant: bool) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        return checkpoint.checkpoint(forward, *args, use_reentrant=use_reentrant)

    return run


PARTS = {"before": "features.stem", "at": "features", "behind": "pool", "around": ""}


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("place", PARTS)
def test_activation_checkpoints_change_no_map(place: str, use_reentrant: bool) -> None:
    network = checkpointed(net(), [PARTS[place]], use_reentrant=use_reentrant)
    assert_maps(network, maps_of_net())


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointed_blocks_change_no_map_from_attention(use_reentrant: bool) -> None:
    network = torchvision_vit()
    blocks = [f"encoder.layers.{name}" for name, _ in network.encoder.layers.named_children()]
    network = checkpointed(network, blocks, use_reentrant=use_reentrant)
    assert_maps_of(network, torchvision_vit(), ATTENTION_METHODS)


def test_timms_checkpoints_change_no_map_from_attention() -> None:
    network = timm_vit()
    network.set_grad_checkpointing(True)
    assert_maps_of(network, timm_vit(), ATTENTION_METHODS)


def test_checkpoints_are_checkpoints_again_afterwards() -> None:
    before = [dict(vars(owner)) for owner in (checkpoint.CheckpointFunction, checkpoint)]
    with pytest.raises(ModelError, match="has no layer"):
        wsol_bench.localization_maps(net(), batch(), "grad_cam", layer="no_layer")
    maps(net(), METHODS)
    with pytest.raises(ZeroDivisionError), direct_checkpoints(), direct_checkpoints():
        _ = 1 / 0
    after = [dict(vars(owner)) for owner in (checkpoint.CheckpointFunction, checkpoint)]
    assert after == before


def test_checkpoints_are_checkpoints_again_after_contexts_of_two_threads_overlapped() -> None:
    entered, left = Barrier(2), Barrier(2)

    def first() -> None:
        with direct_checkpoints():
            entered.wait(10)
        left.wait(10)

    thread = Thread(target=first)
    thread.start()
    with direct_checkpoints():
        entered.wait(10)
        left.wait(10)  # the first context is over
        assert "apply" in vars(checkpoint.CheckpointFunction)
    thread.join()
    assert "apply" not in vars(checkpoint.CheckpointFunction)


def compiled(module: nn.Module) -> Any:
    return torch.compile(module, backend="aot_eager")


WRAPPERS: dict[str, Callable[[nn.Module], Any]] = {
    "torch.compile": compiled,
    "DataParallel": nn.DataParallel,
    "averaged": AveragedModel,
    "DataParallel of torch.compile": lambda module: nn.DataParallel(compiled(module)),
    "torch.compile of DataParallel": lambda module: compiled(nn.DataParallel(module)),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_network_has_the_maps_and_the_layers_of_the_network(wrapper: str) -> None:
    network = WRAPPERS[wrapper](net())
    assert_maps(network, maps_of_net())
    assert isinstance(plain_network(network), ShapesNet)


def test_a_network_compiled_in_place_runs_uncompiled_and_stays_compiled() -> None:
    network = net()
    network.fc.compile(backend="aot_eager")
    assert_maps(network, maps_of_net())
    assert network.fc._compiled_call_impl is not None


# ---- kinds that are refused


class Returning(nn.Module):
    """A network that applies a function to its logits."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(self.net(inputs))


def with_part(name: str, change: Callable[[Any], Any]) -> nn.Module:
    network = net()
    setattr(network, name, change(getattr(network, name)))
    return network


def with_forward_compiled() -> nn.Module:
    network = net()
    network.fc.forward = torch.compile(network.fc.forward, backend="aot_eager")
    return network


def with_tensor(tensor: Any) -> nn.Module:
    network = net()
    network.fc.register_buffer("extra", tensor)
    return network


def in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return copy.deepcopy(net())


class Sharded(Tensor):
    """A tensor that says that it holds other tensors, and holds none."""

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return [], None


def quantized(network: nn.Module) -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)


def exported() -> nn.Module:
    small = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    return torch.export.export(small, (batch(),)).module()


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "scripted part": (
        lambda: with_part("pool", torch.jit.script),
        r"'pool' \(RecursiveScriptModule\) is TorchScript",
    ),
    "traced": (
        lambda: torch.jit.trace(net(), batch()),
        r"the network \(TopLevelTracedModule\) is TorchScript",
    ),
    "compiled part": (
        lambda: with_part("fc", compiled),
        r"'fc' \(OptimizedModule\) is compiled by torch.compile.*give the network without",
    ),
    "compiled forward": (with_forward_compiled, r"'fc' \(Linear\) is compiled by torch.compile"),
    "quantized": (lambda: quantized(net()), r"'fc' \(Linear\) is quantized.*before it was"),
    "quantized tensor": (
        lambda: with_tensor(torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8)),
        r"'fc.extra' \(Tensor\) is quantized",
    ),
    "exported": (exported, "the network .* is traced to elementary operations"),
    "aot": (lambda: aot_module(net(), nop), r"\(AOTModule\) is traced to elementary operations"),
    "inference mode": (
        in_inference_mode,
        r"'features.stem.0.weight' \(Parameter\) was made in inference mode.*deepcopy",
    ),
    "inference mode buffer": (
        lambda: with_tensor(in_inference_mode().features.stem[1].running_mean),
        "'fc.extra' .* was made in inference mode",
    ),
    "meta": (lambda: net().to("meta"), "'features.stem.0.weight' .* is on the meta device"),
    "lazy": (
        lambda: with_part("fc", lambda _: nn.LazyLinear(N_CLASSES)),
        r"'fc.weight' \(UninitializedParameter\) is not initialized",
    ),
    "sharded": (
        lambda: with_tensor(torch.ones(2).as_subclass(Sharded)),
        r"'fc.extra' \(Sharded\) wraps other tensors",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_network_that_hides_what_it_runs_is_refused_with_what_it_is(kind: str) -> None:
    build, message = REFUSED[kind]
    for method in ("grad_cam", "score_cam"):
        with pytest.raises(ModelError, match=message):
            wsol_bench.localization_maps(build(), batch(), method)


@pytest.mark.parametrize("method", ["grad_cam", "score_cam", "backprop", "ablation_cam"])
def test_logits_that_are_whole_numbers_are_an_error(method: str) -> None:
    network = Returning(lambda logits: logits.round().long())
    with pytest.raises(ModelError, match=r"expected floating-point logits .*found .* torch.int64"):
        wsol_bench.localization_maps(network, batch(), method, layer="net.features")


def test_a_copy_made_outside_of_inference_mode_is_taken_as_the_error_says() -> None:
    assert_maps_of(copy.deepcopy(in_inference_mode()), net(), ["grad_cam"])


# ---- load_classifier


BUILDERS = """
import torch
from torch import nn
from wsol_bench.models.shapes_net import ShapesNet

def parallel(num_classes):
    return nn.DataParallel(torch.compile(ShapesNet(num_classes), backend="eager"))

def scripted(num_classes):
    net = ShapesNet(num_classes)
    net.pool = torch.jit.script(net.pool)
    return net

def in_place(num_classes):
    net = ShapesNet(num_classes)
    net.fc.compile(backend="aot_eager")
    return net
"""


@pytest.fixture
def builders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "kinds_of_builders.py").write_text(BUILDERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "kinds_of_builders", raising=False)
    return "kinds_of_builders"


def load(name: str) -> Any:
    wnids = [str(index) for index in range(N_CLASSES)]
    return load_classifier(
        name, weights="random", dataset_classes=wnids, arguments={"num_classes": N_CLASSES},
        input_size=32,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["parallel", "in_place"])
def test_a_builders_wrappers_are_taken_off(name: str, builders: str) -> None:
    loaded, plain = load(f"{builders}:{name}"), load("shapes_net")
    assert isinstance(loaded.module, ShapesNet)
    assert loaded.targets == plain.targets
    assert loaded.fingerprint == plain.fingerprint
    assert_maps_of(loaded.module, plain.module, ["grad_cam"])
    assert not any(module._compiled_call_impl for module in loaded.module.modules())


@pytest.mark.filterwarnings("ignore")
def test_a_builders_network_of_another_kind_is_refused(builders: str) -> None:
    with pytest.raises(ModelError, match="is TorchScript"):
        load(f"{builders}:scripted")


def test_a_classifier_loaded_in_inference_mode_has_gradients() -> None:
    with torch.inference_mode():
        module = load("shapes_net").module
        assert_maps_of(module, load("shapes_net").module, ["grad_cam", "full_grad"])
    assert not any(parameter.is_inference() for parameter in module.parameters())
