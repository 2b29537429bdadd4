"""Occlusion: the drop of a class's probability where a window is covered."""

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor

from wsol_bench.capture import Plan, Record
from wsol_bench.errors import ConfigError
from wsol_bench.methods.base import cam_method

__all__ = ["occlusion"]


@cam_method("occlusion", plan=Plan(), scope="image", classes="label", paper="arXiv:1311.2901")
def occlusion(
    record: Record, *, window: PositiveInt = 32, stride: PositiveInt = 8
) -> Float[Tensor, "batch k height width"]:
    """Occlusion sensitivity (Zeiler and Fergus, ECCV 2014, section 4.2).

    A pixel's value is the mean of ``p^c(X) - p^c(X without w)`` over all windows w that cover it,
    with the probability (softmax) of the class; signed. A covered window has the mean color: zeros
    in the normalized input. The map has the input's size.

    The paper gives neither a window's size nor a stride, and shows p^c at the windows' centers.

    Args:
        record: of any layer.
        window: side of the window, in pixels of the input; at most the input's own.
        stride: pixels from one window to the next; the last ends where the input does.
    """
    if stride > window:
        raise ConfigError(
            f"occlusion: stride {stride} is larger than window {window}, which leaves pixels that "
            "no window covers"
        )
    images = record.probe.images
    rows = _covered(images.shape[-2], window, stride).to(images)
    columns = _covered(images.shape[-1], window, stride).to(images)
    n_windows = len(rows) * len(columns)
    probabilities = []
    for part in record.probe.chunks(len(images) * n_windows, "Occlusion: covered images"):
        numbers = torch.arange(part.start, part.stop, device=images.device)
        of, at = numbers // n_windows, numbers % n_windows
        hidden = rows[at // len(columns), :, None] * columns[at % len(columns), None, :]
        logits = record.probe.logits(images[of] * (1 - hidden[:, None]))
        probabilities.append(logits.double().softmax(dim=1).gather(1, record.classes[of]))
    # In double precision: of a probability close to 1, float32 would lose what a window costs.
    own = record.logits.double().softmax(dim=1).gather(1, record.classes)
    left = torch.cat(probabilities).unflatten(0, (len(images), len(rows), len(columns)))
    drops = (own[:, None, None] - left).to(images)
    sums = torch.einsum("bijk,ih,jw->bkhw", drops, rows, columns)
    return sums / torch.outer(rows.sum(0), columns.sum(0))


def _covered(side: int, window: int, stride: int) -> Float[Tensor, "n side"]:
    """The pixels of a side that each window covers, as ones."""
    last = max(side - window, 0)
    starts = torch.tensor(sorted({*range(0, last, stride), last}))
    pixels = torch.arange(side)
    return ((pixels >= starts[:, None]) & (pixels < starts[:, None] + window)).float()
