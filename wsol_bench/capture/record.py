"""The one forward pass: everything the map methods need of a batch, and nothing twice.

This is the only module with hooks and function modes. The pass runs without gradient tracking up to
the target layer; from there the graph is small, and one batched vector-Jacobian product gives the
gradients of all classes at once.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wsol_bench.errors import ModelError
from wsol_bench.models.layers import Target, check_output, find_module, to_grid

__all__ = [
    "Plan",
    "Precision",
    "Record",
    "autocast",
    "capture",
    "compile_up_to",
    "evaluation_mode",
]

Precision = Literal["fp32", "bf16", "fp16"]

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}

# Cotangents are scaled by a power of two, exact in every float format, so that half-precision
# gradients do not underflow on their way to the layer; they are scaled back in float32. Head
# weights below 64 fit float16 with it.
_COTANGENT_SCALE = 2.0**10

_RELUS = (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


@dataclass(frozen=True)
class Plan:
    """What a map method needs of the forward pass; plans of several methods merge by ``|``.

    Attributes:
        gradients: of the class scores (before softmax) with respect to the activations.
        class_weights: the weights of a GAP + linear head. Where the network has none the method is
            not applicable.
    """

    gradients: bool = False
    class_weights: bool = False

    def __or__(self, other: "Plan") -> "Plan":
        return Plan(self.gradients or other.gradients, self.class_weights or other.class_weights)


@dataclass(frozen=True)
class Record:
    """What one forward pass left, in float32, on the model's device.

    Activations and gradients belong to the same tensor.

    Attributes:
        logits: scores before softmax.
        classes: output index of each class slot.
        activations: A, output of the target layer over its spatial grid.
        gradients: g, d logits[b, classes[b, k]] / d activations[b]; None unless planned.
        class_weights: rows of the head's weights for each class slot; None where not planned or
            where the network has no such head.
    """

    logits: Float[Tensor, "batch n"]
    classes: Int64[Tensor, "batch k"]
    activations: Float[Tensor, "batch c h w"]
    gradients: Float[Tensor, "batch k c h w"] | None
    class_weights: Float[Tensor, "batch k c"] | None


@torch.inference_mode(False)  # a caller's inference mode forbids gradients for good
def capture(
    model: nn.Module,
    images: Float[Tensor, "batch 3 height width"],
    target: Target,
    plan: Plan,
    *,
    k: int = 5,
    labels: Int64[Tensor, " batch"] | None = None,
    classes: Int64[Tensor, "batch k"] | None = None,
    precision: Precision = "fp32",
) -> Record:
    """Run the model once on a batch and record what ``plan`` asks for.

    The model comes back as it was (mode, hooks, ``requires_grad``, ``.grad``), also after an
    exception; it runs in evaluation mode.

    Args:
        model: maps images to (batch, n) logits.
        images: normalized input, on the model's device.
        target: the layer to record.
        plan: what to record of it.
        k: number of class slots, at least 1: the k best classes of each image, best first.
        labels: output index of each image's own class, which then is one slot more, the last.
        classes: the class slots themselves, instead of the k best.
        precision: ``bf16`` and ``fp16`` run the model under autocast.

    Raises:
        ModelError: the layer did not run, ran twice, or its output is no spatial grid; the model
            returns no logits; ``classes`` holds what is no output.
        ValueError: ``k`` is less than 1.
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, found {k}")
    recorder = _Recorder(target, track=plan.gradients)
    running = autocast(images.device, precision)
    with evaluation_mode(model), torch.no_grad(), running, recorder.watching(model):
        logits = model(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"{type(model).__name__}: expected logits of shape (b, n), found {found}")
    activation = recorder.activation()
    check_output(activation, target)
    scores = logits.detach().float()
    if classes is None:
        classes = _class_slots(scores, k, labels)
    elif bool((wrong := (classes < 0) | (classes >= scores.shape[1])).any()):
        raise ModelError(
            f"classes: {type(model).__name__} has no output {classes[wrong][0]}; its outputs are 0 "
            f"to {scores.shape[1] - 1}"
        )
    gradients = None
    if plan.gradients:
        if not logits.requires_grad:
            raise ModelError(
                f"the logits of {type(model).__name__} do not depend on layer {target.layer!r} by "
                "differentiable operations"
            )
        gradients = to_grid(_gradients(logits, activation, classes), target.layout)
    grid = to_grid(activation.detach().float(), target.layout)
    weights = None
    if plan.class_weights and target.head is not None:
        weights = _class_weights(find_module(model, target.head))
        if weights.shape != (scores.shape[1], grid.shape[1]):
            raise ModelError(
                f"head {target.head!r} has weights {tuple(weights.shape)}, but CAM at "
                f"{target.layer!r} needs one row an output and one column a channel, "
                f"{(scores.shape[1], grid.shape[1])}; name another with 'head:'"
            )
        weights = weights[classes]
    return Record(scores, classes, grid, gradients, weights)


