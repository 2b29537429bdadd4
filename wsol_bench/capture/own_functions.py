"""Second derivatives of a network's own autograd functions, which autograd takes on trust.

The backward pass of a ``torch.autograd.Function`` can be differentiated whether or not that is
right: with ``once_differentiable``, detached tensors, or tensors that its forward pass computed and
saved, the second derivative lacks a part, and nothing fails.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import BackwardCFunction

from wsol_bench.errors import NotApplicableError

__all__ = ["own_functions", "require_second_derivatives"]

# The step of a finite difference, as a part of the size of the arguments.
_STEP = 1e-2
# A second derivative is wrong if it is off by this part of its own size in more than this same part
# of its values: at a kink there is none.
_OFF = 0.1
# What is less than this part of the gradient's size is rounding.
_LEAST = 0.01

# A function belongs to no network: one thread at a time replaces the forward pass of functions.
_PATCHING = threading.Lock()
# By network, the layers behind which its own functions were checked.
_CHECKED = WeakKeyDictionary[nn.Module, set[str]]()


def require_second_derivatives(
    model: nn.Module, layer: str, logits: Shaped[Tensor, "..."], again: Callable[[], Any]
) -> None:
    """Raise NotApplicableError if one of a network's own functions has a wrong second derivative.

    Each function in the graph is checked by itself, the first time that this layer is asked for: on
    the arguments of its first call, the derivative of its gradient along the gradient itself is
    compared with a finite difference.

    Args:
        model: the network.
        layer: name of the layer from which the graph reaches to the logits.
        logits: scores before softmax, with that graph.
        again: runs that part of the network again, to see the functions' arguments.
    """
    checked = _CHECKED.setdefault(model, set())
    if layer in checked:
        return
    functions = list(dict.fromkeys(own_functions(logits)))
    with _PATCHING, ExitStack() as stack:
        calls = [stack.enter_context(_noted_calls(function)) for function in functions]
        if functions:
            again()
    for function, arguments in zip(functions, calls, strict=True):
        try:
            is_right = bool(arguments) and _is_right(_Call(function, arguments[0]))
            cause = None
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # code of the network, which is run alone
            is_right, cause = False, error
        if not is_right:
            found = f"fails: {cause}" if cause else "is not that of its gradient"
            raise NotApplicableError(
                f"behind layer {layer!r}, {type(model).__name__} runs {function.__name__}, an "
                f"autograd function whose second derivative {found}; let its backward compute with "
                "differentiable operations on its saved inputs (no once_differentiable, detach or "
                "results of its forward), or use operations of torch in its place"
            ) from cause
    checked.add(layer)


def own_functions(tensor: Tensor) -> Iterator[type[Function]]:
    """The functions in the graph of a tensor that are written in Python."""
    waiting, seen = [tensor.grad_fn], set[Any]()
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, BackwardCFunction):
            yield node._forward_cls  # type: ignore[attr-defined]
        waiting += [below for below, _ in node.next_functions]


@contextmanager
def _noted_calls(function: type[Function]) -> Iterator[list[tuple[Any, ...]]]:
    """Note the arguments of the first call of a function within the context."""
    calls: list[tuple[Any, ...]] = []
    forward, own = function.forward, function.__dict__.get("forward")
    takes_context = function.setup_context is Function.setup_context

    @wraps(forward)  # torch fills in the defaults of its signature
    def noting(*arguments: Any) -> Any:
        if not calls:
            given = arguments[takes_context:]
            calls.append(
                tuple(value.clone() if isinstance(value, Tensor) else value for value in given)
            )
        return forward(*arguments)

    setattr(function, "forward", staticmethod(noting))  # noqa: B010
    try:
        yield calls
    finally:
        if own is None:
            delattr(function, "forward")
        else:
            setattr(function, "forward", own)  # noqa: B010


class _Call:
    """A call of a function that can be repeated, in float32 if its arguments are less precise.

    Attributes:
        points: the arguments in a float format.
        cotangents: random cotangents of the results.
    """

    def __init__(self, function: type[Function], arguments: tuple[Any, ...]) -> None:
        self._function = function
        self._values = [
            value.float() if _is_float(value) and value.element_size() < 4 else value
            for value in arguments
        ]
        self._places = [place for place, value in enumerate(arguments) if _is_float(value)]
        self.points = [self._values[place].detach() for place in self._places]
        self.cotangents: list[Tensor] = []

    def gradient(self, points: Sequence[Tensor], *, create: bool = False) -> list[Any]:
        """The gradient at some points; None for an argument that has none."""
        given = list(self._values)
        for place, point in zip(self._places, points, strict=True):
            given[place] = point.clone()  # the function may work in place
        results = self._function.apply(*given)
        results = results if isinstance(results, tuple) else (results,)
        results = [result for result in results if _is_float(result) and result.requires_grad]
        noise = torch.Generator().manual_seed(0)
        self.cotangents = self.cotangents or [
            torch.randn(result.shape, generator=noise).to(result).requires_grad_()
            for result in results
        ]
        gradients = torch.autograd.grad(
            results, list(points), self.cotangents, create_graph=create, allow_unused=True
        )
        return list(gradients)


@torch.enable_grad()
def _is_right(call: _Call) -> bool:
    """Return whether autograd differentiates a function's gradient as a finite difference does."""
    points = [point.clone().requires_grad_() for point in call.points]
    slopes = call.gradient(points, create=True)
    steps = [
        torch.zeros_like(point) if slope is None else slope.detach() * (_rms(point) / _rms(slope))
        for point, slope in zip(points, slopes, strict=True)
    ]
    terms = [(g * d).sum() for g, d in zip(slopes, steps, strict=True) if g is not None]
    product = torch.stack(terms).sum() if terms else torch.zeros(())
    if not product.requires_grad:
        return not bool(product.detach())
    exact = torch.autograd.grad(product, [*points, *call.cotangents], allow_unused=True)
    by_cotangents = zip(exact[len(points) :], call.cotangents, strict=True)
    total = sum(float((part * of.detach()).sum()) for part, of in by_cotangents if part is not None)
    # The gradient is linear in the cotangents, and so is its product with the steps.
    if abs(total - float(product.detach())) > _OFF * abs(float(product.detach())):
        return False
    ahead, behind = (
        call.gradient([
            (point.detach() + way * step).requires_grad_()
            for point, step in zip(points, steps, strict=True)
        ])
        for way in (_STEP, -_STEP)
    )  # fmt: skip
    return all(
        _agree(
            torch.zeros_like(slope) if part is None else part,
            (high - low) / (2 * _STEP),
            _LEAST * _rms(slope),
        )
        for part, high, low, slope in zip(exact, ahead, behind, slopes, strict=False)
        if slope is not None
    )


def _agree(found: Tensor, expected: Tensor, least: float) -> bool:
    off = (found - expected).abs() > _OFF * torch.maximum(found.abs(), expected.abs()) + least
    return float(off.float().mean()) <= _OFF


def _rms(values: Tensor) -> float:
    return max(float(values.detach().square().mean().sqrt()), 1e-30)


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
