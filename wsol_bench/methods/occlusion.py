"""Occlusion: the drop of a class's probability if a window is covered."""

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
    where ``p^c`` is the probability of class c (softmax; sigmoid in a multi-label network) and X,
    (3, height, width), the input. It is signed. A covered window has the mean color: zeros in the
    normalized input. The map has the input's size.

    The paper gives neither a window's size nor a stride, and shows p^c at the windows' centers.

    Cost: one forward pass for each position of the window.

    Args:
        record: a record of any layer.
        window: side of the window in pixels of the input; at most the input's side.
        stride: pixels from one window to the next; the last window ends where the input ends.

    Raises:
        ConfigError: the stride is larger than the window.
        NotApplicableError: a target is a function of the output, which has no probability.
    """
    if stride > window:
        raise ConfigError(
            f"occlusion: stride {stride} is larger than window {window}, which leaves pixels that "
            "no window covers; expected a stride of at most the window"
        )
    images = record.probe.images
    rows = _covered(images.shape[-2], window, stride).to(images)
    columns = _covered(images.shape[-1], window, stride).to(images)
    n_windows = len(rows) * len(columns)
    chunks = []
    for chunk in record.probe.chunks(len(images) * n_windows, "Occlusion: covered images"):
        occlusions = torch.arange(chunk.start, chunk.stop, device=images.device)
        image, window_at = occlusions // n_windows, occlusions % n_windows
        row, column = window_at // len(columns), window_at % len(columns)
        hidden = rows[row, :, None] * columns[column, None, :]
        logits = record.probe.logits(images[image] * (1 - hidden[:, None]))
        chunks.append(record.probabilities(logits.double()).gather(1, record.classes[image]))
    # In double precision: float32 would lose the drop of a probability that is close to 1.
    probabilities = record.probabilities(record.logits.double()).gather(1, record.classes)
    occluded = torch.cat(chunks).unflatten(0, (len(images), len(rows), len(columns)))
    drops = (probabilities[:, None, None] - occluded).to(images)
    sums = torch.einsum("bijk,ih,jw->bkhw", drops, rows, columns)
    return sums / torch.outer(rows.sum(0), columns.sum(0))


def _covered(side: int, window: int, stride: int) -> Float[Tensor, "n side"]:
    """The pixels of a side that each window covers, as ones."""
    last = max(side - window, 0)
    starts = torch.tensor(sorted({*range(0, last, stride), last}))
    pixels = torch.arange(side)
    return ((pixels >= starts[:, None]) & (pixels < starts[:, None] + window)).float()
