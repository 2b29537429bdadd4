"""The part of a vision transformer behind its last block, which scores the tokens of each block."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NoReturn

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from wsol_bench.capture.cotangents import one_hot, pulled_back, scaled
from wsol_bench.errors import NotApplicableError
from wsol_bench.models.hooks import hooked

__all__ = ["LayerScore", "Tail", "refuse"]

# The token that a layer's own score is made of: the class token (with any further prefix tokens
# that the head reads), or the mean of all tokens in the place of each of these.
LayerScore = Literal["class_token", "mean_tokens"]


class Tail:
    """The part of the network behind the last block: the final norm and the head.

    Attributes:
        outputs: tokens of each block, first to last.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        n_prefix: int,
        layer_score: LayerScore | None,
    ) -> None:
        self.outputs: list[Tensor] = []
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
            refuse("blocks that do not return (batch, tokens, channels)")
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
            refuse("a head that does not take each image by itself")

    def _check_reading(self, gradient: Float[Tensor, "*slots n c"]) -> None:
        if gradient[..., self._n_prefix :, :].any():
            refuse("a head that pools the patch tokens")
        if gradient.any() and not gradient[..., 0, :].any():
            refuse("a head that does not read the first token")


def refuse(finding: str) -> NoReturn:
    """Raise NotApplicableError because the network is not a vision transformer of this kind.

    Args:
        finding: what the network has or does instead, as a noun phrase.
    """
    raise NotApplicableError(
        "maps from attention need blocks of self-attention over one grid of patch tokens behind a "
        f"class token; found {finding}"
    )
