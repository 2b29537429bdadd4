"""Run a network in evaluation mode and a precision, count its passes, and leave it as it was."""

import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wsol_bench.capture.cost import Cost
from wsol_bench.common.vocabulary import Precision
from wsol_bench.errors import ModelError
from wsol_bench.models.hooks import hooked
from wsol_bench.models.network_kinds import direct_checkpoints
from wsol_bench.models.output_contents import require_batch, require_scores
from wsol_bench.models.output_reading import reading_of
from wsol_bench.models.target_layers import Target, find_module

__all__ = [
    "Precision",
    "autocast",
    "compile_up_to",
    "difference",
    "evaluation_mode",
    "exclusively",
    "logits_of",
    "passed",
    "require_sound_pass",
    "uncompiled",
    "without",
]

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}

# One lock for each network: hooks and modes are the network's, so its passes take turns.
_LOCKS = WeakKeyDictionary[nn.Module, "threading.RLock"]()
_NEW_LOCK = threading.Lock()
# By network, the layers with which its recorded logits were seen to be those of a plain pass,
# whether gradients were tracked, and how the logits were read.
_SOUND = WeakKeyDictionary[nn.Module, set[Hashable]]()


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context in which a network runs in a precision; ``fp32`` ends a caller's autocast."""
    if precision == "fp32":
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, _AUTOCAST[precision])


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and each module back into its own mode afterwards.

    Within the context no other thread runs the network by this function; other threads wait.
    Activation checkpoints run directly (``direct_checkpoints``).

    Raises:
        ModelError: a module normalizes by the statistics of its batch, or stays in training mode.
    """
    with exclusively(model):
        training = [module for module in model.modules() if module.training]
        model.eval()
        try:
            _require_fixed_modules(model)
            with direct_checkpoints():
                yield
        finally:
            for module in training:
                module.training = True


@contextmanager
def exclusively(model: nn.Module) -> Iterator[None]:
    """Keep other threads from a network that ask it by this function; they wait."""
    with _NEW_LOCK:
        lock = _LOCKS.setdefault(model, threading.RLock())
    with lock:
        yield


def _require_fixed_modules(model: nn.Module) -> None:
    """Raise ModelError if a module of a network in evaluation mode behaves as in training."""
    for module in model.modules():
        if module.training:
            problem = "stays in training mode after model.eval(), so that its output may be random"
            mend = "let its train() pass the mode on, or replace the module"
        elif isinstance(module, _BatchNorm) and module.running_mean is None:
            problem = "has no running statistics, so that it normalizes by those of its batch"
            mend = (
                "load the statistics (track_running_stats=True), or use GroupNorm or InstanceNorm"
            )
        else:
            continue
        name = next(name for name, found in model.named_modules() if found is module)
        kind = type(module).__name__
        module_of = f"module {name!r} ({kind})" if name else f"the network ({kind})"
        raise ModelError(
            f"{type(model).__name__}: {module_of} {problem}, and an image's map would depend on "
            f"the other images of its batch; {mend}"
        )


def require_sound_pass(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    logits: Float[Tensor, "batch n"],
    layers: tuple[str, ...],
) -> None:
    """Raise ModelError unless the recorded logits are those of a plain pass of other batches.

    At most three images pass, uncounted, and only the first time that these layers of a network are
    recorded: noise, and some of the batch in reverse order. The caller has set evaluation mode and
    precision.

    Args:
        model: the network.
        images: the batch.
        logits: the network's output for it, while the layers were recorded.
        layers: names of the recorded layers.
    """
    checked = _SOUND.setdefault(model, set())
    key = (logits.requires_grad, layers, reading_of(model).key)
    if key in checked:
        return
    few = images[:2].flip(0)
    noise = torch.randn(few.shape[1:], generator=torch.Generator().manual_seed(0)).to(images)
    versions = _versions(model)
    try:
        with uncompiled(model), torch.no_grad():
            again = logits_of(model, torch.cat([noise[None], few]), None)[1:]
    except (ModelError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if len(images) == 1:
            return  # the network takes one image at a time
        raise ModelError(
            f"{type(model).__name__} runs on {len(images)} images and fails on {len(few) + 1}: "
            f"{error}. Maps are made from batches of any size: let the network take them"
        ) from error
    if changed := [name for name, version in _versions(model).items() if versions[name] != version]:
        raise ModelError(
            f"{type(model).__name__} writes into its buffer {changed[0]!r} in evaluation mode, so "
            "that a map would depend on the images before it; make it write in training mode only"
        )
    if off := difference(again, logits[:2].flip(0), model):
        raise ModelError(
            f"{type(model).__name__}: the logits of an image in two batches differ by {off}, so "
            "that its map would depend on chance or on the other images: the network normalizes by "
            "statistics of its batch, mixes its images (an LSTM without batch_first), or is random "
            "in evaluation mode (a functional dropout without training=self.training); or a layer "
            f"({', '.join(layers)}) shares its output with a module that works in place behind it"
        )
    if bool(logits[:2].isfinite().any()):  # otherwise nothing was compared
        checked.add(key)


def _versions(model: nn.Module) -> dict[str, int]:
    """The number of operations in place on each buffer."""
    return {
        name: -1 if buffer.is_inference() else buffer._version
        for name, buffer in model.named_buffers()
    }


def difference(
    found: Float[Tensor, "batch n"],
    expected: Float[Tensor, "batch n"],
    model: nn.Module,
    precision: Precision = "fp32",
) -> str:
    """The largest relative difference of two passes' logits, in percent; "" if it is rounding.

    Only finite logits are compared. Each is compared with its own size and the median of its image:
    one large logit, as of a masked class, does not hide the others.

    Args:
        found: logits of one pass.
        expected: logits of the other pass.
        model: the network.
        precision: precision of the passes, if their context has ended.
    """
    found, wanted = found.detach().float(), expected.detach().float()
    sizes = torch.where(wanted.isfinite(), wanted.abs(), torch.nan)
    typical = sizes.nanmedian(dim=1, keepdim=True).values
    largest = sizes.nan_to_num(0.0).amax(dim=1, keepdim=True)
    scale = wanted.abs() + torch.maximum(typical.nan_to_num(0.0), 1e-3 * largest).clamp_min(1e-30)
    errors = torch.where(wanted.isfinite(), (found - wanted).abs() / scale, 0.0)
    error = float(errors.nan_to_num(torch.inf).max())
    return f"{error:.1%}" if error > _tolerance(expected, model, precision) else ""


def _tolerance(logits: Float[Tensor, "batch n"], model: nn.Module, precision: Precision) -> float:
    """The relative error that rounding may leave between two passes of the same images.

    It is the square root of the unit roundoff of the coarsest format that the network computes in;
    on a GPU, that of the 10 bits of TensorFloat-32 for float32. Records are float32 in any case.
    """
    device = logits.device.type
    formats = {torch.float32, logits.dtype, *(parameter.dtype for parameter in model.parameters())}
    formats.add(_AUTOCAST.get(precision, torch.float32))
    if torch.is_autocast_enabled(device):
        formats.add(torch.get_autocast_dtype(device))
    if logits.is_cuda:
        formats.add(torch.float16)
    eps = (torch.finfo(dtype).eps for dtype in formats if dtype.is_floating_point)
    return float(max(eps) ** 0.5)


@contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """Run a network's own code in place of compiled code, which function modes do not reach."""
    compiled = {
        module: module._compiled_call_impl
        for module in model.modules()
        if module._compiled_call_impl is not None
    }
    for module in compiled:
        module._compiled_call_impl = None
    try:
        yield
    finally:
        for module, call in compiled.items():
            module._compiled_call_impl = call


