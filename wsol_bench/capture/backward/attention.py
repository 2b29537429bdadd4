"""The attention matrices of a vision transformer, and the gradients of class scores in them.

Networks compute attention by fused functions that never hold the matrix. During a pass, these are
replaced by the explicit ``softmax(q k^T / sqrt(d) + mask) v``, so that the matrix of each block is
a tensor of the graph; the logits are the network's, up to rounding.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from wsol_bench.capture.backward.explicit_attention import ExplicitAttention, blocks_of, refuse
from wsol_bench.capture.cost import Cost
from wsol_bench.capture.cotangents import one_hot, pulled_back, scaled, unscaled
from wsol_bench.capture.network import evaluation_mode, passed, uncompiled
from wsol_bench.models.hooks import hooked

__all__ = ["Attention", "LayerScore", "attentions", "on_grid"]

# The token that a layer's own score is made of: the class token (with any further prefix tokens
# that the head reads), or the mean of all tokens in the place of each of these.
LayerScore = Literal["class_token", "mean_tokens"]


class Attention(NamedTuple):
    """A block's attention over n tokens: the class token, further prefix tokens, patches.

    Attributes:
        weights: A, after softmax: row i is what token i takes from each token; rows sum to 1.
        gradients: dy_k / dA, for the logit of each class slot; None if no classes were given.
        layer_gradients: ds_k / dA, where s_k is the layer's own score: the logit that the network
            behind the last block (final norm, then head) makes of this block's tokens, or of their
            mean (``LayerScore``). Of a score of the class token, rows of the prefix tokens alone:
            the head reads nothing else, so that all other rows are zero. None if no classes were
            given.
    """

    weights: Float[Tensor, "batch heads n n"]
    gradients: Float[Tensor, "batch k heads n n"] | None
    layer_gradients: Float[Tensor, "batch k heads rows n"] | None


def on_grid(row: Float[Tensor, "*lead n"]) -> Float[Tensor, "*lead h w"]:
    """Values of n tokens as a square map of the patch tokens, which come last."""
    side = math.isqrt(row.shape[-1])
    return row[..., -side * side :].unflatten(-1, (side, side))


@torch.inference_mode(False)
def attentions(
    model: nn.Module,
    images: Float[Tensor, "batch 3 height width"],
    classes: Int64[Tensor, "batch k"] | None = None,
    *,
    layer_score: LayerScore = "class_token",
    cost: Cost | None = None,
) -> list[Attention]:
    """The attention of each block, first to last, in float32.

    One forward pass of the batch (and one of a single image, which finds the blocks). The part of
    the network behind the last block sees the tokens of all blocks at once, as a larger batch; the
    gradients of all slots come from batched vector-Jacobian products.

    Args:
        model: runs in evaluation mode, and comes back as it was, also after an exception.
        images: normalized input, on the model's device.
        classes: output index of each class slot; None for the weights alone, without a backward
            pass.
        layer_score: the token that a layer's own score is made of.
        cost: the pass of the batch and the backward pass from the logits to all blocks are added to
            it; neither the pass of a single image nor the backward passes within blocks are.

    Raises:
        NotApplicableError: the network is no stack of self-attention blocks over one square grid of
            patch tokens behind a class token that its head reads.
        ModelError: the model returns no logits.
    """
    if images.is_inference():
        images = images.clone()  # autograd saves no inference tensor
    explicit = ExplicitAttention(model)
    with evaluation_mode(model), uncompiled(model), torch.no_grad():
        blocks, n_prefix = blocks_of(model, images[:1])
        tail = _Tail(model, blocks, n_prefix, None if classes is None else layer_score)
        explicit.track = classes is not None
        with explicit, tail.watching():
            logits = passed(model, images, cost)
    weights = explicit.taken
    detached = [matrix.detach().float() for matrix in weights]
    if classes is None:
        tail.check(logits)
        return [Attention(matrix, None, None) for matrix in detached]
    by_block, of_last = tail.gradients(logits, classes)
    of_logits = _gradients(tail.outputs[-1], of_last, weights, cost)
    n_rows = n_prefix if layer_score == "class_token" else None
    return [
        Attention(
            matrix,
            gradients,
            _gradients(output, cotangents, [tensor], None)[0][..., :n_rows, :].clone(),
        )
        for matrix, gradients, output, cotangents, tensor in zip(
            detached, of_logits, tail.outputs, by_block, weights, strict=True
        )
    ]


def _gradients(
    tokens: Float[Tensor, "batch n c"],
    cotangents: Float[Tensor, "k batch n c"],
    weights: Sequence[Tensor],
    cost: Cost | None,
) -> list[Float[Tensor, "batch k heads n n"]]:
    """Gradients with respect to attention weights, from scaled cotangents of a block's tokens."""
    by_slot = pulled_back(tokens, weights, cotangents, cost, retain=True)
    return [unscaled(gradient) for gradient in by_slot]


