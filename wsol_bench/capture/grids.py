"""The grid of a layer's output over the network's input: asked of the network, never guessed.

A tensor does not say which of its dimensions are rows and columns, or which of its tokens are
patches. The shape answers if only one reading of it has the input's aspect. Otherwise the network
is shown an image whose quarters are changed one by one: what changes in the output must lie in the
same quarter of the grid. The grid must also reach to the borders of the image, and no further.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from wsol_bench.capture.changed_parts import (
    CONTRAST,
    lies_elsewhere,
    own_share,
    pass_changes,
    strips,
    under_changes,
)
from wsol_bench.capture.network import evaluation_mode
from wsol_bench.errors import ModelError
from wsol_bench.geometry import keeps_aspect
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import (
    Layout,
    Target,
    TokenGrid,
    is_known_layer,
)

__all__ = ["LayerGrid", "grid_of", "token_grid"]

# The least share of what a changed quarter of the image changes, on the average, that lies in the
# same quarter of the grid of patches. In another arrangement it is about 1/4.
_SHARE = 0.75

# Below this share of what a quarter changes in the same quarter of a grid, another reading of the
# shape may be the right one.
_DOUBTFUL = 0.6

# Grids that the network was asked for, by what they depend on.
_ASKED = WeakKeyDictionary[nn.Module, dict[Any, Any]]()


@dataclass(frozen=True)
class LayerGrid:
    """The grid of positions in a layer's output, over the whole of the network's input.

    Attributes:
        layout: ``nchw``; ``nhwc``; ``tokens`` (n, tokens, c), row by row.
        height, width: number of rows and columns.
        first: index of the first patch token; other tokens may come before and behind the patches.
    """

    layout: Layout
    height: int
    width: int
    first: int = 0

    def to_channels(self, output: Shaped[Tensor, "..."]) -> Shaped[Tensor, "*lead c h w"]:
        """Channels over the grid, from the layer's output, or its gradient, with leading dims."""
        if self.layout == "nchw":
            return output
        if self.layout == "tokens":
            patches = output[..., self.first : self.first + self.height * self.width, :]
            output = patches.unflatten(-2, (self.height, self.width))
        return output.movedim(-1, -3)

    def to_output(
        self, channels: Shaped[Tensor, "n c h w"], output: Shaped[Tensor, "..."]
    ) -> Shaped[Tensor, "..."]:
        """The layer's output with other values on the grid, the inverse of ``to_channels``.

        Args:
            channels: channels over the grid.
            output: the layer's output for the same n images; tokens off the grid are kept.
        """
        if self.layout == "nchw":
            return channels
        last = channels.movedim(-3, -1)
        if self.layout == "nhwc":
            return last
        end = self.first + self.height * self.width
        parts = [output[:, : self.first], last.flatten(-3, -2), output[:, end:]]
        return torch.cat(parts, dim=-2)


def grid_of(
    model: nn.Module,
    target: Target,
    output: Shaped[Tensor, "..."],
    images: Float[Tensor, "batch channels height width"],
) -> LayerGrid:
    """The grid of a target layer's output.

    Args:
        model: the network; it runs again, on a few images, if the shape does not tell the grid.
        target: the target layer; what it says of layout and grid is believed if the shape allows
            it, and the network's tokens do not lie in another grid.
        output: the layer's output for the images.
        images: the network's input.

    Raises:
        ModelError: the output is no grid over the input, or not the one that the target says; or
            the network does not tell the grid. The message names the argument to give.
    """
    shape = tuple(output.shape)
    if len(shape) not in (3, 4) or shape[0] != len(images) or 0 in shape:
        raise ModelError(
            f"layer {target.layer!r} returns {shape}, which is no grid of positions for each of "
            f"{len(images)} images: expected (b, c, h, w), (b, h, w, c) or (b, tokens, c); name "
            "another layer with 'layer:'"
        )
    if len(shape) == 4 and target.token_grid is not None:
        raise ModelError(
            f"token_grid: layer {target.layer!r} returns {shape}, which are no tokens: leave "
            "'token_grid' out, or name a layer of tokens with 'layer:'"
        )
    if (len(shape) == 3) != (target.layout == "tokens") and target.layout is not None:
        raise ModelError(
            f"layer {target.layer!r} returns {shape}, which has not the layout {target.layout!r}; "
            "name another layer with 'layer:', or this layer's layout with 'layout:'"
        )
    if len(shape) == 3:
        grid = target.token_grid or _grid_of_tokens(model, target, shape[1], images)
        if target.token_grid is not None:
            _require_no_other(model, images, shape[1], target.layer, target.token_grid)
        if grid.first + grid.height * grid.width > shape[1] or min(grid.height, grid.width) < 1:
            raise ModelError(
                f"layer {target.layer!r} has {shape[1]} tokens, too few for the grid of "
                f"{grid.height} x {grid.width} patches from token {grid.first} on that "
                "'token_grid:' says"
            )
        found = LayerGrid("tokens", grid.height, grid.width, grid.first)
    else:
        found = _image_grid(model, target, shape, images)
    is_said = target.token_grid is not None or (target.layout is not None and len(shape) == 4)
    if not is_said and _contradicts(model, images, target.layer, found):
        raise ModelError(
            f"layer {target.layer!r} returns {shape}, which does not lie over the input as a grid "
            f"of {found.height} x {found.width} in layout {found.layout!r}: what changes with a "
            "part of the image is elsewhere (windows, a mirrored or otherwise ordered grid, an "
            "attention matrix, a batch that is not the first dimension), or the grid ends "
            "elsewhere than the image (which the network crops or pads); name another layer with "
            "'layer:'"
        )
    return found


