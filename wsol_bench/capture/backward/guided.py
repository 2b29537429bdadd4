"""Backward rules of rectifiers, by which guided backpropagation and deconvnet differ."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Shaped
from torch import Tensor
from torch.overrides import TorchFunctionMode

from wsol_bench.capture.forward_pass import RELUS
from wsol_bench.errors import NotApplicableError

__all__ = ["Rule", "backward_rule"]

Rule = Literal["plain", "guided", "deconvnet"]

# Functions that modules call, and that users call. A mode sees the outermost of nested functions:
# nn.ReLU6 calls F.hardtanh, but F.relu6 is seen as itself. Sigmoids, hard ones too, are gates.
_RECTIFIERS = {
    *RELUS, F.relu6, F.hardswish, F.silu, F.gelu, F.mish, F.softplus,
    F.leaky_relu, F.leaky_relu_, F.rrelu, F.rrelu_, torch.rrelu, torch.rrelu_,
    F.prelu, torch.prelu, Tensor.prelu, F.elu, F.elu_,
    F.celu, F.celu_, torch.celu, torch.celu_, F.selu, F.selu_, torch.selu, torch.selu_,
}  # fmt: skip

# These functions are rectifiers if their lower bound is 0. The bound is the second argument, or the
# keyword argument whose name stands here.
_BOUNDED = {
    F.hardtanh: "min_val", F.hardtanh_: "min_val",
    F.threshold: "threshold", torch.threshold: "threshold",
    torch.clamp_min: "min", torch.clamp_min_: "min",
    Tensor.clamp_min: "min", Tensor.clamp_min_: "min",
}  # fmt: skip

# These are rectifiers, too, if they have no upper bound: a tensor that is clamped at both ends is
# mostly a gate (a hard sigmoid written by hand) or an image.
_CLAMPS = {
    torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_,
    torch.clip, torch.clip_, Tensor.clip, Tensor.clip_,
}  # fmt: skip


@contextmanager
def backward_rule(rule: Rule) -> Iterator[None]:
    """Give networks that run within the context another backward pass; outputs stay the same.

    ``guided`` (Springenberg et al., ICLR 2015 workshop, section 3.4): a rectifier passes its
    derivative times the positive part of the gradient that comes from above. ``deconvnet`` (Zeiler
    and Fergus, ECCV 2014): the positive part alone. ``plain`` changes nothing. The papers define
    the rules for ReLU; other rectifiers (SiLU, GELU, ...) follow the same rule with their own
    derivative. That of ReLU6, which is a Hardtanh from 0 to 6, is 0 at 6 and above: ``guided``
    passes nothing there, and ``deconvnet``, which no input gates, passes the positive gradient.

    Rectifiers are recognized by the torch function that the network calls: ReLU and its relatives
    as modules, functions, methods, in place or not, Hardtanh with a lower bound of 0, and
    ``clamp(min=0)``. Not recognized are a product of a tensor and its sigmoid, written by hand, and
    a clamp at both ends, which is mostly a gate.

    Raises:
        NotApplicableError: at the end, if the network ran no rectifier: its gradient is then that
            of ``plain``.
    """
    if rule == "plain":
        yield
        return
    mode = _Rectifiers(rule)
    with mode:
        yield
    if not mode.n_changed:
        raise NotApplicableError(
            f"the {rule} rule changes how rectifiers (ReLU, GELU, ...) pass the gradient, and the "
            "network runs no rectifier (clamp(x, 0, 6) is not taken for one; nn.ReLU6 is)"
        )


class _Rectifiers(TorchFunctionMode):
    """Replaces the backward pass of rectifiers, and counts them."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self._rule = rule
        self.n_changed = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if not torch.is_grad_enabled() or not _rectifies(func, args, kwargs):
            return func(*args, **kwargs)
        inputs, *rest = args or (kwargs.pop("input"),)
        if not inputs.requires_grad:
            return func(inputs, *rest, **kwargs)
        self.n_changed += 1
        # A copy, as the function may work in place, and the input belongs to the rule's own graph.
        copied = inputs.clone()
        if self._rule == "guided":
            output = func(copied, *rest, **kwargs)
            ruled = _PositiveGradient.apply(output)
        else:
            with torch.no_grad():
                output = func(copied, *rest, **kwargs)
            ruled = _GradientOf.apply(inputs, output)
        # In place, the network may go on with its own tensor and drop what is returned here.
        return inputs.copy_(ruled) if output is copied else ruled


def _rectifies(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Return whether a call of a torch function is a rectifier."""
    if func in _RECTIFIERS:
        return True
    if func in _BOUNDED:
        lower = args[1] if len(args) > 1 else kwargs.get(_BOUNDED[func])
    elif func in _CLAMPS:
        upper = args[2] if len(args) > 2 else kwargs.get("max")
        lower = args[1] if len(args) > 1 else kwargs.get("min")
        lower = lower if upper is None else None
    else:
        return False
    return isinstance(lower, int | float) and lower == 0


class _PositiveGradient(torch.autograd.Function):
    """The identity; its backward pass keeps the positive part of the gradient alone."""

    generate_vmap_rule = True

    @staticmethod
    def forward(output: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        return output.clone()  # a view could not be worked on in place

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        return gradient.clamp_min(0)


class _GradientOf(torch.autograd.Function):
    """Returns its second argument; the first one gets the positive part of the gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(inputs: Shaped[Tensor, "..."], output: Shaped[Tensor, "..."]) -> Any:
        return output.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Shaped[Tensor, "..."]) -> tuple[Any, None]:
        return gradient.clamp_min(0), None