class _Tail:
    """The part of the network behind the last block: the final norm and the head.

    Attributes:
        outputs: tokens of each block, first to last.
    """

    def __init__(
        self,
        model: nn.Module,
        blocks: Sequence[nn.Module],
        n_prefix: int,
        layer_score: LayerScore | None,
    ) -> None:
        self.outputs: list[Tensor] = []
        self._model = model
        self._blocks = blocks
        self._n_prefix = n_prefix
        self._layer_score = layer_score
        self._seen: Tensor

    def watching(self) -> AbstractContextManager[None]:
        """Make the tail take the tokens of all blocks as one batch, or the last block's alone.

        If layers are scored by the mean of their tokens, this mean takes the place of each token,
        and the last block's own tokens follow as one more block.
        """
        return hooked(after=((block, self._hook) for block in self._blocks))

    def _hook(self, module: nn.Module, inputs: Any, output: Any) -> Tensor:
        if not (isinstance(output, Tensor) and output.ndim == 3):
            refuse(self._model, "blocks that do not return (batch, tokens, channels)")
        self.outputs.append(output)
        if len(self.outputs) == len(self._blocks):
            if self._layer_score == "class_token":
                output = torch.cat(self.outputs)
            elif self._layer_score == "mean_tokens":
                means = [tokens.mean(1, keepdim=True).expand_as(tokens) for tokens in self.outputs]
                output = torch.cat([*means, output])
            # Gradients pass back in two parts: to the tokens, and from there on.
            self._seen = output.detach().requires_grad_(True)
            torch.set_grad_enabled(True)
            output = self._seen
        return output.clone()  # what follows may work in place

    def gradients(
        self, logits: Shaped[Tensor, "..."], classes: Int64[Tensor, "batch k"]
    ) -> tuple[Float[Tensor, "layers k batch n c"], Float[Tensor, "k batch n c"]]:
        """Scaled gradients of the tail's logits with respect to the tokens of each block.

        Returns:
            The gradients of each block's own score, and those of the network's logits with respect
            to the last block.
        """
        self._check_shape(logits)
        n_stacked = len(self._seen) // len(classes)
        cotangents = scaled(one_hot(classes.repeat(n_stacked, 1), logits), logits)
        (by_slot,) = pulled_back(logits, [self._seen], cotangents, None)
        self._check_reading(by_slot)
        by_block = by_slot.unflatten(1, (n_stacked, -1)).transpose(0, 1)
        of_last = by_block[-1]
        if self._layer_score == "mean_tokens":
            of_mean = by_block[:-1].sum(-2, keepdim=True)
            by_block = (of_mean / by_block.shape[-2]).expand_as(by_block[:-1])
        return by_block, of_last

    def check(self, logits: Shaped[Tensor, "..."]) -> None:
        """Raise NotApplicableError unless the logits are made of the prefix tokens alone."""
        self._check_shape(logits)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(logits.sum(), self._seen)
        self._check_reading(gradient)

    def _check_shape(self, logits: Shaped[Tensor, "..."]) -> None:
        if logits.ndim != 2 or len(logits) != len(self._seen):
            refuse(self._model, "a head that does not take each image by itself")

    def _check_reading(self, gradient: Float[Tensor, "*slots n c"]) -> None:
        if gradient[..., self._n_prefix :, :].any():
            refuse(self._model, "a head that pools the patch tokens")
