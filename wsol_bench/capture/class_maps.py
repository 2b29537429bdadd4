"""Gradients behind a class convolution, one class at a time.

In a head that ends in a 1x1 class convolution with maps z = w A + bias, and whose later operations
(ReLU, pooling) work on each class alone, the logit of class n depends on z[n] only. So one
cotangent of ones gives s[n] = d logit[n] / d z[n] for all classes together, and the gradient of
class n at the convolution's input is w[n] s[n]: one product in the place of a transposed
convolution of all classes, of which all but one pass back zeros.
"""

from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import GradientEdge

from wsol_bench.capture.cost import Cost
from wsol_bench.capture.cotangents import (
    gradients,
    one_hot,
    pulled_back,
    scaled,
    unscaled,
    without_overflow,
)
from wsol_bench.models.output_reading import OutputReading, reading_of

__all__ = ["class_gradients"]

# Nodes of the graph whose operation computes each class's values from those of that class alone, if
# the first two dimensions (batch, classes) are the same before and behind it ...
_ELEMENTWISE = {
    "ReluBackward0", "CloneBackward0", "ToCopyBackward0",
    "MulBackward0", "DivBackward0", "AddBackward0", "SubBackward0",
    "ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0",
    "SqueezeBackward0", "SqueezeBackward1", "SqueezeBackward2", "UnsqueezeBackward0",
}  # fmt: skip
# ... and it takes four dimensions ...
_POOLING = {
    "AvgPool2DBackward0", "AdaptiveAvgPool2DBackward0",
    "MaxPool2DWithIndicesBackward0", "AdaptiveMaxPool2DBackward0",
}  # fmt: skip
# ... or reduces later dimensions only.
_REDUCING = {
    "MeanBackward1", "SumBackward1", "AmaxBackward0", "MaxBackward0", "LogsumexpBackward0",
}  # fmt: skip

# By network, whether the rule gave the gradients of autograd at layers of these names, with these
# hooks of modules and this reading of the output: a hook may put one on a tensor, which the graph
# does not show.
_SEEN = WeakKeyDictionary[nn.Module, dict[Hashable, bool]]()


class _ClassConvolution(NamedTuple):
    """A class convolution in the graph of logits.

    Attributes:
        node: its node.
        behind: the last node whose result still has the shape of the class maps; maybe ``node``.
        input: its input, in the graph.
        weight: its weights, one row a class.
    """

    node: Any
    behind: Any
    input: Float[Tensor, "batch c h w"]
    weight: Float[Tensor, "n c"]


def class_gradients(
    logits: Float[Tensor, "batch n"],
    outputs: Sequence[Tensor],
    classes: Int64[Tensor, "batch k"],
    names: Sequence[str],
    model: nn.Module,
    *,
    cost: Cost,
) -> list[Float[Tensor, "_ k ..."]]:
    """Gradients of class slots at layers, in float32: by the class convolution if there is one.

    The graph of each pass says whether the head is such a one, so that whatever else stands behind
    the layer (a module's hook that changes values, a function of the network's own, a softmax)
    leads to ``gradients``. The first time that the rule is used for layers of a network, autograd's
    gradients are computed as well; if they are others (a hook of a tensor changes gradients), they
    are taken from then on. In float32 on a CPU, and in half precision, both were equal bit for bit
    wherever they were compared.

    Args:
        logits: scores before softmax, with the graph of the pass.
        outputs: outputs of the layers, in that graph; see ``gradients``.
        classes: output index of each class slot.
        names: names of the layers, for errors.
        model: the network.
        cost: the passes are added to it: one for each class slot, whichever way it goes.

    Raises:
        ModelError: the logits do not depend on a layer by differentiable operations.
    """
    cotangents = one_hot(classes, logits)
    by_autograd = partial(gradients, logits, outputs, cotangents, names, model)
    seen = _SEEN.setdefault(model, {})
    key: Hashable = (*names, *_hooks(model), reading_of(model).key)
    convolution = _class_convolution(logits) if seen.get(key, True) else None
    if convolution is None:
        return by_autograd(cost=cost)
    found = without_overflow(logits, partial(_passed_back, logits, convolution, outputs, classes))
    if any(gradient is None for gradient in found):  # a layer is behind the convolution
        return by_autograd(cost=cost)
    if key not in seen:
        expected = by_autograd(retain=True)
        tensors = (logits, convolution.input, *outputs)
        is_exact = all(one.dtype == torch.float32 and not one.is_cuda for one in tensors)
        # Half precision, and on a GPU TensorFloat-32, round to 8 to 11 bits.
        if (agreed := _agree(found, expected, 1e-4 if is_exact else 1e-2)) is not None:
            seen[key] = agreed
        if not agreed:
            found = expected
    cost.backward += classes.numel()
    return found