def passed(
    model: nn.Module, images: Float[Tensor, "n channels height width"], cost: Cost | None
) -> Any:
    """The network's output for a batch of images.

    The network gets a copy, which it may change in place, in the float format of its parameters.

    Args:
        model: the network.
        images: normalized.
        cost: the images are added to its ``forward``; None for passes that are not counted: those
            that show how the network is built, and those in which no image really passes.
    """
    if cost is not None:
        cost.forward += len(images)
    parameters = (parameter.dtype for parameter in model.parameters())
    dtype = next((dtype for dtype in parameters if dtype.is_floating_point), images.dtype)
    return model(images.to(dtype, copy=True))


def logits_of(
    model: nn.Module, images: Float[Tensor, "n channels height width"], cost: Cost | None
) -> Float[Tensor, "n c"]:
    """The network's logits for a batch of images; ``passed`` documents the arguments.

    Raises:
        ModelError: the output is not a tensor of shape (batch, classes) for these images, or not
            floating-point.
    """
    name = type(model).__name__
    logits = require_scores(passed(model, images, cost), name)
    require_batch(logits, len(images), name)
    return logits


def without(model: nn.Module, layers: Sequence[nn.Module]) -> set[nn.Module]:
    """The largest modules of a network that hold none of these layers."""
    holders = {module for module in model.modules() if not set(layers).isdisjoint(module.modules())}
    return {child for module in holders for child in module.children()} - holders


@torch.inference_mode()
def compile_up_to(
    model: nn.Module,
    targets: Sequence[Target],
    images: Float[Tensor, "batch channels height width"],
) -> None:
    """Compile the modules that run before the first target layer has run, in place.

    Each of the largest modules that hold no target is compiled by itself. A module that runs (also)
    behind the first target is not compiled: gradients of all classes at once pass there, which
    compiled code does not support.

    Args:
        model: the network.
        targets: the layers to record.
        images: any batch; it passes once to see what runs before the targets.
    """
    layers = [find_module(model, target.layer) for target in targets]
    before, behind = dict[nn.Module, None](), set[nn.Module]()
    past = False

    def note(module: nn.Module, inputs: Any) -> None:
        if past:
            behind.add(module)
        else:
            before[module] = None

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal past
        past = True

    begins = [(module, note) for module in without(model, layers)]
    ends = [(layer, end) for layer in layers]
    with evaluation_mode(model), hooked(before=begins, after=ends):
        passed(model, images, None)
    chosen = [module for module in before if module not in behind]
    # torch.compile counts all these modules as recompilations of one function, and its limit on
    # recompilations suits only one or two modules.
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, 4 * len(chosen))
    for module in chosen:
        module.compile()
