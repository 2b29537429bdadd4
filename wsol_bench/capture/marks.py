"""Marks of tensors that several map methods read, by which a write into them is noticed."""

from typing import Any, NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils._pytree import tree_leaves

__all__ = ["Mark", "mark", "marked"]

# The values of a tensor that a mark keeps.
_SAMPLES = 2**12


class Mark(NamedTuple):
    """The state of a tensor when the mark was made.

    An operation in place raises the version of its tensor and of all views of it. A write through
    ``.data`` or ``.numpy()`` does not, nor does an operation in inference mode; so a mark can also
    keep values from all over the tensor. Nothing waits for the device until values are compared.

    Attributes:
        identity: identity of the tensor.
        address: address of its values.
        version: number of operations in place on it; -1 if it was made in inference mode.
        requires_grad: whether it required gradients.
        gradient: identity of its ``.grad``; 0 if it has none.
        values: some of its values, as bytes; None if they are not kept.
    """

    identity: int
    address: int
    version: int
    requires_grad: bool
    gradient: int
    values: UInt8[Tensor, " n"] | None

    def change(self, tensor: Tensor, *, values: bool) -> str:
        """Say what is different about the tensor now; "" if nothing is.

        Args:
            tensor: the tensor that has this mark.
            values: whether the values that are kept are compared, which waits for the device.
        """
        now = mark(tensor, values=values and self.values is not None)
        if now[:2] != self[:2]:
            return "was replaced"
        if now.version != self.version:
            return "was changed in place"
        kept, found = self.values, now.values
        if kept is not None and found is not None and not torch.equal(kept, found):
            return "was changed in place"
        if now.requires_grad != self.requires_grad:
            return f"has requires_grad={now.requires_grad}"
        return "" if now.gradient == self.gradient else "has another .grad"


def mark(tensor: Tensor, *, values: bool) -> Mark:
    """The mark of a tensor, with or without some of its values."""
    gradient = tensor.grad if tensor.is_leaf else None
    return Mark(
        id(tensor),
        tensor.data_ptr(),
        -1 if tensor.is_inference() else tensor._version,
        tensor.requires_grad,
        0 if gradient is None else id(gradient),
        _some_values(tensor) if values else None,
    )


def marked(result: Any) -> list[tuple[Tensor, Mark]]:
    """The tensors in a result, each with its mark and some of its values."""
    tensors = (leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
    return [(tensor, mark(tensor, values=True)) for tensor in tensors]


def _some_values(tensor: Tensor) -> UInt8[Tensor, " n"]:
    """A copy of some thousand values of a tensor, as bytes, so that NaN equals NaN."""
    values = tensor.detach()
    # In the order in which they lie in memory: another order would copy all of them.
    strides: tuple[int, ...] = values.stride()
    order = sorted(range(values.ndim), key=lambda axis: -strides[axis])
    flat = values.permute(order).reshape(-1)
    # An odd step meets all rows and columns of maps, whose sides are mostly even.
    step = max(1, flat.numel() // _SAMPLES) | 1
    return flat[::step].clone().view(torch.uint8)
