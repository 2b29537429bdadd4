"""Relevance of a vision transformer's attention matrices, by layer-wise relevance propagation."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from wsol_bench.capture.backward.attention import ExplicitAttention, blocks_of
from wsol_bench.capture.backward.tail import refuse
from wsol_bench.capture.cost import Cost
from wsol_bench.capture.cotangents import one_hot, pulled_back
from wsol_bench.capture.network import evaluation_mode, passed, uncompiled
from wsol_bench.models.target_layers import TokenGrid

__all__ = ["relevances"]


@torch.inference_mode(False)
def relevances(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    classes: Int64[Tensor, "batch k"],
    *,
    grid: TokenGrid | None = None,
    cost: Cost | None = None,
) -> list[Float[Tensor, "batch k heads n n"]]:
    """The relevance of each block's attention matrix to each class slot, first block to last.

    Layer-wise relevance propagation by the rules of Chefer et al. (CVPR 2021, section 3.1 and
    3.2), as in their code: a backward pass that carries relevance R in the place of gradients. It
    begins with 1 at the logit of the class.

    - linear layers, without bias: ``R_j = sum_i (x_j w_ij)^+ / sum_j' (x_j' w_ij')^+ R_i``, the
      positive products alone;
    - products of two matrices: ``R_x = x / 2 * d(sum S z) / dx`` with ``S = R / z``, and so for
      the other factor: each gets half;
    - residual sums z = x + y: ``R_x = x R / z`` and ``R_y = y R / z``, each then scaled so that
      all of an image's R is shared by ``|sum R_x| : |sum R_y|``;
    - softmax, LayerNorm, GELU and multiplication by a constant: R passes as it is.

    Args:
        model: runs in evaluation mode, and comes back as it was, also after an exception.
        images: normalized input, on the model's device.
        classes: output index of each class slot.
        grid: the grid of the patch tokens; None if the network is to be asked.
        cost: the pass of the batch and the backward passes are added to it.

    Raises:
        NotApplicableError: as for ``attentions``; or an operation behind the first attention has no
            rule.
    """
    if images.is_inference():
        images = images.clone()
    explicit = _Relevance()
    with evaluation_mode(model), uncompiled(model), torch.no_grad():
        blocks_of(model, images[:1], grid)
        explicit.track = True
        with explicit:
            logits = passed(model, images, cost)
    cotangents = one_hot(classes, logits).transpose(0, 1).to(logits.dtype)
    by_slot = [
        pulled_back(logits, explicit.taken, cotangent, cost, retain=True)
        for cotangent in cotangents
    ]
    return [torch.stack(slots, dim=1).float() for slots in zip(*by_slot, strict=True)]


_SUMS = {torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__}
# These work on each value alone, or multiply it by a constant: relevance passes as it is.
_PASSING = {
    F.layer_norm, F.gelu, F.relu, torch.relu, Tensor.relu, Tensor.mul, Tensor.__mul__, Tensor.div,
    Tensor.__rmul__, Tensor.__truediv__,
}  # fmt: skip
# These move values, so that relevance moves back; a value that is used twice collects both.
_MOVING = {
    torch.cat, torch.flatten, torch.permute, torch.reshape, torch.select, torch.squeeze,
    torch.transpose, torch.unbind, torch.unsqueeze, F.dropout, Tensor.__getitem__, Tensor.chunk,
    Tensor.clone, Tensor.contiguous, Tensor.expand, Tensor.flatten, Tensor.float, Tensor.permute,
    Tensor.reshape, Tensor.select, Tensor.split, Tensor.squeeze, Tensor.to, Tensor.transpose,
    Tensor.unbind, Tensor.unflatten, Tensor.unsqueeze, Tensor.view,
}  # fmt: skip


class _Relevance(ExplicitAttention):
    """Gives each operation a backward pass that carries relevance."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not torch.is_grad_enabled():  # before the first attention
            return super().__torch_function__(func, types, args, kwargs)
        if func is F.linear:
            return self._linear(*args, **(kwargs or {}))
        if func in _SUMS and not kwargs and _are_alike(args):
            return _RelevanceOfSum.apply(*args)
        result = super().__torch_function__(func, types, args, kwargs)
        # A factor that is computed itself would take part of the relevance.
        if func in _PASSING and all(not isinstance(arg, Tensor) or arg.is_leaf for arg in args[1:]):
            return _RelevancePasses.apply(args[0], result.detach())
        own = {*_MOVING, F.scaled_dot_product_attention, F.multi_head_attention_forward}
        if func not in own and isinstance(result, Tensor) and result.requires_grad:
            name = torch.overrides.resolve_name(func) or func.__name__
            refuse(f"{name}, which has no rule of relevance")
        return result

    def _linear(self, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        result: Tensor = _RelevanceOfLinear.apply(inputs, weight, F.linear(inputs, weight, bias))
        return result

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float, mask: Tensor | None
    ) -> Tensor:
        if mask is not None:
            refuse("a mask, which has no rule of relevance")
        scores = _RelevanceOfProduct.apply(query, key.transpose(-2, -1))
        softmax = _RelevancePasses.apply(scores, (scores.detach() * scale).softmax(-1))
        mixed: Tensor = _RelevanceOfProduct.apply(self._take(softmax), value)
        return mixed