def _passed_back(
    logits: Float[Tensor, "batch n"],
    convolution: _ClassConvolution,
    outputs: Sequence[Tensor],
    classes: Int64[Tensor, "batch k"],
    scale: float,
) -> list[Any]:
    """Gradients at the layers by cotangents of a scale; None where a layer is no part of z."""
    node, behind, below, weight = convolution
    ones = scaled(torch.ones_like(logits)[:, None], logits, scale)[0]
    with torch.autocast(logits.device.type, enabled=False):  # as in ``pulled_back``
        edge, end = GradientEdge(behind, 0), GradientEdge(node, 0)
        (slopes,) = torch.autograd.grad(logits, [edge], ones, retain_graph=True)
        if behind is not node:
            # The mean passes channels first back; beside maps in channels last that takes long.
            is_last = below.is_contiguous(memory_format=torch.channels_last)
            order = torch.channels_last if is_last else torch.contiguous_format
            slopes = slopes.contiguous(memory_format=order)
            (slopes,) = torch.autograd.grad([edge], [end], [slopes], retain_graph=True)
        if {tensor.dtype for tensor in (slopes, below, *outputs)} == {torch.float32}:
            # Nothing is in half precision from here on, and these are fewer values to scale back.
            slopes, scale = slopes / scale, 1.0
        index = classes[:, :, None, None].expand(*classes.shape, *slopes.shape[2:])
        of_slots = slopes.gather(1, index).transpose(0, 1)
        at_input = weight[classes.T][..., None, None] * of_slots[:, :, None]
    by_slot = pulled_back(below, outputs, at_input, None, retain=True, allow_unused=True)
    return [None if one is None else unscaled(one, scale) for one in by_slot]


def _agree(found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float) -> bool | None:
    """Return whether gradients are the same up to rounding; None if nothing can be compared.

    Args:
        found, expected: the gradients at each layer.
        tolerance: the largest difference, as a share of the largest gradient.
    """
    for ours, theirs in zip(found, expected, strict=True):
        size = float(theirs.abs().max()) if theirs.numel() else 0.0
        if not 0 < size < torch.inf:
            return None
        if not float((ours - theirs).abs().max()) <= tolerance * size:
            return False
    return True


def _class_convolution(logits: Float[Tensor, "batch n"]) -> _ClassConvolution | None:
    """The class convolution that logits come from, class by class; None if there is none."""
    node: Any = logits.grad_fn
    chain: list[Any] = []
    while node is not None and not isinstance(node, BackwardCFunction):
        if _shape(node)[:2] != tuple(logits.shape):
            return None
        if node.name() == "ConvolutionBackward0":
            behind = next((one for one in chain if _shape(one) == _shape(node)), node)
            return _one_by_one(node, behind)
        below = [edge for edge in node.next_functions if edge[0] is not None]
        if len(below) != 1 or below[0][1] != 0:
            return None
        if not _is_by_class(node, _shape(below[0][0])):
            return None
        chain.append(node)
        node = below[0][0]
    return None


def _is_by_class(node: Any, shape: tuple[int, ...]) -> bool:
    """Return whether an operation computes a class's values from those of the class alone.

    Args:
        node: its node.
        shape: the shape of its input.
    """
    name, n_dims = node.name(), len(shape)
    if name == "AsStridedBackward1":  # how torch's average pooling says channels last
        is_same = shape == _shape(node) and set(shape[2:]) == {1}
        return is_same and (node._saved_stride[:2], node._saved_storage_offset or 0) == (
            (shape[1], 1),
            0,
        )
    if name in _REDUCING:
        dims = node._saved_dim if isinstance(node._saved_dim, tuple) else (node._saved_dim,)
        # A negative dimension is stored as a number without sign.
        positions = [(dim - 2**64 if dim >= 2**63 else dim) % n_dims for dim in dims]
        return bool(positions) and min(positions) >= 2
    return name in _ELEMENTWISE or (name in _POOLING and n_dims == 4)


def _one_by_one(node: Any, behind: Any) -> _ClassConvolution | None:
    """The class convolution of a node; None if it is another convolution, or its weights vary."""
    below, weight = node._saved_input, node._saved_weight
    if below is None or weight is None or below.ndim != 4 or tuple(weight.shape[2:]) != (1, 1):
        return None
    is_plain = (
        node._saved_groups == 1
        and not node._saved_transposed
        and set(node._saved_stride) == {1}
        and set(node._saved_padding) == {0}
    )
    parameters = [edge[0] for edge in node.next_functions[1:]]
    if not is_plain or not all(map(_is_parameter, parameters)):
        return None
    return _ClassConvolution(node, behind, below, weight.detach().flatten(1))


def _is_parameter(node: Any) -> bool:
    """Return whether a node is a parameter, maybe in the precision of autocast; or nothing."""
    if node is not None and node.name() == "ToCopyBackward0":
        node = node.next_functions[0][0]
    return node is None or isinstance(getattr(node, "variable", None), nn.Parameter)


def _hooks(model: nn.Module) -> list[int]:
    """The number of each hook of a network's modules, which no other hook of this process has.

    The reading of the output is left out: each call of ``localization_maps`` has one of its own.
    """
    return [
        number
        for module in model.modules()
        for hooks in (module._forward_pre_hooks, module._forward_hooks)
        for number, hook in hooks.items()
        if not isinstance(hook, OutputReading)
    ]


def _shape(node: Any) -> tuple[int, ...]:
    """The shape of a node's (first) result."""
    results = getattr(node, "_input_metadata", ())
    return tuple(results[0].shape) if results else ()
