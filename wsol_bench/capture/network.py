"""Run a network in evaluation mode and a precision, count its passes, and leave it as it was."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wsol_bench.capture.cost import Cost
from wsol_bench.common.vocabulary import Precision
from wsol_bench.errors import ModelError
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import Target, find_module

__all__ = [
    "Precision",
    "autocast",
    "compile_up_to",
    "evaluation_mode",
    "logits_of",
    "passed",
    "require_separate_images",
    "tolerance",
    "uncompiled",
    "without",
]

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}

# One lock for each network: hooks and modes are the network's, so its passes take turns.
_LOCKS = WeakKeyDictionary[nn.Module, "threading.RLock"]()
_NEW_LOCK = threading.Lock()
# Networks whose logits of an image were seen not to depend on the other images of a batch.
_SEPARATE = WeakSet[nn.Module]()


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context in which a network runs in a precision; ``fp32`` ends a caller's autocast."""
    if precision == "fp32":
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, _AUTOCAST[precision])


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and each module back into its own mode afterwards.

    Within the context no other thread runs the network by this function; other threads wait.

    Raises:
        ModelError: a module normalizes by the statistics of its batch, or stays in training mode.
    """
    with _NEW_LOCK:
        lock = _LOCKS.setdefault(model, threading.RLock())
    with lock:
        training = [module for module in model.modules() if module.training]
        model.eval()
        try:
            _require_fixed_modules(model)
            yield
        finally:
            for module in training:
                module.training = True


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


def require_separate_images(
    model: nn.Module,
    images: Float[Tensor, "batch 3 height width"],
    logits: Float[Tensor, "batch n"],
) -> None:
    """Raise ModelError unless an image's logits are the same alone and in its batch.

    One more image passes, uncounted, and only the first time that a network passes a batch of
    several images. The caller has set evaluation mode and precision.

    Args:
        model: the network.
        images: the batch.
        logits: the network's output for it.
    """
    if len(images) < 2 or model in _SEPARATE or torch.equal(images[0], images[1]):
        return
    with uncompiled(model), torch.no_grad():
        alone = logits_of(model, images[:1], None).float()
    in_batch = logits[:1].float()
    if not (alone.isfinite().all() and in_batch.isfinite().all()):
        return
    error = float((alone - in_batch).abs().max() / in_batch.abs().max().clamp_min(1e-30))
    if error > tolerance(logits):
        raise ModelError(
            f"{type(model).__name__}: the logits of an image alone and in a batch differ by "
            f"{error:.1%}, so that its map would depend on chance or on the other images: the "
            "network normalizes by statistics of its batch, or is random in evaluation mode (a "
            "functional dropout without training=self.training)"
        )
    _SEPARATE.add(model)


def tolerance(logits: Float[Tensor, "batch n"]) -> float:
    """The relative error that rounding may leave between two passes of the same images.

    It is the square root of the unit roundoff of the format that the network computes in; on a GPU,
    that of the 10 bits of TensorFloat-32 for float32. Records are float32 in any case.
    """
    is_tf32 = logits.is_cuda and logits.dtype is torch.float32
    formats = (torch.float32, torch.float16 if is_tf32 else logits.dtype)
    return float(max(torch.finfo(dtype).eps for dtype in formats) ** 0.5)


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


def passed(model: nn.Module, images: Float[Tensor, "n 3 height width"], cost: Cost | None) -> Any:
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
    model: nn.Module, images: Float[Tensor, "n 3 height width"], cost: Cost | None
) -> Float[Tensor, "n c"]:
    """The network's logits for a batch of images; ``passed`` documents the arguments.

    Raises:
        ModelError: the output is not a tensor of shape (batch, classes).
    """
    logits = passed(model, images, cost)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"{type(model).__name__}: expected logits of shape (batch, classes), found {found}"
        )
    return logits


def without(model: nn.Module, layers: Sequence[nn.Module]) -> set[nn.Module]:
    """The largest modules of a network that hold none of these layers."""
    holders = {module for module in model.modules() if not set(layers).isdisjoint(module.modules())}
    return {child for module in holders for child in module.children()} - holders


@torch.inference_mode()
def compile_up_to(
    model: nn.Module, targets: Sequence[Target], images: Float[Tensor, "batch 3 height width"]
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