def _are_alike(args: Any) -> bool:
    """Return whether the arguments are two tensors of one shape."""
    return (
        len(args) == 2
        and all(isinstance(arg, Tensor) for arg in args)
        and args[0].shape == args[1].shape
    )


def _divided(a: Shaped[Tensor, "..."], b: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """The quotient a / b, and 0 where b is 0; the authors' small number keeps it finite."""
    near = b + 1e-9
    return torch.where(b == 0, 0, a / torch.where(near == 0, 1e-9, near))


class _RelevancePasses(torch.autograd.Function):
    """Returns its second argument, which was computed from the first; R passes as it is."""

    @staticmethod
    def forward(ctx: Any, inputs: Shaped[Tensor, "..."], output: Shaped[Tensor, "..."]) -> Any:
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, relevance: Shaped[Tensor, "..."]) -> Any:
        return relevance, None


class _RelevanceOfLinear(torch.autograd.Function):
    """Returns its third argument, the output of a linear layer with the given input and weight."""

    @staticmethod
    def forward(ctx: Any, inputs: Any, weight: Any, output: Any) -> Any:
        ctx.save_for_backward(inputs, weight)
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, relevance: Shaped[Tensor, "..."]) -> Any:
        inputs, weight = ctx.saved_tensors
        x, nx = inputs.clamp(min=0), inputs.clamp(max=0)
        w, nw = weight.clamp(min=0), weight.clamp(max=0)
        share = _divided(relevance, F.linear(x, w) + F.linear(nx, nw))
        return x * (share @ w) + nx * (share @ nw), None, None


class _RelevanceOfProduct(torch.autograd.Function):
    """A product of two matrices; each factor gets half of R."""

    @staticmethod
    def forward(ctx: Any, left: Any, right: Any) -> Any:
        product = left @ right
        ctx.save_for_backward(left, right, product)
        return product

    @staticmethod
    def backward(ctx: Any, relevance: Shaped[Tensor, "..."]) -> Any:
        left, right, product = ctx.saved_tensors
        share = _divided(relevance, product) / 2
        return left * (share @ right.transpose(-2, -1)), right * (left.transpose(-2, -1) @ share)


class _RelevanceOfSum(torch.autograd.Function):
    """A sum of two tensors of one shape, which share R by the sizes of their contributions."""

    @staticmethod
    def forward(ctx: Any, left: Any, right: Any) -> Any:
        ctx.save_for_backward(left, right)
        return left + right

    @staticmethod
    def backward(ctx: Any, relevance: Shaped[Tensor, "..."]) -> Any:
        terms = ctx.saved_tensors
        share = _divided(relevance, terms[0] + terms[1])
        parts = [term * share for term in terms]
        # For each image by itself, so that it does not depend on its batch.
        dims = tuple(range(1, relevance.ndim))
        total = relevance.sum(dims, keepdim=True)
        sums = [part.sum(dims, keepdim=True) for part in parts]
        sizes = sums[0].abs() + sums[1].abs()
        return tuple(
            part * _divided(_divided(size.abs(), sizes) * total, size)
            for part, size in zip(parts, sums, strict=True)
        )
