"""The one forward pass: the activations of the target layers, and the graph behind them.

The pass runs without gradient tracking up to the first target layer; from there the graph is small,
and one batched vector-Jacobian product gives the gradients of all classes at once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wsol_bench.capture.cost import Cost
from wsol_bench.capture.network import Precision, autocast, evaluation_mode, logits_of
from wsol_bench.errors import ModelError
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import Target, check_output, find_module

__all__ = ["RELUS", "forward"]

RELUS = (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


def forward(
    model: nn.Module,
    images: Float[Tensor, "batch 3 height width"],
    targets: Sequence[Target],
    *,
    track: bool,
    precision: Precision = "fp32",
    cost: Cost | None = None,
) -> tuple[Float[Tensor, "batch n"], list[tuple[Target, Tensor]]]:
    """Logits, and the targets with their outputs in the order in which they ran.

    Args:
        model: runs in evaluation mode, and comes back as it was, also after an exception.
        images: normalized input, on the model's device.
        targets: layers to record.
        track: whether the graph from the layers to the logits is kept.
        precision: of the pass.
        cost: what the pass is added to.

    Raises:
        ModelError: a layer did not run, ran twice, or its output is no spatial grid; the model
            returns no logits.
    """
    recorder = _Recorder(targets, track=track)
    running = autocast(images.device, precision)
    with evaluation_mode(model), torch.no_grad(), running, recorder.watching(model):
        logits = logits_of(model, images, cost)
    taken = recorder.taken()
    for target, output in taken:
        check_output(output, target)
    return logits, taken


class _Recorder:
    """Takes the outputs as the pass goes by, and starts gradient tracking at the first."""

    def __init__(self, targets: Sequence[Target], *, track: bool) -> None:
        self._targets = targets
        self._track = track
        self._taken: list[tuple[Target, Tensor]] = []

    def taken(self) -> list[tuple[Target, Tensor]]:
        for target in self._targets:
            n_times = sum(one is target for one, _ in self._taken)
            if n_times != 1:
                times = f"ran {n_times} times" if n_times else "did not run"
                what = " followed by a functional ReLU" if target.then_relu else ""
                raise ModelError(
                    f"layer {target.layer!r}{what} {times} in one forward pass; name "
                    "another with 'layer:'"
                )
        return self._taken

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
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
        if not isinstance(output, Tensor):
            raise ModelError(
                f"layer {target.layer!r} returns {type(output).__name__}, not a tensor; name "
                "another with 'layer:'"
            )
        if self._track and not output.requires_grad:
            output = output.detach().requires_grad_(True)
            # The enclosing no_grad restores the mode when the pass is over, also by an exception.
            torch.set_grad_enabled(True)
        self._taken.append((target, output))
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
        self._expected.append((output, target))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in RELUS and args:
            for position, (output, target) in enumerate(self._expected):
                if args[0] is output:
                    del self._expected[position]
                    return self._recorder.take(result, target)
        return result
