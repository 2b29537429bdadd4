"""Functions whose backward pass carries marginal winning probabilities in place of gradients.

p is the marginal winning probability of a neuron (Zhang et al., ECCV 2016, arXiv:1608.00507). The
forward pass of each function is that of the network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["MarginalLayer", "Residual", "SharedSum", "Unchanged", "Weights", "shares"]

# How a sum shares out p; see ``shares``.
Residual = Literal["positive", "signed", "branch"]

# Below it a neuron counts as not excited and passes nothing on: p / (W+ x) stays finite.
_LEAST_EXCITATION = 1e-20


class MarginalLayer(torch.autograd.Function):
    """A layer y = W x + b, ``layer(x)``; p passes as ``x * W+^T (p / (W+ x))``.

    ``excite(x)`` is W+ x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any, excite: Any) -> Tensor:
        """The layer's output for x."""
        ctx.save_for_backward(x)
        ctx.excite = excite
        ctx.has_weights = excite is not layer  # an average is its own W+
        return layer(x)

    @staticmethod
    def backward(ctx: Any, p: Tensor) -> tuple[Tensor, None, None]:
        """The p of x, from the p of the output."""
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_(True)
            excited = ctx.excite(x)
        each = torch.where(excited > _LEAST_EXCITATION, p / excited, 0.0)
        (passed,) = torch.autograd.grad(excited, x, each)
        return x.detach() * passed, None, None


class Unchanged(torch.autograd.Function):
    """A layer ``layer(x)`` that works on each value alone; p passes as it is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        """The layer's output for x."""
        return layer(x)

    @staticmethod
    def backward(ctx: Any, p: Tensor) -> tuple[Tensor, None]:
        """The p of x, which is the p of the output."""
        return p, None


class SharedSum(torch.autograd.Function):
    """A sum ``a + b``; a gets ``p * of_a``, and b gets ``p * of_b``."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, of_a: Tensor, of_b: Tensor) -> Tensor:
        """The sum a + b."""
        # The shares are kept, not the summands: the sum may take the place of one.
        ctx.save_for_backward(of_a, of_b)
        return a + b

    @staticmethod
    def backward(ctx: Any, p: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """The p of a and of b, from the p of their sum."""
        of_a, of_b = ctx.saved_tensors
        return p * of_a, p * of_b, None, None


def shares(a: Tensor, b: Tensor, residual: Residual) -> tuple[Tensor, Tensor] | None:
    """The shares of p that the summands of ``a + b`` get.

    ``positive``: ``a+ / (a+ + b+)``, the sum as a layer of two equal weights whose inputs count if
    they are positive. ``signed``: ``a / (a + b)``, below 0 and above 1 if the signs differ; 0 if
    the sum is 0. ``branch``: 1 for the summand behind more layers with weights, and 0 for the
    other, which is the shortcut of a residual block.

    Returns:
        The shares of a and of b; None for ``branch`` if both summands are behind as many layers.
    """
    if residual == "branch":
        depths = [_weighted_layers(term) for term in (a, b)]
        if depths[0] == depths[1]:
            return None
        of_a = torch.full_like(a, float(depths[0] > depths[1]))
        return of_a, 1 - of_a
    a, b = a.detach(), b.detach()
    if residual == "positive":
        a, b = a.clamp(min=0), b.clamp(min=0)
    whole = a + b
    of_a, of_b = (torch.where(whole.abs() > 0, term / whole, 0.0) for term in (a, b))
    return of_a, of_b


def _weighted_layers(output: Tensor) -> int:
    """The largest number of layers with weights on a path from the map layer to a tensor."""
    counts = dict[Any, int]()
    waiting = [output.grad_fn]
    while waiting:
        node = waiting[-1]
        inputs = [] if node is None else [input for input, _ in node.next_functions]
        missing = [input for input in inputs if input not in counts]
        if missing:
            waiting.extend(missing)
            continue
        own = int(getattr(node, "has_weights", False))
        counts[node] = own + max((counts[input] for input in inputs), default=0)
        waiting.pop()
    return counts[output.grad_fn]


@dataclass
class Weights:
    """The weights of a layer.

    Attributes:
        value: W.
        linear: the layer without bias, a function of x and W.
    """

    value: Tensor
    linear: Callable[[Tensor, Tensor], Tensor]

    def excite(self, x: Tensor) -> Tensor:
        """W+ x."""
        return self.linear(x, self.value.clamp(min=0))
