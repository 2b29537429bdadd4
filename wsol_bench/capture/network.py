"""Running somebody's network: as it is evaluated, and so that it comes back as it was."""

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
    """The context in which a network runs in a precision."""
    return (
        torch.autocast(device.type, _AUTOCAST[precision]) if precision != "fp32" else nullcontext()
    )


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and each module's own mode afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """The network without what ``compile_up_to`` did: compiled code is deaf to function modes."""
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
    """What the network makes of images, which are added to a cost.

    Nobody is charged (None) for a look at how the network is built, nor where no image passes.
    """
    if cost is not None:
        cost.forward += len(images)
    return model(images)


def logits_of(
    model: nn.Module, images: Float[Tensor, "n 3 height width"], cost: Cost | None
) -> Float[Tensor, "n c"]:
    """As ``passed``; ModelError where what comes is no (n, classes) logits."""
    logits = passed(model, images, cost)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"{type(model).__name__}: expected logits of shape (b, n), found {found}")
    return logits


def without(model: nn.Module, layers: Sequence[nn.Module]) -> set[nn.Module]:
    """The largest modules that hold none of these layers."""
    over = {module for module in model.modules() if not set(layers).isdisjoint(module.modules())}
    return {child for module in over for child in module.children()} - over


@torch.inference_mode()
def compile_up_to(
    model: nn.Module, targets: Sequence[Target], images: Float[Tensor, "batch 3 height width"]
) -> None:
    """Let torch.compile work on what runs before the first target layer is through, in place.

    Each of these modules is compiled by itself, the largest that do not hold a target. What runs
    behind the first target (too) stays as it is: gradients of all classes at once pass there, which
    compiled code does not support.

    Args:
        model: of it, modules that do not hold a target.
        targets: the layers to record.
        images: any, to see what runs before the targets.
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
    # All modules share one entry of torch.compile's cache, whose limit is made for one or two.
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, 4 * len(chosen))
    for module in chosen:
        module.compile()