def _grid_of_tokens(model: nn.Module, target: Target, n: int, images: Tensor) -> TokenGrid:
    """The grid of a layer's n tokens: by the input's aspect if all are patches, else asked."""
    size = (images.shape[2], images.shape[3])
    shapes = [(rows, n // rows) for rows in range(1, n + 1) if n % rows == 0]
    fitting = [shape for shape in shapes if keeps_aspect(*shape, *size)]
    exact = [shape for shape in fitting if shape[0] * size[1] == shape[1] * size[0]]
    found = exact or fitting
    if target.all_patches and len(found) == 1:
        return TokenGrid(*found[0], 0)
    return token_grid(model, images, n, target.layer)


def _require_no_other(
    model: nn.Module, images: Tensor, n: int, layer: str, given: TokenGrid
) -> None:
    """Raise ModelError if the network's n tokens lie in another grid than the one that is given."""
    try:
        asked = token_grid(model, images, n)
    except ModelError:  # the network does not tell
        return
    if asked != given:
        raise ModelError(
            f"token_grid: {list(given)} is given for layer {layer!r}, but the {n} tokens of "
            f"{type(model).__name__} lie in the grid {list(asked)} for an input of "
            f"{images.shape[2]} x {images.shape[3]}: leave it out"
        )


def _contradicts(model: nn.Module, images: Tensor, layer: str, grid: LayerGrid) -> bool:
    """Return whether changed parts of the image show that a layer's grid is another one.

    The layer of the target-layer table is known. A layer whose every position sees the whole image
    shows nothing.
    """
    kept = _kept(model)
    key = ("contradiction", layer, grid, images.shape[2:])
    if key not in kept:
        kept[key] = not is_known_layer(model, layer) and _is_another(model, images, layer, grid)
    contradicts: bool = kept[key]
    return contradicts


def _is_another(model: nn.Module, images: Tensor, layer: str, grid: LayerGrid) -> bool:
    """Return whether changed quarters, and strips at the borders, change other parts of a grid."""
    parts = strips((grid.height, grid.width), images)
    output = under_changes(model, images, layer, parts)
    if len(output) != 5 + len(parts) or lies_elsewhere(grid.to_channels(output)):
        return True
    quarters = output[:5]
    own = own_share(grid.to_channels(quarters))
    readings = _as_tokens(model, images, quarters, grid) if own < _DOUBTFUL else []
    return any(own_share(reading) > CONTRAST * own for reading in readings)


def _as_tokens(
    model: nn.Module, images: Tensor, output: Shaped[Tensor, "5 ..."], grid: LayerGrid
) -> list[Shaped[Tensor, "5 c h w"]]:
    """Other readings of a layer's output, in which one of its dimensions holds the tokens.

    They are the rows and the columns of attention matrices (b, heads, n, n), and the last dimension
    of (b, c, n) with c = n.
    """
    if output.ndim == 3:
        return [grid.to_channels(output.mT)] if output.shape[1] == output.shape[2] else []
    readings = []
    for dim in (1, 2, 3):
        if output.shape[dim] in (grid.height, grid.width):
            with suppress(ModelError):  # the network has no such number of tokens
                tokens = LayerGrid("tokens", *token_grid(model, images, output.shape[dim]))
                readings.append(tokens.to_channels(output.movedim(dim, 1).flatten(2)))
    return readings


def _image_grid(
    model: nn.Module,
    target: Target,
    shape: tuple[int, ...],
    images: Float[Tensor, "batch channels height width"],
) -> LayerGrid:
    """The grid of a layer with four dimensions; ``grid_of`` documents the arguments."""
    size = (images.shape[2], images.shape[3])
    readings = [LayerGrid("nchw", *shape[2:]), LayerGrid("nhwc", *shape[1:3])]
    fitting = [grid for grid in readings if keeps_aspect(grid.height, grid.width, *size)]
    listed = " or ".join(
        f"{grid.height} x {grid.width} in layout {grid.layout!r}" for grid in readings
    )
    found = (
        f"layer {target.layer!r} returns {shape}, a grid of {listed}, for an input of "
        f"{size[0]} x {size[1]}"
    )
    if target.layout is not None:
        [said] = [grid for grid in readings if grid.layout == target.layout]
        # A network may shrink rows and columns differently, or enlarge its input, but what is said
        # is believed only if the other reading does not have the input's aspect.
        if said in fitting or not fitting:
            return said
        raise ModelError(
            f"{found}: {target.layout!r} cannot be its layout; correct 'layout:', or name another "
            "layer with 'layer:'"
        )
    if len(fitting) > 1:
        kept = _kept(model)
        key = (target.layer, shape[1:], size)
        if key not in kept:
            kept[key] = _by_quarters(under_changes(model, images, target.layer), fitting, size)
        fitting = kept[key]
    if len(fitting) != 1:
        reason = "none has the input's aspect" if not fitting else "both are possible"
        raise ModelError(
            f"{found}: {reason}; name the layout with 'layout:', or another layer with 'layer:'"
        )
    return fitting[0]


def token_grid(
    model: nn.Module, images: Float[Tensor, "batch channels height width"], n: int, layer: str = ""
) -> TokenGrid:
    """The grid of patches among the n tokens of a network, for inputs of this size.

    The network is asked once for each size. It is shown an image and four copies with one quarter
    changed; where the n tokens first appear, before attention mixes them, the tokens that change
    are the patches, and all other tokens are class or register tokens.

    Args:
        model: runs in evaluation mode, and comes back as it was.
        images: a batch of the input's size, format and device.
        n: number of tokens.
        layer: name of a layer with these tokens, for messages.

    Raises:
        ModelError: the changes are not those of a grid, row by row, with the input's aspect.
    """
    size = (images.shape[2], images.shape[3])
    kept = _kept(model)
    if ("tokens", n, size) not in kept:
        kept["tokens", n, size] = _asked_tokens(model, images, n)
    grid: TokenGrid | None = kept["tokens", n, size]
    if grid is None:
        of_layer = f"layer {layer!r} has {n} tokens" if layer else f"{n} tokens"
        raise ModelError(
            f"{of_layer}, and {type(model).__name__} does not tell which of them lie where in an "
            f"input of {size[0]} x {size[1]}: say it with 'token_grid: [rows, columns, index of "
            "the first patch token]', or name another layer with 'layer:'"
        )
    return grid


def _asked_tokens(model: nn.Module, images: Tensor, n: int) -> TokenGrid | None:
    """The grid that the network's tokens show; None if they show none."""
    size = (images.shape[2], images.shape[3])
    seen: list[Tensor] = []

    def look(values: Any) -> None:
        for value in values if isinstance(values, tuple | list) else (values,):
            is_tokens = isinstance(value, Tensor) and value.ndim == 3 and not seen
            if is_tokens and tuple(value.shape[:2]) == (5, n):
                seen.append(value.detach().clone())

    hooks = list(model.modules())
    with (
        evaluation_mode(model),
        hooked(
            before=((module, lambda module, inputs: look(inputs)) for module in hooks),
            after=((module, lambda module, inputs, output: look(output)) for module in hooks),
        ),
    ):
        pass_changes(model, images)
    if not seen:
        return None
    tokens = seen[0]
    changes = (tokens[1:] - tokens[:1]).float().square().sum(2).amax(dim=0)
    patches = (changes > 1e-4 * changes.max()).nonzero()[:, 0].tolist()
    if not patches or patches != list(range(patches[0], patches[-1] + 1)):
        return None
    sides = range(1, len(patches) + 1)
    shapes = ((rows, len(patches) // rows) for rows in sides if len(patches) % rows == 0)
    fitting = [
        LayerGrid("tokens", *shape, first=patches[0])
        for shape in shapes
        if keeps_aspect(*shape, *size)
    ]
    shares = [own_share(grid.to_channels(tokens)) for grid in fitting]
    if max(shares, default=0.0) < _SHARE:
        return None
    grid = fitting[shares.index(max(shares))]
    return TokenGrid(grid.height, grid.width, grid.first)


def _by_quarters(
    output: Shaped[Tensor, "5 ..."], readings: Sequence[LayerGrid], size: tuple[int, int]
) -> list[LayerGrid]:
    """The readings of a layer's output, or the one that changed quarters of the image show."""
    shares = [own_share(grid.to_channels(output)) for grid in readings]
    best = max(shares)
    agreeing = [
        grid for grid, share in zip(readings, shares, strict=True) if share * CONTRAST >= best
    ]
    # Without contrast, a reading of exactly the input's aspect is better than one up to borders.
    exact = [grid for grid in agreeing if grid.height * size[1] == grid.width * size[0]]
    return exact if len(exact) == 1 else agreeing


def _kept(model: nn.Module) -> dict[Any, Any]:
    return _ASKED.setdefault(model, {})
