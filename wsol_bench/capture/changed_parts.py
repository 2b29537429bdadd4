"""How a layer answers to changed parts of the image: where in a grid, and whether at all."""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from wsol_bench.capture.network import evaluation_mode, passed, uncompiled
from wsol_bench.errors import ModelError
from wsol_bench.models.hooks import hooked
from wsol_bench.models.target_layers import find_module

__all__ = [
    "CONTRAST",
    "lies_elsewhere",
    "own_share",
    "pass_changes",
    "strips",
    "under_changes",
]

# The least ratio of the shares of two readings of one shape, of which the higher one is right. With
# c = h = w, the wrong reading takes channels for columns, in half of which a change lies by chance.
CONTRAST = 1.25

# If less than this share of the positions is touched by a quarter, on the average, the layer is
# local, and at least this share of what changes must lie in the same quarter.
_LOCAL = 0.6

# A change below this part of the largest one, in squares, is rounding: nothing has changed.
_UNCHANGED = 1e-8
# A margin of the grid that shows nothing of the image is no border effect if it has at least this
# share of the rows (or columns), and two of them.
_MARGIN = 1 / 8

# The quarter in which each quarter lies after a grid is mirrored, turned or transposed.
_MIRRORED = ([1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0], [0, 2, 1, 3], [3, 1, 2, 0])


def under_changes(
    model: nn.Module, images: Tensor, layer: str, further: Sequence[tuple[slice, slice]] = ()
) -> Shaped[Tensor, "..."]:
    """The output of a layer for an image and copies with one part changed; see ``pass_changes``."""
    outputs: list[Tensor] = []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        outputs.append(output.clone())

    with evaluation_mode(model), hooked(after=[(find_module(model, layer), note)]):
        pass_changes(model, images, further)
    return outputs[0]


def pass_changes(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    further: Sequence[tuple[slice, slice]] = (),
) -> None:
    """Pass an image and its copies with one part changed: upper left quarter, upper right, ...

    Args:
        model: the network.
        images: a batch of the input's size, format and device.
        further: rows and columns of parts that are changed in further copies.

    Raises:
        ModelError: the network fails on so many images.
    """
    noise = torch.Generator().manual_seed(0)
    height, width = images.shape[2:]
    drawn = torch.randn((2, *images.shape[1:]), generator=noise).to(images)
    parts = [*_quarters(height, width), *further]
    batch = drawn[:1].repeat(1 + len(parts), 1, 1, 1)
    for image, (rows, columns) in zip(batch[1:], parts, strict=True):
        image[:, rows, columns] = 2 * drawn[1][:, rows, columns] + 2
    try:
        with uncompiled(model), torch.no_grad():
            passed(model, batch, None)
    except ModelError:  # of what is read from its output
        raise
    except Exception as error:  # a network can raise any error
        raise ModelError(
            f"{type(model).__name__} fails on {len(batch)} images at once, which would show how "
            "the layer lies over the input; say it with 'layout:' or 'token_grid:'. "
            f"{type(error).__name__}: {error}"
        ) from error


def _quarters(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the four quarters of a grid; positions in the middle are in several."""
    rows = (slice(0, math.ceil(height / 2)), slice(height // 2, height))
    columns = (slice(0, math.ceil(width / 2)), slice(width // 2, width))
    return product(rows, columns)


def strips(
    grid: tuple[int, int], images: Float[Tensor, "batch channels height width"]
) -> list[tuple[slice, slice]]:
    """Rows and columns of a strip at each border of an image: top, bottom, left, right.

    A strip takes an eighth of the image, or one row of a coarser grid: a stride that does not
    divide the image may leave out almost a whole step.

    Args:
        grid: number of rows and columns of the layer's grid.
        images: a batch of the input's size.
    """
    height, width = images.shape[2:]
    rows, columns = math.ceil(height / min(8, grid[0])), math.ceil(width / min(8, grid[1]))
    whole = slice(None)
    return [
        (slice(rows), whole), (slice(height - rows, None), whole),
        (whole, slice(columns)), (whole, slice(width - columns, None)),
    ]  # fmt: skip


def own_share(channels: Float[Tensor, "5 c h w"]) -> float:
    """The share of what a quarter of the image changes that lies in the same quarter of the grid.

    Args:
        channels: the layer's channels for an image, and its copies with one quarter changed.
    """
    return float(_shares(_changes(channels)).diagonal().mean())


def lies_elsewhere(channels: Float[Tensor, "9 c h w"]) -> bool:
    """Return whether what changes with parts of the image is not where the grid has them.

    Args:
        channels: the layer's channels for an image, and its copies with one quarter or one of the
            ``strips`` changed.
    """
    changes = _changes(channels)
    if not bool(changes.isfinite().all()):
        return False
    if _ends_elsewhere(changes):
        return True
    changes = changes[:4]
    if not bool((changes.amax(dim=(1, 2)) > 0).all()):
        return False
    shares = _shares(changes)
    own = float(shares.diagonal().mean())
    others = max(float(shares[range(4), order].mean()) for order in _MIRRORED)
    touched = float((changes > 1e-4 * changes.amax(dim=(1, 2), keepdim=True)).float().mean())
    return others > CONTRAST * own or (touched < _LOCAL and own < _LOCAL)


def _ends_elsewhere(changes: Float[Tensor, "8 h w"]) -> bool:
    """Return whether the borders of a grid are clearly not those of the image.

    If the network crops its input, nothing changes with a strip at the border, and the grid's
    border shows what is further inside. If it pads its input, a margin of the grid changes with
    no part of the image. If the network blanks the border of its input, both happen at one border,
    and the grid is right.

    Args:
        changes: the changes with each quarter of the image, and with each of the ``strips``.
    """
    least = _UNCHANGED * changes.amax()
    seen = changes[:4].amax(dim=0) > least
    if not bool(seen.any()):
        return False
    margins = [
        int(lines.int().argmax())
        for lines in (seen.any(1), seen.any(1).flip(0), seen.any(0), seen.any(0).flip(0))
    ]
    rows, columns = seen.shape
    within = seen[margins[0] : rows - margins[1], margins[2] : columns - margins[3]]
    # Behind rectifiers positions anywhere may show nothing, which tells of no margin.
    is_full = bool(within.float().mean() > 1 - _MARGIN) and within.numel() > seen.numel() / 4
    unseen = (changes[4:].amax(dim=(1, 2)) <= least).tolist()
    return any(
        margin == 0 if is_unseen else is_full and margin >= max(2, _MARGIN * side)
        for margin, is_unseen, side in zip(
            margins, unseen, (rows, rows, columns, columns), strict=True
        )
    )


def _changes(channels: Float[Tensor, "n c h w"]) -> Float[Tensor, "parts h w"]:
    """The change at each position with each part: squares, summed over the channels."""
    values = channels.float()
    return (values[1:] - values[:1]).square().sum(dim=1)


def _shares(changes: Float[Tensor, "4 h w"]) -> Float[Tensor, "quarter place"]:
    """The share of what each quarter of the image changes that lies in each quarter of the grid."""
    totals = changes.sum(dim=(1, 2)).clamp_min(1e-30)
    places = _quarters(*changes.shape[1:])
    return torch.stack([changes[:, *place].sum(dim=(1, 2)) / totals for place in places], dim=1)
