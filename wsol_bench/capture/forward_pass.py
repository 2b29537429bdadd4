"""The one forward pass of a batch: logits, class slots, and the outputs of the target layers.

The pass runs without gradient tracking up to the first target layer; from there the graph is small,
and one batched vector-Jacobian product gives the gradients of all classes at once.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wsol_bench.capture.class_maps import class_gradients
from wsol_bench.capture.cost import Cost
from wsol_bench.capture.grids import LayerGrid, grid_of
from wsol_bench.capture.network import (
    Precision,
    autocast,
    difference,
    evaluation_mode,
    logits_of,
    require_sound_pass,
)
from wsol_bench.capture.record import Layer, Plan, Record
from wsol_bench.errors import ModelError
from wsol_bench.models.hooks import hooked
from wsol_bench.models.output_reading import reading_of
from wsol_bench.models.target_layers import Target, find_module

__all__ = ["RELUS", "BestClasses", "one_pass"]

RELUS = (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)

# What a network may return in the place of the logits of a GAP + linear head.
_OUTPUTS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda logits: logits,
    lambda logits: logits.softmax(1),
    lambda logits: logits.log_softmax(1),
    lambda logits: logits.sigmoid(),
)
# By network, the layer, a head that was seen to be the layer's, and how the logits were read.
_HEADS = WeakKeyDictionary[nn.Module, set[Hashable]]()


@dataclass(frozen=True)
class BestClasses:
    """Class slots that the logits decide: the best classes of each image, and maybe its label.

    Attributes:
        k: number of best classes, at least 1, best first; fewer if the network has fewer outputs.
        labels: output index of each image's label, which gets one more slot, the last; None for no
            such slot.
    """

    k: int = 5
    labels: Int64[Tensor, " batch"] | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k: expected at least 1, found {self.k}")

    def slots(self, logits: Float[Tensor, "batch n"]) -> Int64[Tensor, "batch k"]:
        """Output index of each class slot; equal logits rank by output index."""
        # A stable sort: equal logits rank alike on every device and in every batch.
        best = logits.sort(dim=1, descending=True, stable=True).indices[:, : self.k]
        # The label always gets its slot, though it mostly is among the best classes: a look at the
        # values would wait for the GPU.
        return best if self.labels is None else torch.cat([best, self.labels[:, None]], dim=1)


@torch.inference_mode(False)  # gradients cannot be enabled within a caller's inference mode
def one_pass(
    model: nn.Module,
    images: Float[Tensor, "batch 3 height width"],
    targets: Sequence[Target],
    plan: Plan,
    classes: Int64[Tensor, "batch k"] | BestClasses,
    *,
    precision: Precision,
    cost: Cost,
) -> Record:
    """Run the model once on a batch and record what a plan asks for.

    The record has no probe; the caller attaches the probe. ``capture`` documents the arguments.

    Args:
        model: maps images to (batch, n) logits.
        images: normalized input, on the model's device.
        targets: the layers to record.
        plan: what to record of them.
        classes: output index of each class slot, or which classes the logits decide.
        precision: numeric format of the pass.
        cost: the pass is added to it.
    """
    logits, outputs, grids = _forward(
        model, images, targets, track=plan.gradients, precision=precision, cost=cost
    )
    scores = logits.detach().float()
    if isinstance(classes, BestClasses):
        classes = classes.slots(scores)
    elif bool((wrong := (classes < 0) | (classes >= scores.shape[1])).any()):
        raise ModelError(
            f"{type(model).__name__} has no output {classes[wrong][0]}; its "
            f"outputs are 0 to {scores.shape[1] - 1}"
        )
    gradients_of: list[Any] = [None] * len(outputs)
    if plan.gradients and outputs:
        names = [target.layer for target, _ in outputs]
        tensors = [output for _, output in outputs]
        gradients_of = class_gradients(logits, tensors, classes, names, model, cost=cost)
    layers = []
    for (target, output), grid, gradient in zip(outputs, grids, gradients_of, strict=True):
        activations = grid.to_channels(output.detach().float())
        weights, no_head = _class_weights(model, target, activations, logits.detach(), precision)
        layers.append(
            Layer(
                target.layer,
                activations,
                None if gradient is None else grid.to_channels(gradient),
                None if weights is None else weights[classes],
                no_head,
                grid,
            )
        )
    return Record(scores, classes, tuple(layers), max(len(layers) - 1, 0))


def _class_weights(
    model: nn.Module,
    target: Target,
    activations: Float[Tensor, "batch c h w"],
    logits: Float[Tensor, "batch n"],
    precision: Precision,
) -> tuple[Float[Tensor, "n c"] | None, str]:
    """The weights of the target's head; or None, and the reason why it has no such head."""
    if target.head is None:
        return None, f"no head is known that directly follows {target.layer!r}"
    reading = reading_of(model)
    if reading.meaning is None:
        return None, "a target is a function of the network's output, which has no weights there"
    logits = logits[:, -1:] if reading.single else logits
    head, expected = find_module(model, target.head), (logits.shape[1], activations.shape[1])
    weight, bias = getattr(head, "weight", None), getattr(head, "bias", None)
    if target.head == target.layer and expected[0] == expected[1]:
        # Each channel is the map of a class, with the class's bias.
        weight, bias = torch.eye(expected[0], device=activations.device), None
    if not isinstance(weight, Tensor) or tuple(weight.shape) not in (expected, (*expected, 1, 1)):
        found = f" of weights {tuple(weight.shape)}" if isinstance(weight, Tensor) else ""
        return None, (
            f"head {target.head!r} is {type(head).__name__}{found}, where a linear layer or a 1x1 "
            f"convolution of weights {expected}, outputs by channels of {target.layer!r}, was "
            "expected"
        )
    weight = weight.detach().flatten(1).float()
    seen = _HEADS.setdefault(model, set())
    key = (target.layer, target.head, reading.key)
    if key not in seen:
        few = activations[:2]
        error_of = partial(difference, expected=logits[:2], model=model, precision=precision)
        if error := _head_error(weight, bias, few, error_of):
            return None, (
                f"head {target.head!r} on the means of {target.layer!r} gives other scores than "
                f"the network (off by {error}), so that something else is between them"
            )
        # Without contrast, or with weights of zero, any head agrees; the next batch is asked again.
        contrast = few.std(dim=(-2, -1)) > 1e-3 * few.abs().amax(dim=(-2, -1))
        if bool(contrast.any()) and bool(weight.any()):
            seen.add(key)
    # The scores that were read from a single logit y are [-y, y].
    return torch.cat([-weight, weight]) if reading.single else weight, ""


