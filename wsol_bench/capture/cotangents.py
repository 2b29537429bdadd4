"""Vector-Jacobian products, which carry cotangents back through a network, scaled and counted."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from wsol_bench.capture.cost import Cost
from wsol_bench.capture.own_functions import own_functions
from wsol_bench.errors import ModelError, NotApplicableError

__all__ = [
    "gradients",
    "one_hot",
    "pulled_back",
    "scaled",
    "second_order",
    "unscaled",
    "without_overflow",
]

# Cotangents are scaled by a power of two, exact in every float format, so that half-precision
# gradients do not underflow on their way back; they are scaled back in float32. Head weights below
# 64 fit float16 with it; what overflows is passed back once more, without a scale.
_SCALE = 2.0**10


def one_hot(
    classes: Int64[Tensor, "batch k"], logits: Float[Tensor, "batch n"]
) -> Float[Tensor, "batch k n"]:
    """The cotangent of each class slot: 1 at the logit of its class, 0 elsewhere."""
    shape = (*classes.shape, logits.shape[1])
    zeros = torch.zeros(shape, device=logits.device)
    return zeros.scatter_(2, classes[:, :, None], 1.0)


def scaled(
    cotangents: Float[Tensor, "batch k n"], logits: Float[Tensor, "batch n"], scale: float = _SCALE
) -> Float[Tensor, "k batch n"]:
    """Cotangents ready to pass back: scaled, in the float format of the logits, slots first."""
    return (cotangents * scale).transpose(0, 1).to(logits.dtype)


def unscaled(
    gradient: Float[Tensor, "k batch ..."], scale: float = _SCALE
) -> Float[Tensor, "batch k ..."]:
    """Gradients made from scaled cotangents: scaled back, in float32, the batch first."""
    gradient = gradient.transpose(0, 1).float()
    return gradient if scale == 1.0 else gradient / scale


def without_overflow(
    logits: Float[Tensor, "batch n"], passed_back: Callable[[float], list[Any]]
) -> list[Any]:
    """Gradients by scaled cotangents; where they are not finite in float16, by plain ones.

    Args:
        logits: scores before softmax.
        passed_back: the gradients, scaled back, by cotangents of a scale; None for those that do
            not exist.
    """
    found = passed_back(_SCALE)
    tensors = [gradient for gradient in found if gradient is not None]
    # One look for all: each would wait for the GPU.
    if (
        not _is_half(logits)
        or not tensors
        or bool(torch.stack([one.isfinite().all() for one in tensors]).all())
    ):
        return found
    return [
        None if one is None else torch.where(one.isfinite(), one, plain)
        for one, plain in zip(found, passed_back(1.0), strict=True)
    ]


def _is_half(logits: Float[Tensor, "batch n"]) -> bool:
    """Return whether logits are in float16, or were made directly from values that are."""
    below = () if logits.grad_fn is None else logits.grad_fn.next_functions
    results = [result for node, _ in below for result in getattr(node, "_input_metadata", ())]
    return torch.float16 in {logits.dtype, *(result.dtype for result in results)}


def pulled_back(
    upper: Shaped[Tensor, "..."],
    lowers: Sequence[Tensor],
    cotangents: Shaped[Tensor, "..."],
    cost: Cost | None,
    *,
    retain: bool = False,
    create: bool = False,
    allow_unused: bool = False,
) -> Sequence[Any]:
    """Carry cotangents of an upper tensor back to lower tensors.

    Several class slots pass back at once, or one by one if a function of the network's own cannot.

    Args:
        upper: a tensor whose first dimension is the batch.
        lowers: tensors in the graph of ``upper``.
        cotangents: cotangents of ``upper``, of its shape; or with one more dimension in front, for
            several class slots at once. The results then have this dimension, too.
        cost: the (image, cotangent) pairs are added to its ``backward``; None if these cotangents
            were already counted above ``upper``.
        retain: whether the graph is needed again.
        create: whether the results are differentiable themselves.
        allow_unused: whether the result is None for a tensor that ``upper`` does not depend on;
            otherwise it is a RuntimeError.
    """
    n_slots = cotangents.ndim - upper.ndim
    if cost is not None:
        cost.backward += cotangents.shape[: n_slots + 1].numel()
    if allow_unused and not upper.requires_grad:
        return [None] * len(lowers)

    # A function of the network's own may take one cotangent at a time; the graph is kept for that.
    careful = n_slots == 1 and any(True for _ in own_functions(upper))

    def grad(cotangents: Tensor, *, batched: bool) -> Sequence[Any]:
        return torch.autograd.grad(
            upper,
            list(lowers),
            cotangents,
            retain_graph=retain or create or careful,
            create_graph=create,
            allow_unused=allow_unused,
            is_grads_batched=batched,
        )

    with torch.autocast(upper.device.type, enabled=False):  # as the pass, whatever the caller set
        try:
            return grad(cotangents, batched=n_slots == 1)
        except RuntimeError as error:
            if not careful or isinstance(error, torch.OutOfMemoryError):
                raise
            slots = [grad(cotangent, batched=False) for cotangent in cotangents]
    return [
        None if of_lower[0] is None else torch.stack(of_lower)
        for of_lower in zip(*slots, strict=True)
    ]


def gradients(
    logits: Float[Tensor, "batch n"],
    outputs: Sequence[Tensor],
    cotangents: Float[Tensor, "batch k n"],
    names: Sequence[str],
    model: nn.Module,
    *,
    cost: Cost | None = None,
    retain: bool = False,
    n_required: int | None = None,
) -> list[Float[Tensor, "_ k ..."]]:
    """Gradients of the class slots at layers, by one batched vector-Jacobian product, in float32.

    An image's logits depend on its own activations only (evaluation mode), so one cotangent a slot
    serves the whole batch.

    Args:
        logits: scores before softmax, with the graph of the pass.
        outputs: outputs of the layers, in that graph. Their first dimension is the batch, or the
            windows of its images.
        cotangents: one for each image and class slot.
        names: names of the layers, for errors.
        model: the network, for errors.
        cost: the passes are added to it.
        retain: whether the graph is needed again.
        n_required: how many of the layers, the first ones, the logits must depend on; None for
            all. The gradient at another layer of which the logits are independent is 0.

    Raises:
        ModelError: the logits do not depend on a layer by differentiable operations.
    """
    retain = retain or _is_half(logits)

    def passed_back(scale: float) -> list[Any]:
        at_logits = scaled(cotangents, logits, scale)
        by_slot = pulled_back(logits, outputs, at_logits, cost, retain=retain, allow_unused=True)
        return [None if one is None else unscaled(one, scale) for one in by_slot]

    found = without_overflow(logits, passed_back)
    for name, gradient in list(zip(names, found, strict=True))[:n_required]:
        if gradient is None:
            raise ModelError(
                f"the logits of {type(model).__name__} do not depend on layer {name!r} by "
                "differentiable operations (its forward may switch gradients off behind or around "
                "the layer, by no_grad, set_grad_enabled or detach)"
            )
    return [
        output.new_zeros((len(output), cotangents.shape[1], *output.shape[1:]), dtype=torch.float32)
        if gradient is None
        else gradient
        for output, gradient in zip(outputs, found, strict=True)
    ]


def second_order(
    logits: Float[Tensor, "batch n"],
    at: Float[Tensor, "batch ..."],
    cotangent: Float[Tensor, "batch n"],
    *,
    cost: Cost | None = None,
) -> tuple[Float[Tensor, "batch ..."], Float[Tensor, "batch ..."]]:
    """The gradient g of one class slot at A, and H A, the slot's Hessian times A; in float32.

    Two vector-Jacobian products. H is 0 if no path leads from A to its own gradient.

    Args:
        logits: scores before softmax, with the graph of the pass.
        at: A, the activations, in that graph.
        cotangent: the cotangent of each image's logits.
        cost: the passes are added to it.

    Raises:
        NotApplicableError: an operation between A and the logits has no second derivative.
    """

    def passed_back(scale: float) -> list[Tensor]:
        at_logits = scaled(cotangent[:, None], logits, scale)[0]
        (first,) = pulled_back(logits, [at], at_logits, cost, create=True)
        try:
            (second,) = pulled_back(first, [at], at.detach(), cost, retain=True, allow_unused=True)
        except RuntimeError as error:
            if not re.search("is not implemented|differentiate twice|ouble backward", str(error)):
                raise
            raise NotApplicableError(
                f"an operation behind the layer has no second derivative: {error}"
            ) from error
        second = torch.zeros_like(at) if second is None else second
        return [first.detach().float() / scale, second.detach().float() / scale]

    slopes, curvature = without_overflow(logits, passed_back)
    return slopes, curvature
