"""Functions whose backward pass carries marginal winning probabilities in place of gradients.

p is the marginal winning probability of a neuron (Zhang et al., ECCV 2016, arXiv:1608.00507). The
forward pass of each function is that of the network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["MarginalLayer", "SharedSum", "Unchanged", "Weights"]

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
    """A sum ``a + b``; a gets ``p * a+ / (a+ + b+)``, and b the rest."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        """The sum a + b."""
        added = a.clamp(min=0), b.clamp(min=0)
        both = added[0] + added[1]
        # The shares are kept, not the summands: the sum may take the place of one.
        ctx.save_for_backward(*(torch.where(both > 0, term / both, 0.0) for term in added))
        return a + b

    @staticmethod
    def backward(ctx: Any, p: Tensor) -> tuple[Tensor, Tensor]:
        """The p of a and of b, from the p of their sum."""
        of_a, of_b = ctx.saved_tensors
        return p * of_a, p * of_b


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