@torch.inference_mode()
def compile_up_to(
    model: nn.Module, target: Target, images: Float[Tensor, "batch 3 height width"]
) -> None:
    """Let torch.compile work on what runs before the target layer is through, in place.

    Each of these modules is compiled by itself, the largest that do not hold the target. What runs
    behind the target (too) stays as it is: gradients of all classes at once pass there, which
    compiled code does not support.

    Args:
        model: of it, modules that do not hold the target.
        target: the layer to record.
        images: any, to see what runs before the target.
    """
    layer = find_module(model, target.layer)
    over = {module for module in model.modules() if layer in set(module.modules())}
    whole = {child for module in over for child in module.children()} - over
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

    handles = [module.register_forward_pre_hook(note) for module in whole]
    handles.append(layer.register_forward_hook(end))
    try:
        with evaluation_mode(model):
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    chosen = [module for module in before if module not in behind]
    # All modules share one entry of torch.compile's cache, whose limit is made for one or two.
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, 4 * len(chosen))
    for module in chosen:
        module.compile()


def _class_slots(
    logits: Float[Tensor, "batch n"], k: int, labels: Int64[Tensor, " batch"] | None
) -> Int64[Tensor, "batch k"]:
    # A stable sort: equal logits rank by output index, on every device and in every batch.
    best = logits.sort(dim=1, descending=True, stable=True).indices[:, :k]
    # Always, though most images have it among the best: to look would be to wait for the GPU.
    return best if labels is None else torch.cat([best, labels[:, None]], dim=1)


def _gradients(
    logits: Float[Tensor, "batch n"], activation: Tensor, classes: Int64[Tensor, "batch k"]
) -> Float[Tensor, "batch k ..."]:
    """Gradients of each image's class slots, by one vector-Jacobian product batched over slots.

    An image's logits depend on its own activations only (evaluation mode), so one cotangent a slot
    serves the whole batch.
    """
    cotangents = logits.new_zeros(classes.shape[1], *logits.shape)
    cotangents.scatter_(2, classes.T[:, :, None], _COTANGENT_SCALE)
    (by_slot,) = torch.autograd.grad(logits, activation, cotangents, is_grads_batched=True)
    return by_slot.transpose(0, 1).float() / _COTANGENT_SCALE


def _class_weights(head: nn.Module) -> Float[Tensor, "n c"]:
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor) or weight.flatten(1).shape[1] != weight.shape[1]:
        raise ModelError(f"the head {type(head).__name__} is neither linear nor a 1x1 convolution")
    return weight.detach().flatten(1).float()


class _Recorder:
    """Takes the activation as the pass goes by, and starts gradient tracking there."""

    def __init__(self, target: Target, *, track: bool) -> None:
        self._target = target
        self._track = track
        self._taken: list[Tensor] = []

    def activation(self) -> Tensor:
        if len(self._taken) != 1:
            times = "did not run" if not self._taken else f"ran {len(self._taken)} times"
            what = " followed by a functional ReLU" if self._target.then_relu else ""
            raise ModelError(
                f"layer {self._target.layer!r}{what} {times} in one forward pass; name "
                "another with 'layer:'"
            )
        return self._taken[0]

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        layer = find_module(model, self._target.layer)
        mode = _AfterRelu(self) if self._target.then_relu else None
        take = mode.expect if mode else self._take
        handle = layer.register_forward_hook(lambda module, inputs, output: take(output))
        try:
            with mode or nullcontext():
                yield
        finally:
            handle.remove()

    def _take(self, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise ModelError(
                f"layer {self._target.layer!r} returns {type(output).__name__}, not a tensor; name "
                "another with 'layer:'"
            )
        activation = output.detach()
        self._taken.append(activation)
        if not self._track:
            return activation.clone()
        # The enclosing no_grad restores the mode when the pass is over, also by an exception.
        torch.set_grad_enabled(True)
        activation.requires_grad_(True)
        # The network goes on with a copy: what follows may work in place (a ReLU, a residual sum),
        # and A must stay what it was when g is taken.
        return activation.clone()


class _AfterRelu(TorchFunctionMode):
    """Takes the result of the functional ReLU that is applied to a module's output (DenseNet)."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self._recorder = recorder
        self._expected: Tensor | None = None

    def expect(self, output: Tensor) -> None:
        self._expected = output

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self._expected is not None and func in _RELUS and args and args[0] is self._expected:
            self._expected = None
            return self._recorder._take(result)
        return result


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
