"""Run a network in evaluation mode and a precision, count its passes, and leave it as it was."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wsol_bench.capture.cost import Cost
from wsol_bench.common.vocabulary import Precision
from wsol_bench.errors import ModelError
from wsol_bench.models.hooks import hooked
from wsol_bench.models.network_kinds import direct_checkpoints
from wsol_bench.models.target_layers import Target, find_module

__all__ = [
    "Precision",
    "autocast",
    "compile_up_to",
    "evaluation_mode",
    "logits_of",
    "passed",
    "uncompiled",
    "without",
]

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context in which a network runs in a precision; for ``fp32`` it does nothing."""
    return (
        torch.autocast(device.type, _AUTOCAST[precision]) if precision != "fp32" else nullcontext()
    )


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and each module back into its own mode afterwards.

    Within the context reentrant activation checkpoints do not hide what they run.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with direct_checkpoints():
            yield
    finally:
        for module in training:
            module.training = True


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

    Args:
        model: the network.
        images: normalized.
        cost: the images are added to its ``forward``; None for passes that are not counted: those
            that show how the network is built, and those in which no image really passes.
    """
    if cost is not None:
        cost.forward += len(images)
    return model(images)


def logits_of(
    model: nn.Module, images: Float[Tensor, "n 3 height width"], cost: Cost | None
) -> Float[Tensor, "n c"]:
    """The network's logits for a batch of images; ``passed`` documents the arguments.

    Raises:
        ModelError: the output is not a tensor of shape (batch, classes), or not floating-point.
    """
    logits = passed(model, images, cost)
    if isinstance(logits, Tensor) and not logits.is_floating_point():
        raise ModelError(
            f"{type(model).__name__}: expected floating-point logits, found {logits.dtype}; return "
            "the scores before softmax"
        )
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
    with hooked(before=begins, after=ends), evaluation_mode(model):
        passed(model, images, None)
    chosen = [module for module in before if module not in behind]
    # torch.compile counts all these modules as recompilations of one function, and its limit on
    # recompilations suits only one or two modules.
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, 4 * len(chosen))
    for module in chosen:
        module.compile()
