"""Scores are read from what a network returns: a tensor in it, a single logit, or a user's targets.

A reading is a forward hook of the network itself. So whatever runs the network gets scores of shape
(batch, n), and the names of its layers stay its own.
"""

import copy
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wsol_bench.common.plugin_errors import plugin_error
from wsol_bench.common.registry import import_object
from wsol_bench.common.vocabulary import Probabilities
from wsol_bench.errors import ModelError, NotApplicableError, WsolBenchError
from wsol_bench.models.hooks import hooked
from wsol_bench.models.output_contents import (
    contents,
    part_at,
    require_batch,
    require_scores,
    shape_of,
    tensors_in,
)

__all__ = [
    "OutputReading",
    "read_with",
    "reading_of",
    "scored_targets",
    "unread",
]


@dataclass(eq=False)
class OutputReading:
    """Reads scores of shape (batch, n) from what a network returns for a batch.

    A single logit y, of shape (batch, 1) or (batch,), becomes the scores ``[-y, y]`` of the classes
    0 and 1, whose probabilities are ``sigmoid(-y)`` and ``sigmoid(y)``.

    Attributes:
        output: where the scores are: an index of a tuple, a key of a mapping, an attribute, or a
            path of these, joined by dots; or a function of the output, or its import path. None if
            the output is the scores.
        probabilities: whether the classes exclude each other (``softmax``) or not (``sigmoid``);
            None for ``softmax``, or ``sigmoid`` for a single logit.
        targets: what is scored in the place of classes: indices of scores, and functions that map
            what the network returns to one number an image. None for the scores themselves.
        single: whether the scores are read from a single logit; None before the first pass.
    """

    output: int | str | Callable[[Any], Any] | None = None
    probabilities: Probabilities | None = None
    targets: tuple[int | Callable[[Any], Any], ...] | None = None
    single: bool | None = None
    _was_read: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.output, str) and ":" in self.output:
            path = self.output
            self.output = import_object(path, "function of a network's output")
            if not callable(self.output):
                raise ModelError(
                    f"output: expected the import path of a function, found {path!r}, which is "
                    f"{type(self.output).__name__}"
                )

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Float[Tensor, "batch n"]:
        """The scores, in the place of the network's output: a forward hook."""
        name = type(module).__name__
        if self.targets is None:
            scores = self._scores(inputs, output, name)
        else:
            columns = [self._column(target, inputs, output, name) for target in self.targets]
            scores = torch.cat(columns, dim=1)
        self._was_read = True
        return scores

    @property
    def key(self) -> Hashable:
        """A value that two readings share if they read the same; it keeps no function alive."""
        return _key(self.output), tuple(map(_key, self.targets or ()))

    @property
    def meaning(self) -> Probabilities | None:
        """The way from scores to probabilities; None for scores of targets, not of classes."""
        if self.targets is not None:
            return None
        return self.probabilities or ("sigmoid" if self.single else "softmax")

    def probabilities_of(self, scores: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """The probabilities of the classes from their scores.

        Raises:
            NotApplicableError: the scores are those of targets.
        """
        self.require_classes("probabilities of classes")
        return scores.softmax(dim=-1) if self.meaning == "softmax" else scores.sigmoid()

    def require_classes(self, needed: str) -> None:
        """Raise NotApplicableError if the scores are those of targets, not of all classes.

        Args:
            needed: what the method needs of the classes.
        """
        if self.meaning is None:
            raise NotApplicableError(
                f"the method needs {needed}, and a target is a function of the network's output"
            )

    def _scores(self, inputs: Any, output: Any, name: str) -> Float[Tensor, "batch n"]:
        value = output
        if callable(self.output):
            value = _called(self.output, output, f"output function {_name_of(self.output)}")
        elif self.output is not None:
            value = part_at(output, self.output, name)
        if self.single is None:
            self.single = _is_single(value, len(inputs[0]))
        # The tokens of several layers may pass as one batch that is larger than that of the images.
        if self.single and _is_single(value, None):
            if self.probabilities == "softmax":
                raise ModelError(
                    f"{name}: a single logit y has the probability sigmoid(y): expected "
                    "'probabilities: sigmoid' or none, found softmax; give a network with one "
                    "output for each class"
                )
            value = value[:, None] if value.ndim == 1 else value
            value = torch.cat([-value, value], dim=1)
        where = "" if self.output is None or callable(self.output) else str(self.output)
        scores = require_scores(value, name, where, output)
        if not self._was_read:
            require_batch(scores, len(inputs[0]), name)
        return scores

    def _column(self, target: Any, inputs: Any, output: Any, name: str) -> Float[Tensor, "batch 1"]:
        """The score of one target for each image."""
        if not callable(target):
            scores = self._scores(inputs, output, name)
            if not 0 <= target < scores.shape[1]:
                raise ModelError(
                    f"targets: {name} has no output {target}; its outputs are 0 to "
                    f"{scores.shape[1] - 1}"
                )
            return scores[:, target, None]
        said = f"target {_name_of(target)}"
        score = _called(target, output, said)
        tensors = [tensor for _, tensor in tensors_in(output)]
        lengths = {len(tensor) for tensor in tensors if tensor.ndim}
        if (
            not isinstance(score, Tensor)
            or score.ndim != 1
            or len(score) not in lengths
            or not score.is_floating_point()
        ):
            found = shape_of(score) if isinstance(score, Tensor) else type(score).__name__
            raise ModelError(
                f"{said}: expected one number for each image, a floating-point tensor of shape "
                f"(batch,), from the output of {name} ({contents(output)}), found {found}"
            )
        if not self._was_read:
            _require_dependence(score, tensors, said, name)
        return score[:, None]


def _is_single(value: Any, batch: int | None) -> bool:
    """Return whether a value is one logit an image; a batch of any size if it is not given.

    The scores of one image whose dimension of the batch was dropped are none.
    """
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    return value.shape[1:] == (1,) or (value.ndim == 1 and batch in (None, len(value)))


def reading_of(model: nn.Module) -> OutputReading:
    """The reading that a network has; by default its output is the scores."""
    hooks = reversed(model._forward_hooks.values())
    return next((hook for hook in hooks if isinstance(hook, OutputReading)), OutputReading())


def unread(model: nn.Module) -> nn.Module:
    """The network itself, or a copy without its reading if it was given one.

    A builder may return the same network each time; it would be read twice.
    """
    if not any(isinstance(hook, OutputReading) for hook in model._forward_hooks.values()):
        return model
    model = copy.deepcopy(model)
    for key, hook in list(model._forward_hooks.items()):
        if isinstance(hook, OutputReading):
            del model._forward_hooks[key]
    return model


def scored_targets(targets: Any) -> tuple[int | Callable[[Any], Any], ...] | None:
    """The targets of an ``OutputReading``: those given, if a function is among them, else None.

    Raises:
        ModelError: one of them is neither a function nor an output index.
    """
    listed = list(targets) if isinstance(targets, list | tuple) else [targets]
    if not any(map(callable, listed)) or isinstance(targets, Tensor):
        return None
    for target in listed:
        if not callable(target) and (isinstance(target, bool) or not isinstance(target, Integral)):
            raise ModelError(
                "targets: expected output indices and functions of the network's output, found "
                f"{target!r}"
            )
    return tuple(target if callable(target) else int(target) for target in listed)


@contextmanager
def read_with(model: nn.Module, reading: OutputReading) -> Iterator[None]:
    """Let a network return the scores of a reading within the context.

    A reading that the network has already is replaced, and says what the other one does not.
    """
    own, hooks = reading_of(model), dict(model._forward_hooks)
    if reading.output is None:
        reading.output = own.output
    reading.probabilities = reading.probabilities or own.probabilities
    try:
        for key, hook in hooks.items():
            if isinstance(hook, OutputReading):
                del model._forward_hooks[key]
        with hooked(after=[(model, reading)]):
            yield
    finally:
        model._forward_hooks.clear()
        model._forward_hooks.update(hooks)


def _called(function: Callable[[Any], Any], output: Any, said: str) -> Any:
    try:
        return function(output)
    except (WsolBenchError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a user's function can raise any error
        told = plugin_error(f"{said}: fails on the network's output", error, function)
        raise ModelError(
            f"{told}. The output was {contents(output)}; methods run the network on other batches "
            "than yours, so a function of its output must treat each image by itself"
        ) from error


def _require_dependence(
    score: Float[Tensor, " batch"], tensors: Sequence[Tensor], said: str, name: str
) -> None:
    """Raise ModelError if no gradient can pass from a target to the network's output."""
    tracked = [tensor for tensor in tensors if tensor.requires_grad]
    if not tracked or not torch.is_grad_enabled():
        return
    if not score.requires_grad:
        raise ModelError(
            f"{said}: expected a differentiable function of the output of {name}, found one without"
            " a gradient: it ignores the output, or uses argmax, round, item, detach or NumPy"
        )
    found = torch.autograd.grad(score.sum(), tracked, retain_graph=True, allow_unused=True)
    if all(gradient is None for gradient in found):
        raise ModelError(
            f"{said}: expected a function of the output of {name}, found one that does not depend "
            "on it, so that its maps would be zero"
        )


def _name_of(function: Any) -> str:
    return repr(getattr(function, "__name__", type(function).__name__))


def _key(value: Any) -> Hashable:
    """A number or text as it is; a function as a weak reference."""
    if value is None or isinstance(value, int | str):
        return value
    try:
        reference = weakref.ref(value)
        hash(reference)
    except TypeError:
        return object()  # equal to no other one
    return reference