def _head_error(
    weight: Float[Tensor, "n c"],
    bias: Float[Tensor, " n"] | None,
    activations: Float[Tensor, "batch c h w"],
    error_of: Callable[[Tensor], str],
) -> str:
    """The relative error of a head's scores, in percent; "" if it is that of rounding.

    The means of the channels are pooled; or their maxima, which the CAM paper compares with them.
    """
    bias = weight.new_zeros(()) if bias is None else bias.detach().float()
    errors = [
        error_of(output(pooled @ weight.T + bias))
        for pooled in (activations.mean(dim=(-2, -1)), activations.amax(dim=(-2, -1)))
        for output in _OUTPUTS
    ]
    if "" not in errors:  # SqueezeNet has a ReLU behind the convolution
        maps = torch.einsum("nc,bchw->bhwn", weight, activations) + bias
        errors.append(error_of(maps.relu().mean(dim=(1, 2))))
    return "" if "" in errors else errors[0]


def _forward(
    model: nn.Module,
    images: Float[Tensor, "batch 3 height width"],
    targets: Sequence[Target],
    *,
    track: bool,
    precision: Precision,
    cost: Cost,
) -> tuple[Float[Tensor, "batch n"], list[tuple[Target, Tensor]], list[LayerGrid]]:
    """Logits, the targets with their outputs in the order in which they ran, and their grids.

    Args:
        model: runs in evaluation mode, and comes back as it was, also after an exception.
        images: normalized input, on the model's device.
        targets: layers to record.
        track: whether the graph from the layers to the logits is kept.
        precision: numeric format of the pass.
        cost: the pass is added to it.

    Raises:
        ModelError: a layer did not run, ran twice, or its output is no spatial grid; or the model
            returns no logits, or logits that depend on the other images of the batch.
    """
    recorder = _Recorder(targets, track=track)
    with evaluation_mode(model), torch.no_grad(), autocast(images.device, precision):
        with recorder.watching(model):
            logits = logits_of(model, images, cost)
        outputs = recorder.outputs()
        grids = [grid_of(model, target, output, images) for target, output in outputs]
        names = tuple(target.layer for target in targets)
        require_sound_pass(model, images, logits, names)
    return logits, outputs, grids


