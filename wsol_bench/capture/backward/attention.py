"""The attention matrices of a vision transformer, and the gradients of class scores in them.

Networks compute attention by fused functions that never hold the matrix. During a pass, these are
replaced by the explicit ``softmax(q k^T / sqrt(d) + mask) v``, so that the matrix of each block is
a tensor of the graph; the logits are the network's, up to rounding.
"""

import math
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wsol_bench.capture.backward.tail import LayerScore, Tail, refuse
from wsol_bench.capture.cost import Cost
from wsol_bench.capture.cotangents import pulled_back, unscaled
from wsol_bench.capture.grids import LayerGrid, token_grid
from wsol_bench.capture.network import evaluation_mode, logits_of, passed, uncompiled
from wsol_bench.errors import ModelError
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import TokenGrid

__all__ = ["Attention", "ExplicitAttention", "attentions", "blocks_of"]


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
        grid: the grid of the patches, which are the last tokens.
    """

    weights: Float[Tensor, "batch heads n n"]
    gradients: Float[Tensor, "batch k heads n n"] | None
    layer_gradients: Float[Tensor, "batch k heads rows n"] | None
    grid: TokenGrid

    def on_grid(self, row: Float[Tensor, "*lead n"]) -> Float[Tensor, "*lead h w"]:
        """Values of n tokens as a map of the patch tokens."""
        grid = LayerGrid("tokens", *self.grid)
        return grid.to_channels(row[..., None]).squeeze(-3)


@torch.inference_mode(False)
def attentions(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    classes: Int64[Tensor, "batch k"] | None = None,
    *,
    layer_score: LayerScore = "class_token",
    grid: TokenGrid | None = None,
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
        grid: the grid of the patch tokens; None if the network is to be asked.
        cost: the pass of the batch and the backward pass from the logits to all blocks are added to
            it; neither the pass of a single image nor the backward passes within blocks are.

    Raises:
        NotApplicableError: the network is no stack of self-attention blocks over one grid of patch
            tokens behind a class token that its head reads.
        ModelError: the model returns no logits.
    """
    if images.is_inference():
        images = images.clone()  # autograd saves no inference tensor
    explicit = ExplicitAttention()
    with evaluation_mode(model), uncompiled(model), torch.no_grad():
        blocks, grid = blocks_of(model, images[:1], grid)
        tail = Tail(blocks, grid.first, None if classes is None else layer_score)
        explicit.track = classes is not None
        with explicit, tail.watching():
            logits = passed(model, images, cost)
    weights = explicit.taken
    detached = [matrix.detach().float() for matrix in weights]
    if classes is None:
        if not getattr(model, "localizes_by_class_token", False):
            tail.check(logits)
        return [Attention(matrix, None, None, grid) for matrix in detached]
    by_block, of_last = tail.gradients(logits, classes)
    of_logits = _gradients(tail.outputs[-1], of_last, weights, cost)
    n_rows = grid.first if layer_score == "class_token" else None
    return [
        Attention(
            matrix,
            gradients,
            _gradients(output, cotangents, [tensor], None)[0][..., :n_rows, :].clone(),
            grid,
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


class ExplicitAttention(TorchFunctionMode):
    """Computes attention step by step, and keeps each matrix.

    Under any function mode nn.MultiheadAttention leaves its native fast path, which no mode sees.

    Attributes:
        taken: the attention weights, in the order in which they were computed.
        track: whether gradients are tracked from the first attention on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Tensor] = []
        self.track = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return self._scaled_dot_product(*args, **(kwargs or {}))
        if func is F.multi_head_attention_forward:
            return self._multi_head(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _take(self, weights: Tensor) -> Tensor:
        if self.track and not weights.requires_grad:
            weights = weights.detach().requires_grad_(True)
            # The enclosing no_grad restores the mode when the pass is over, also by an exception.
            torch.set_grad_enabled(True)
        self.taken.append(weights)
        return weights

    def _scaled_dot_product(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if dropout_p:
            refuse("attention with dropout in evaluation mode")
        if enable_gqa and key.shape[-3] != query.shape[-3]:
            refuse("heads that share their keys (enable_gqa)")
        if is_causal:
            refuse("causal attention")
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        return self._attend(query, key, value, scale, attn_mask)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float, mask: Tensor | None
    ) -> Tensor:
        scores = (query * scale) @ key.transpose(-2, -1)
        if mask is not None and mask.dtype == torch.bool:
            scores = scores.masked_fill(~mask, -math.inf)
        elif mask is not None:
            scores = scores + mask
        return self._take(scores.softmax(-1)) @ value

    def _linear(self, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(inputs, weight, bias)

    def _multi_head(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        embed_dim_to_check: int,
        num_heads: int,
        in_proj_weight: Tensor | None,
        in_proj_bias: Tensor | None,
        bias_k: Tensor | None,
        bias_v: Tensor | None,
        add_zero_attn: bool,
        dropout_p: float,
        out_proj_weight: Tensor,
        out_proj_bias: Tensor | None,
        training: bool = True,
        need_weights: bool = True,
        average_attn_weights: bool = True,
        **rare: Any,
    ) -> tuple[Tensor, Tensor | None]:
        unsupported = {
            "nn.MultiheadAttention of different queries, keys and values": not (
                query is key and key is value
            ),
            "nn.MultiheadAttention of a single sequence without a batch": query.ndim != 3,
            "nn.MultiheadAttention with a key or value bias": not (bias_k is None is bias_v),
            "nn.MultiheadAttention with add_zero_attn": add_zero_attn,
            "nn.MultiheadAttention with dropout in evaluation mode": training and dropout_p > 0,
            **{
                f"nn.MultiheadAttention with {name}": not (option is None or option is False)
                for name, option in rare.items()
            },
        }
        for finding, is_so in unsupported.items():
            if is_so:
                refuse(finding)
        assert in_proj_weight is not None  # it is None only with use_separate_proj_weight
        # Tokens come before the batch: (n, batch, heads * d) to (batch, heads, n, d).
        q, k, v = (
            part.unflatten(-1, (num_heads, -1)).permute(1, 2, 0, 3)
            for part in self._linear(query, in_proj_weight, in_proj_bias).chunk(3, dim=-1)
        )
        mixed = self._attend(q, k, v, q.shape[-1] ** -0.5, None).permute(2, 0, 1, 3).flatten(2)
        output = self._linear(mixed, out_proj_weight, out_proj_bias)
        if not need_weights:
            return output, None
        weights = self.taken[-1]
        return output, weights.mean(1) if average_attn_weights else weights


def blocks_of(
    model: nn.Module, image: Float[Tensor, "1 channels height width"], grid: TokenGrid | None
) -> tuple[list[nn.Module], TokenGrid]:
    """The blocks of a vision transformer, one attention each, and the grid of its patch tokens.

    Args:
        model: the network.
        image: one image.
        grid: the grid if it is known; None if the network is to be asked.

    Raises:
        NotApplicableError: the network is not a vision transformer of the kind that ``attentions``
            takes.
    """
    running: list[str] = []
    places: list[list[str]] = []
    explicit = ExplicitAttention()

    def enter(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any) -> None:
            # Attention since the last hook ran in the module that was running until now.
            note()
            running.append(name)

        return hook

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        note()
        running.pop()

    def note() -> None:
        place = running[-1].split(".") if running else []
        places.extend([place] * (len(explicit.taken) - len(places)))

    entering = ((module, enter(name)) for name, module in model.named_modules())
    leaving = ((module, leave) for module in model.modules())
    with hooked(before=entering, after=leaving), explicit:
        logits_of(model, image, None)
    n_tokens = _n_tokens([tuple(matrix.shape) for matrix in explicit.taken])
    # Blocks are children, with one attention each, of the deepest module that holds all attention.
    levels = zip(*places, strict=False)
    depth = 1 + sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, levels))
    if len(places) == 1:
        containers = (nn.Sequential, nn.ModuleList)
        ends = range(len(places[0]), 0, -1)
        depth = next(
            (
                end
                for end in ends
                if isinstance(model.get_submodule(".".join(places[0][: end - 1])), containers)
            ),
            depth,
        )
    names = [".".join(place[:depth]) for place in places]
    if len(set(names)) < len(names) or "" in names:
        refuse(f"more than one attention a block, in {', '.join(dict.fromkeys(names))}")
    grid = _grid_behind_class_token(model, image, n_tokens, grid)
    return [model.get_submodule(name) for name in names], grid


def _grid_behind_class_token(
    model: nn.Module,
    image: Float[Tensor, "1 channels height width"],
    n_tokens: int,
    grid: TokenGrid | None,
) -> TokenGrid:
    """The grid of the patch tokens, if they are the last of n tokens, and not the first."""
    try:
        grid = grid or token_grid(model, image, n_tokens)
    except ModelError as error:
        refuse(str(error))
    n_patches = grid.height * grid.width
    if grid.first == 0 or grid.first + n_patches != n_tokens:
        refuse(f"{n_patches} patches from token {grid.first} on, of {n_tokens} tokens")
    return grid


def _n_tokens(shapes: Sequence[tuple[int, ...]]) -> int:
    """The number of tokens, by the shapes of one image's attention matrices."""
    distinct = list(dict.fromkeys(shapes))
    if not distinct:
        refuse(
            "no attention at all (no call of scaled_dot_product_attention or of "
            "multi_head_attention_forward)"
        )
    if any(len(shape) != 4 or shape[0] != 1 or shape[2] != shape[3] for shape in distinct):
        listed = ", ".join(map(str, distinct))
        refuse(f"attention of shapes {listed} for one image: windows, or pooling")
    n_tokens = {shape[-1] for shape in distinct}
    if len(n_tokens) > 1:
        refuse(f"grids that change between blocks ({sorted(n_tokens)} tokens)")
    return n_tokens.pop()