class _Recorder:
    """Takes the target layers' outputs during the pass, and tracks gradients from the first on."""

    def __init__(self, targets: Sequence[Target], *, track: bool) -> None:
        self._targets = targets
        self._track = track
        self._outputs: list[tuple[Target, Tensor]] = []

    def outputs(self) -> list[tuple[Target, Tensor]]:
        """Each target with its output, in the order in which they ran.

        Raises:
            ModelError: a target did not run exactly once.
        """
        for target in self._targets:
            n_times = sum(recorded is target for recorded, _ in self._outputs)
            if n_times != 1:
                times = f"ran {n_times} times" if n_times else "did not run"
                relu = " followed by a functional ReLU" if target.then_relu else ""
                raise ModelError(
                    f"layer {target.layer!r}{relu} {times} in one forward pass, expected once; "
                    "name another layer with 'layer:'"
                )
        return self._outputs

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Hooks at the target layers of a model; they are gone afterwards."""
        mode = _AfterRelu(self) if any(target.then_relu for target in self._targets) else None
        hooks = (
            (find_module(model, target.layer), self._hook(target, mode)) for target in self._targets
        )
        with hooked(after=hooks), mode or nullcontext():
            yield

    def _hook(self, target: Target, mode: "_AfterRelu | None") -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            if target.then_relu and mode is not None:
                return mode.expect(output, target)
            return self.take(output, target)

        return hook

    def take(self, output: Any, target: Target) -> Tensor:
        """Keep a target's output, and return the tensor with which the network goes on."""
        if not isinstance(output, Tensor):
            raise ModelError(
                f"layer {target.layer!r} returns {type(output).__name__}, not a tensor; name "
                "another layer with 'layer:'"
            )
        if not self._track:
            # The network goes on with its own tensor, and may work in place on it.
            self._outputs.append((target, output.clone()))
            return output
        if not output.requires_grad:
            output = output.detach().clone().requires_grad_(True)
            # The enclosing no_grad restores the mode when the pass is over, also by an exception.
            torch.set_grad_enabled(True)
        self._outputs.append((target, output))
        # The network goes on with a copy: what follows may work in place (a ReLU, a residual sum),
        # and A must stay what it was when g is taken.
        return output.clone()


class _AfterRelu(TorchFunctionMode):
    """Takes the result of the functional ReLU that is applied to a module's output (DenseNet)."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self._recorder = recorder
        self._expected: list[tuple[Tensor, Target]] = []

    def expect(self, output: Tensor, target: Target) -> None:
        """Wait for the ReLU of this output of a target's module."""
        self._expected.append((output, target))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in RELUS and args:
            for position, (output, target) in enumerate(self._expected):
                if args[0] is output:
                    del self._expected[position]
                    return self._recorder.take(result, target)
        return result
